"""What would end every job of a sweep alike is said once, before the first job starts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from featherpose.errors import UsageError
from featherpose.machine import elsewhere
from featherpose.overrides import unread
from featherpose.sweeps.job import Job
from featherpose.targets import build

# What two runs of one training may differ in
_NOT_TRAINING = ("hydra", "paths", "name", "tags", "sweep", "logger")


def refuse_no_jobs(overrides: Sequence[str], loader: ConfigLoader) -> None:
    """A sweep of nothing: some override fits no choice, which is a typing error."""
    empty = [
        str(override.input_line)
        for override in OverridesParser.create(loader).parse_overrides(list(overrides))
        if override.is_sweep_override() and not list(override.sweep_string_iterator())
    ]
    raise UsageError(
        f"This sweep has no jobs: {' and '.join(empty) or 'its grid'} fits nothing. --help lists the choices."
    )


def training_of(cfg: DictConfig) -> str:
    """One string for one training: two jobs with the same would give the same weights.

    Args:
        cfg: composed for the job that `HydraConfig` describes.
    """
    plain = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key not in ("hydra", "sweep")])
    OmegaConf.set_readonly(plain, False)
    OmegaConf.update(plain, "paths", {"output": ""}, merge=True, force_add=True)
    try:
        values: Any = OmegaConf.to_container(plain, resolve=True)
    except OmegaConfBaseException:  # the job itself says why
        return f"job {cfg.hydra.job.num}"
    kept = {key: value for key, value in values.items() if key not in _NOT_TRAINING}
    return json.dumps(kept, sort_keys=True, default=str)


def refuse_what_none_can_run(jobs: Iterable[Job]) -> None:
    """Keys that nothing reads, and data that are not there: each distinct one is looked at once.

    The reading takes memory that the launcher, which lives as long as the sweep, must not keep: a process of its own
    does it.
    """
    datasets: dict[str, dict[str, Any]] = {}
    for job in jobs:
        HydraConfig.instance().set_config(job.cfg)
        for path in unread.suspects(job.cfg):
            plain: Any = OmegaConf.to_container(job.cfg, resolve=False)
            if not elsewhere(_is_parameter, plain, path):
                raise UsageError(unread.sentence(path))
        data = job.cfg.get("data")
        if data and data.get("read") and data.get("root") is not None:
            node: Any = OmegaConf.to_container(data, resolve=True)
            node = {key: node[key] for key in ("read", "root")}
            datasets[json.dumps(node, sort_keys=True, default=str)] = node
    for node in datasets.values():
        elsewhere(_read, node)


def _read(node: dict[str, Any]) -> None:
    read = build(node["read"])
    for split in ("val", "train"):
        read(root=node["root"], split=split)


def _is_parameter(config: dict[str, Any], path: unread.Path) -> bool:
    return unread.is_parameter(OmegaConf.create(config), path)
