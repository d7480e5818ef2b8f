"""Which loggers a training run gets, what it is called on every dashboard, and how they are closed."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from lightning.pytorch.loggers.logger import Logger
from omegaconf import DictConfig, OmegaConf

from featherpose.console import console
from featherpose.errors import PoseError
from featherpose.overrides.as_dict import as_dict
from featherpose.settings import number
from featherpose.targets import build
from featherpose.training.loggers.identity import Identity, on_first_rank

__all__ = ["Identity", "build_loggers", "describe_run", "facts", "finish"]


_GAMMA = (
    "callbacks.gamma_warmup.target",
    "schedule.gamma.target",
)  # what acts, then what the recipe says
_NAMED = ("experiment", "seed")  # always
_NAMED_WITHOUT_EXPERIMENT = ("model", "model.stages", "data", *_GAMMA)
_LONGEST_NAME = 96


def describe_run(cfg: DictConfig, choices: Mapping[str, Any]) -> tuple[str, str | None, list[str]]:
    """Name, group and tags of a run: `lapx-s3-mpii-g0.2-seed0`, the sweep's folder, the choices made."""
    return cfg.get("name") or _name(cfg, choices), _sweep(cfg), tags_of(cfg, choices)


def build_loggers(
    cfg: DictConfig,
    run_dir: str | Path,
    name: str,
    group: str | None = None,
    tags: Sequence[str] = (),
) -> list[Logger]:
    """The chosen loggers, ready for `Trainer(logger=...)`. Never asks a question, and W&B never stops a run.

    An entry of `conf/logger` with `_partial_: true` is a function that is called with the run's `Identity`; one
    without is a Lightning logger of your own and is built as it stands.
    """
    entries = {key: entry for key, entry in (cfg.get("logger") or {}).items() if entry}
    identity = Identity.of_folder(Path(run_dir), name, group, tuple(tags), as_dict(cfg))
    loggers = []
    for key, entry in entries.items():
        try:
            logger = build(entry)
            loggers.append(logger(identity) if isinstance(logger, functools.partial) else logger)
        except ImportError as error:
            raise PoseError(
                f"logger={key} needs a package that is not installed ({error.name or error}): "
                "pip install 'featherpose[loggers]', or choose another logger, e.g. logger=wandb or logger=none."
            ) from error
    return loggers


def facts(loggers: Sequence[Logger]) -> dict[str, Any]:
    """What run.json keeps about the dashboards, e.g. `{"wandb": {"id", "dir", "mode"}}`."""
    found: dict[str, Any] = {}
    for logger in loggers:
        describe = getattr(logger, "facts", None)
        if describe is not None and on_first_rank():
            found.update(describe())
    return found


def finish(loggers: Sequence[Logger], exit_code: int) -> None:
    """Closes every logger with the run's exit code. An error of a dashboard is printed, never raised."""
    if not on_first_rank():
        return
    for logger in loggers:
        try:
            close = getattr(logger, "close_run", None)
            if close is not None:
                close(exit_code)
            else:
                logger.finalize("success" if exit_code == 0 else "failed")
        except Exception as error:  # a dashboard that fails must not hide how the run itself ended
            console.print(
                f"[yellow]warning[/]: {type(logger).__name__} could not be closed: {error}"
            )


def _name(cfg: DictConfig, choices: Mapping[str, Any]) -> str:
    experiment = choices.get("experiment")
    if experiment not in (
        None,
        "null",
    ):  # a row of a published table: its file's name says more than its values
        return f"{'-'.join([str(experiment), *_swept_values(_NAMED)])[:_LONGEST_NAME]}-seed{cfg.get('seed', 0)}"
    parts = [str(choices.get("model", "model"))]
    stages = OmegaConf.select(cfg, "model.stages")
    if isinstance(stages, int):
        parts.append(f"s{stages}")
    parts.append(str(choices.get("data", "data")))
    gamma = _gamma(cfg)
    if gamma is not None:
        parts.append(f"g{gamma:g}")
    parts += _swept_values((*_NAMED, *_NAMED_WITHOUT_EXPERIMENT))
    return f"{'-'.join(parts)[:_LONGEST_NAME]}-seed{cfg.get('seed', 0)}"


def _gamma(cfg: DictConfig) -> float | None:
    """The target of gamma, where the network has Non-Local modules at all."""
    if "nonlocal" not in str(OmegaConf.select(cfg, "model.neck")):
        return None
    for key in _GAMMA:
        target = OmegaConf.select(cfg, key)
        if target is not None:
            return number("schedule.gamma.target", target, least=0)
    return None


def _swept_values(named: Sequence[str]) -> list[str]:
    """The values that tell this run from the others of its sweep, e.g. `learning_rate0.001`, but for those `named`."""
    if not HydraConfig.initialized():
        return []
    swept = _swept_keys(HydraConfig.get())
    values = []
    for override in HydraConfig.get().overrides.task:
        key, _, value = override.lstrip("+~").partition("=")
        if key in swept and key not in named:
            clean = "".join(c for c in value if c.isalnum() or c in ".-_,")
            values.append(f"{key.rpartition('.')[2]}{clean}" if "." in key else clean)
    return values


def _swept_keys(hydra: Any) -> set[str]:
    """What a sweep varies: the sweeper leaves its unexpanded overrides in the sweep's folder."""
    keys = set((hydra.sweeper.get("params") or {}).keys())
    whole = Path(hydra.sweep.dir) / "multirun.yaml"
    if not whole.is_file():  # a single run that no sweep started has no such folder
        return keys
    asked = OmegaConf.select(OmegaConf.load(whole), "hydra.overrides.task") or []
    parsed = OverridesParser.create().parse_overrides(list(asked))
    return keys | {
        override.get_key_element().lstrip("+~")
        for override in parsed
        if override.is_sweep_override()
    }


def _sweep(cfg: DictConfig) -> str | None:
    output = OmegaConf.select(cfg, "paths.output", throw_on_resolution_failure=False)
    multirun = HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
    if output is None:
        return None
    folder = Path(output).parent
    return folder.name if multirun or (folder / "multirun.yaml").is_file() else None


def tags_of(cfg: DictConfig, choices: Mapping[str, Any]) -> list[str]:
    """The choices made in a few groups, and the user's own."""
    shown = ("model", "data", "protocol", "schedule", "experiment", "debug")
    tags = [
        str(choices[group])
        for group in shown
        if choices.get(group) not in (None, "null", "default")
    ]
    return list(dict.fromkeys([*tags, *map(str, cfg.get("tags") or [])]))
