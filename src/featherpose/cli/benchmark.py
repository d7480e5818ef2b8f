"""Measurements of the program and of networks: one function each in `featherpose.benchmarks`."""

from __future__ import annotations

import time
from inspect import signature
from pathlib import Path

from hydra.utils import get_method
from omegaconf import DictConfig, OmegaConf

from featherpose.benchmarks import measured
from featherpose.errors import UsageError
from featherpose.place import CONF, command


def main(cfg: DictConfig) -> None:
    """Calls the benchmark that the command line names, with its own keys; `json` keeps what it measured."""
    keys = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(keys, dict)
    target = keys.pop("_target_", None)
    if target is None:
        raise UsageError(
            f"Say what to measure, e.g. {command('benchmark sizes')}. Known: {', '.join(known())}."
        )
    keys.pop("paths", None)
    file = keys.pop("json", None)
    benchmark = get_method(str(target))
    if file is not None and signature(benchmark).return_annotation == "None":
        raise UsageError(f"json={file}: this benchmark has no rows of rounds to write there.")
    head, before, began = measured.begin(), measured.load(), time.monotonic()
    found = benchmark(**{str(key): value for key, value in keys.items()})
    if file is None:
        return
    if not found:
        raise UsageError(f"json={file}: with these options there are no rows of rounds to write.")
    took = {"seconds": round(time.monotonic() - began, 1), "load": [before, measured.load()]}
    head["parts"].append(measured.part(str(target).split(".")[-2], found, **took))
    measured.write(head, Path(str(file)))


def known() -> list[str]:
    return sorted(Path(file).stem for file in (CONF / "benchmark").glob("*.yaml"))
