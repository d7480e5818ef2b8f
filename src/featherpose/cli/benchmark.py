"""Measurements of the program and of networks: one function each in `featherpose.benchmarks`."""

from __future__ import annotations

from pathlib import Path

from hydra.utils import get_method
from omegaconf import DictConfig, OmegaConf

from featherpose.errors import UsageError
from featherpose.place import CONF, command


def main(cfg: DictConfig) -> None:
    """Calls the benchmark that the command line names, with its own keys."""
    keys = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(keys, dict)
    target = keys.pop("_target_", None)
    if target is None:
        raise UsageError(
            f"Say what to measure, e.g. {command('benchmark sizes')}. Known: {', '.join(known())}."
        )
    keys.pop("paths", None)
    get_method(str(target))(**{str(key): value for key, value in keys.items()})


def known() -> list[str]:
    return sorted(Path(file).stem for file in (CONF / "benchmark").glob("*.yaml"))
