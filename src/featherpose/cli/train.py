"""Train a network: compose, build, fit, score the best checkpoint."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import lightning as L
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import instantiate
from lightning.pytorch.strategies.launchers.subprocess_script import _SubprocessScriptLauncher
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from omegaconf import DictConfig, OmegaConf

from featherpose.cli import resume
from featherpose.errors import PoseError
from featherpose.files import write_atomically
from featherpose.runs.record import FINISHED, Best, RunRecord
from featherpose.runs.recording import Recording
from featherpose.skeletons import skeleton_of
from featherpose.training import summary
from featherpose.training.distil import DistilLoss
from featherpose.training.loggers import dashboards
from featherpose.training.loggers.identity import on_first_rank
from featherpose.training.loggers.metrics_file import MetricsFile
from featherpose.training.module import PoseModule, load_checkpoint
from featherpose.training.schedules import Schedule
from featherpose.training.trainer import check_seed, make_trainer
from featherpose.zoo.start import start_from


def main(cfg: DictConfig) -> float | None:
    """One training run; gives its best score, which sweepers may optimise."""
    folder = Path(cfg.paths.output)
    name, group, tags = dashboards.describe_run(cfg, dict(HydraConfig.get().runtime.choices))
    checkpoint, before = checkpoint_to_resume(cfg, folder), RunRecord.read(folder)
    if checkpoint:
        refuse_another_network(cfg, checkpoint)  # before anything in the run's folder changes
    if on_first_rank():
        resume.accept(folder)
    if checkpoint and before:
        name, group = before.name, before.group
    with Recording(folder, on_first_rank(), name=name, group=group, seed=cfg.seed) as record:
        quieten_libraries()
        L.seed_everything(check_seed(cfg.seed), workers=True, verbose=False)
        module, data, config = build(cfg)
        write_atomically(folder / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(config)))
        record.update(**summary.facts(module, data, config))
        if not checkpoint:  # which has its weights already
            record.update(**start_from_weights(module, config))
        if isinstance(module.loss, DistilLoss):
            record.update(teacher=module.loss.prepare())

        loggers = [MetricsFile(folder), *dashboards.build_loggers(cfg, folder, name, group, tags)]
        code = 1
        try:
            record.update(**dashboards.facts(loggers))
            callbacks = [instantiate(entry) for entry in (cfg.callbacks or {}).values() if entry]
            trainer = make_trainer(
                cfg.trainer,
                precision=precision(cfg.trainer.precision, cfg.trainer.accelerator),
                logger=loggers,
                callbacks=callbacks,
                default_root_dir=str(folder),
                enable_model_summary=False,
            )
            refuse_ranks_that_sweep(trainer)
            record.update(device=str(trainer.strategy.root_device))
            summary.start(record, trainer)
            if cfg.baselines.untrained and not checkpoint:
                record.update(baseline={"untrained": score(trainer, module, data)["val/score"]})
            trainer.fit(module, datamodule=data, ckpt_path=checkpoint)
            best = finish(cfg, trainer, module, data, record)
            code = 0
        finally:
            dashboards.finish(loggers, code)
    return best


def build(cfg: DictConfig) -> tuple[PoseModule, Any, dict[str, Any]]:
    """Module, data and the resolved config, fitted to each other: data follows the network's stride and size."""
    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # ty: ignore[invalid-assignment]
    schedule = Schedule.of(config["schedule"])
    if schedule.endless and not (cfg.callbacks or {}).get("time_budget"):
        raise PoseError(
            f"schedule.unit={schedule.unit} needs schedule.{schedule.unit}s above 0: -1 is for runs that end by the "
            "clock (callbacks=time_budget)."
        )
    if too_short := schedule.beyond_the_end():
        rank_zero_warn(too_short)
    module = PoseModule(config)
    data = instantiate(
        cfg.data,
        stride=module.stride,
        natural_height=getattr(module.network, "natural_height", 256),
        seed=cfg.seed,
    )
    config["data"]["input_size"] = [int(side) for side in data.input_size]
    return module, data, config


def start_from_weights(module: PoseModule, config: dict[str, Any]) -> dict[str, Any]:
    """`init=SOURCE`: loads what fits, shows what was taken, and gives what the record keeps of it."""
    if not config["init"]:
        return {}
    start = start_from(
        config["init"],
        module.network,
        module.skeleton,
        lambda joints: instantiate({**config["model"], "joints": joints}),
        strict=config["init_strict"],
    )
    summary.show_start(start)
    return {"init": start.facts()}


def precision(choice: str, accelerator: str) -> str:
    """`auto` is bfloat16 autocast where the hardware multiplies it natively, else float32.

    Weights, batch norm statistics, loss and decoding stay float32. Measured for LAPX at 128x128 on two AVX-512 cores:
    2.5 times the images per second; on CPUs without native bfloat16 it would be slower.
    """
    if choice != "auto":
        return choice
    if accelerator != "cpu" and torch.cuda.is_available():
        return (
            "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
        )
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16-mixed" if native else "32-true"


def checkpoint_to_resume(cfg: DictConfig, folder: Path) -> str | None:
    """The file to go on from: the one named, or the last one of this very run where it did not come to its end.

    The latter is `resume=`, and a job that a cluster or a resumed sweep starts again in its own folder.
    """
    last = folder / "checkpoints" / "last.ckpt"
    if cfg.ckpt_path:
        last = Path(cfg.ckpt_path)
    elif not last.is_file() or not (cfg.resume or not finished(folder)):
        return None
    return str(last)


def finished(folder: Path) -> bool:
    record = RunRecord.read(folder)
    return record is not None and record.state == FINISHED


def refuse_another_network(cfg: DictConfig, path: str) -> None:
    """A checkpoint goes on with the network and the skeleton that it was made with."""
    saved = load_checkpoint(path)
    module = PoseModule(OmegaConf.to_container(cfg, resolve=True))  # ty: ignore[invalid-argument-type]
    then = skeleton_of(saved["hyper_parameters"]["config"]["data"]["skeleton"])
    if then != module.skeleton:
        raise PoseError(
            f"{path} is of the skeleton {then.name} ({len(then)} joints), but the data has {module.skeleton.name} "
            f"({len(module.skeleton)} joints): go on with the data it was trained on."
        )
    shapes = {
        name: value.shape
        for name, value in module.state_dict().items()
        if name.startswith("network.")
    }
    kept = {
        name: value.shape
        for name, value in saved["state_dict"].items()
        if name.startswith("network.")
    }
    if shapes != kept:
        other = min(
            name for name in shapes.keys() | kept.keys() if shapes.get(name) != kept.get(name)
        )
        raise PoseError(
            f"{path} is of another network than the one chosen (first at {other.removeprefix('network.')}): "
            "leave model= and its values as they were."
        )


def refuse_ranks_that_sweep(trainer: L.Trainer) -> None:
    """Lightning starts the other ranks by the same command line, which under `-m` is the whole sweep."""
    launcher = trainer.strategy.launcher
    if HydraConfig.get().mode == RunMode.MULTIRUN and isinstance(
        launcher, _SubprocessScriptLauncher
    ):
        raise PoseError(
            "With this launcher every DDP rank would start the whole sweep again: leave hydra/launcher=processes, "
            "or take hydra/launcher=slurm with tasks_per_node equal to trainer.devices."
        )


def finish(
    cfg: DictConfig, trainer: L.Trainer, module: PoseModule, data: Any, record: Recording
) -> float | None:
    """Scores the best checkpoint, keeps its predictions and a picture, and says what to do next."""
    best = next(
        (c for c in trainer.checkpoint_callbacks if getattr(c, "monitor", None) == "val/score"),
        None,
    )
    path = getattr(best, "best_model_path", "")
    if not path or not cfg.evaluate_best:
        return None
    checkpoint = load_checkpoint(path)
    module.load_state_dict(checkpoint["state_dict"])
    module.keep_predictions = True
    scores = score(trainer, module, data)
    if trainer.is_global_zero:
        record.update(best=Best(str(path), checkpoint["epoch"], scores["val/score"]))
        summary.end(record, module, data, scores)
    trainer.strategy.barrier()
    return scores["val/score"]


def score(trainer: L.Trainer, module: PoseModule, data: Any) -> dict[str, float]:
    """Validation scores of the module as it is; they belong to the run, not to an epoch, so no logger sees them."""
    loggers, trainer.loggers = trainer.loggers, []
    trainer.validate(module, datamodule=data, verbose=False)
    trainer.loggers = loggers
    return {
        name: float(value)
        for name, value in trainer.callback_metrics.items()
        if name.startswith("val/")
    }


def quieten_libraries() -> None:
    """Lightning's tips and its doubled log lines; torch's warning about workers on small machines."""
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.setLevel(logging.WARNING)
    torch.set_float32_matmul_precision("high")
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.*")
    warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")
    warnings.filterwarnings("ignore", message=".*number of training batches.*")
    warnings.filterwarnings(
        "ignore", message=".*recommended to use .self.log.*sync_dist.*"
    )  # equal on all ranks
    warnings.filterwarnings("ignore", message=".*Grad strides do not match bucket view strides.*")
    warnings.filterwarnings(
        "ignore", message=".*resuming from a checkpoint that ended before the epoch.*"
    )
