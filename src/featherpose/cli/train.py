"""Train a network: compose, build, fit, score the best checkpoint."""

from __future__ import annotations

import logging
import math
import shutil
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import lightning as L
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint, ProgressBar
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from omegaconf import DictConfig, OmegaConf

from featherpose.cli import own_conf, resume
from featherpose.console import console
from featherpose.data.datamodule import PoseDataModule
from featherpose.data.doctor.targets import refuse_nothing
from featherpose.errors import PoseError
from featherpose.files import replacing, write_atomically
from featherpose.machine import arithmetic, set_matmul
from featherpose.models.network import PoseNetwork
from featherpose.overrides.as_dict import as_dict
from featherpose.runs.heartbeat import refuse_while_it_runs
from featherpose.runs.record import FINISHED, Best, RunRecord
from featherpose.runs.recording import Recording
from featherpose.targets import build as build_target
from featherpose.training import budget, summary
from featherpose.training.build import build_training
from featherpose.training.callbacks.last_validation import LastValidation
from featherpose.training.callbacks.resume import refuse_another_batch
from featherpose.training.callbacks.whether_compiled import WhetherCompiled
from featherpose.training.distil import DistilLoss
from featherpose.training.handed_over import callbacks_of
from featherpose.training.loggers import dashboards
from featherpose.training.loggers.identity import on_first_rank
from featherpose.training.loggers.metrics_file import MetricsFile
from featherpose.training.module import PoseModule
from featherpose.training.private import position, starts_ranks_by_command
from featherpose.training.schedules import FOREVER, Schedule
from featherpose.training.trainer import check_seed, make_trainer, precision
from featherpose.zoo.checkpoint import Checkpoint as SavedNetwork
from featherpose.zoo.checkpoint import load_checkpoint
from featherpose.zoo.start import start_from


def main(cfg: DictConfig) -> float | None:
    """One training run; gives its best score, which sweepers may optimise."""
    folder = Path(cfg.paths.output)
    if ended := ended_before(cfg, folder):
        console.print(f"finished before: {folder}")
        return ended.best.score if ended.best else None
    name, group, tags = dashboards.describe_run(cfg, dict(HydraConfig.get().runtime.choices))
    first = on_first_rank()
    try:
        check_seed(cfg.seed)
        checkpoint, before = checkpoint_to_resume(cfg, folder), RunRecord.read(folder)
        if first and before:
            refuse_while_it_runs(folder, before)
    except PoseError:
        resume.forget(folder)  # a run that cannot go on stays as it was
        raise
    if checkpoint and before:
        name, group = before.name, before.group
    recording = Recording(folder, first, name=name, group=group, seed=cfg.seed)
    with ExitStack() as recorded:
        record = recording if before else recorded.enter_context(recording)
        quieten_libraries()
        set_matmul(cfg.matmul)
        L.seed_everything(cfg.seed, workers=True, verbose=False)
        try:
            module, data, config, spent = build(cfg, folder)
            trainer = build_trainer(cfg, folder, recording)
            if checkpoint:
                refuse_what_cannot_go_on(checkpoint, module, data, trainer)
            facts = summary.facts(module, data, config)
            if not isinstance(module.loss, DistilLoss):  # a teacher needs no labels
                height, width = data.input_size
                refuse_nothing(data.train_people.persons, (width, height))
            if not checkpoint:  # which has its weights already
                facts |= start_from_weights(module, config)
            if isinstance(module.loss, DistilLoss):
                facts["teacher"] = module.loss.prepare(data)
            if first:
                resume.accept(folder)
        finally:
            if first:
                resume.forget(folder)  # a mistake has changed nothing in a run that goes on
        if before:
            recorded.enter_context(recording)
        write_atomically(folder / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(config)))
        record.update(**facts, own_configs=own_conf.taken())
        if first and not checkpoint:
            record.update(
                **budget.keep(
                    cfg.search, module.network, facts["network"], clock_of(config), known=spent
                )
            )
        loggers = [MetricsFile(folder), *dashboards.build_loggers(cfg, folder, name, group, tags)]
        trainer.loggers = loggers
        return fit(cfg, trainer, module, data, record, checkpoint)


def fit(
    cfg: DictConfig,
    trainer: L.Trainer,
    module: PoseModule,
    data: PoseDataModule,
    record: Recording,
    checkpoint: str | None,
) -> float | None:
    """From the first step to the best score; the dashboards learn how it ended, whichever way."""
    code = 1
    try:
        device = str(trainer.strategy.root_device)
        used = arithmetic(str(trainer.precision), device)
        record.update(**dashboards.facts(trainer.loggers), device=device, precision=used)
        summary.start(record, trainer)
        if cfg.baselines.untrained and not checkpoint:
            record.update(baseline={"untrained": score(trainer, module, data)["val/score"]})
        trainer.fit(module, datamodule=data, ckpt_path=checkpoint)
        best = finish(cfg, trainer, module, data, record)
        code = 0
    finally:
        dashboards.finish(trainer.loggers, code)
    return best


def build_trainer(cfg: DictConfig, folder: Path, record: Recording) -> L.Trainer:
    """The Trainer of the config, still without loggers; with `callbacks=none` it has nothing but the loop."""
    callbacks = [build_target(entry) for entry in (cfg.callbacks or {}).values() if entry]
    callbacks = [WhetherCompiled(record), LastValidation(), *callbacks]
    trainer = make_trainer(
        cfg.trainer,
        precision=precision(cfg.trainer.precision, cfg.trainer.accelerator),
        logger=False,
        callbacks=callbacks,
        default_root_dir=str(folder),
        enable_model_summary=False,
        enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
        enable_progress_bar=any(isinstance(callback, ProgressBar) for callback in callbacks),
    )
    refuse_ranks_that_sweep(trainer)
    return trainer


def build(cfg: DictConfig, folder: Path) -> tuple[PoseModule, Any, dict[str, Any], float | None]:
    """Module, data and the resolved config, fitted to each other: data follows the network's stride and size.

    With the network's milliseconds where a budget was solved by them.
    """
    config = as_dict(cfg)
    schedule = Schedule.of(config["schedule"])
    if schedule.endless and not (cfg.callbacks or {}).get("time_budget"):
        raise PoseError(
            f"schedule.unit={schedule.unit} needs schedule.{schedule.unit}s above 0: -1 is for runs that end by the "
            "clock (callbacks=time_budget)."
        )
    ends = config["trainer"].get("max_epochs"), config["trainer"].get("max_steps")
    if ends == (FOREVER, FOREVER) and not schedule.endless:
        raise PoseError(
            "trainer.max_epochs=-1 would train for ever: schedule.epochs and schedule.steps say how long a run is."
        )
    if too_short := schedule.beyond_the_end():
        rank_zero_warn(too_short)
    spent = budget.solve(config, clock_of(config), solved_before(config, folder))
    module, data = build_training(config)
    config["data"]["input_size"] = [int(side) for side in data.input_size]
    return module, data, config, spent


def clock_of(config: dict[str, Any]) -> budget.Clock:
    """Times a network at the run's input size; the exporter is loaded where somebody asks."""

    def milliseconds(network: PoseNetwork) -> float:
        from featherpose.export import quick

        return quick.milliseconds(network, config["data"]["input_size"])

    return milliseconds


def solved_before(config: dict[str, Any], folder: Path) -> Any:
    """The width that this very run found by its milliseconds, which are never the same twice.

    A run that goes on, and the other processes of one, have to stay with the network that it began with.
    """
    search, path = config["search"], folder / "config.yaml"
    if search["solve"] is None or search["budget"]["ms"] is None:
        return None
    if path.is_file():
        before: Any = OmegaConf.to_container(OmegaConf.load(path))
        key = before["search"]["solve"]
        same = before["search"]["budget"] == search["budget"]
        if same and key and {**config["model"], key: None} == {**before["model"], key: None}:
            return before["model"][key]
    if not on_first_rank():
        raise PoseError(
            "search.solve by milliseconds is done once, by the first process, before the others start: take "
            "hydra/launcher=processes with trainer=ddp, or a budget of params or macs."
        )
    return None


def start_from_weights(module: PoseModule, config: dict[str, Any]) -> dict[str, Any]:
    """`init=SOURCE`: loads what fits, shows what was taken, and gives what the record keeps of it."""
    if not config["init"]:
        return {}
    start = start_from(
        config["init"],
        module.network,
        module.skeleton,
        lambda joints: build_target(config["model"], joints=joints),
        strict=config["init_strict"],
    )
    summary.show_start(start)
    return {"init": start.facts()}


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


def refuse_what_cannot_go_on(path: str, module: PoseModule, data: Any, trainer: L.Trainer) -> None:
    """What would fail once the checkpoint is restored fails here, before anything in the run's folder changes."""
    saved = load_checkpoint(path)
    refuse_another_network(path, saved, module)
    module.configure_optimizers()  # says what is wrong with the schedule
    place = saved.position or {"epoch": 0, "batches_done": 0, "batch_size": data.batch_size}
    if 0 < (trainer.max_epochs or 0) < place["epoch"]:
        raise PoseError(
            f"{path} has {place['epoch']} epochs behind it, which schedule.epochs={trainer.max_epochs} is below."
        )
    if 0 < trainer.max_steps < saved.steps:
        raise PoseError(
            f"{path} has {saved.steps} steps behind it, which schedule.steps={trainer.max_steps} is below."
        )
    refuse_another_batch(place, data)


def refuse_another_network(path: str, saved: SavedNetwork, module: PoseModule) -> None:
    """A checkpoint goes on with the network and the skeleton that it was made with."""
    then = saved.skeleton
    if then != module.skeleton:
        raise PoseError(
            f"{path} is of the skeleton {then.name} ({len(then)} joints), but the data has {module.skeleton.name} "
            f"({len(module.skeleton)} joints): go on with the data it was trained on."
        )
    shapes = {name: value.shape for name, value in module.network.state_dict().items()}
    kept = {name: value.shape for name, value in saved.weights.items()}
    if shapes != kept:
        other = min(
            name for name in shapes.keys() | kept.keys() if shapes.get(name) != kept.get(name)
        )
        raise PoseError(
            f"{path} is of another network than the one chosen (first at {other}): "
            "leave model= and its values as they were."
        )


def refuse_ranks_that_sweep(trainer: L.Trainer) -> None:
    """Lightning starts the other ranks by the same command line, which under `-m` is the whole sweep."""
    if HydraConfig.get().mode == RunMode.MULTIRUN and starts_ranks_by_command(trainer):
        raise PoseError(
            "With this launcher every DDP rank would start the whole sweep again: leave hydra/launcher=processes, "
            "or take hydra/launcher=slurm with tasks_per_node equal to trainer.devices."
        )


def ended_before(cfg: DictConfig, folder: Path) -> RunRecord | None:
    """A job that a sweep through Hydra's own launchers need not run again: they know nothing of `sweep.resume`."""
    hydra = HydraConfig.get()
    chosen, resumed = dict(hydra.runtime.choices), OmegaConf.select(cfg, "sweep.resume")
    if not resumed or hydra.mode != RunMode.MULTIRUN or chosen.get("hydra/sweeper") == "search":
        return None
    named = any(word.startswith("hydra.sweep.dir=") for word in hydra.overrides.hydra)
    if resumed is not True or not named:
        raise PoseError(
            f"With hydra/launcher={chosen.get('hydra/launcher')} a sweep goes on by the same command with "
            "hydra.sweep.dir=FOLDER sweep.resume=true."
        )
    return RunRecord.read(folder) if finished(folder) else None


def finish(
    cfg: DictConfig, trainer: L.Trainer, module: PoseModule, data: Any, record: Recording
) -> float | None:
    """Scores the best checkpoint, keeps its predictions and a picture, and says what to do next."""
    if not cfg.evaluate_best:
        return None
    path = best_of(trainer, module, data)
    if path is None:
        console.print("nothing is scored: this run keeps no checkpoint with a validation score")
        return None
    checkpoint = load_checkpoint(path)
    module.network.load_state_dict(checkpoint.weights)
    scores = score(trainer, module, data)
    if trainer.is_global_zero:
        record.update(best=Best(str(path), checkpoint.epoch, scores["val/score"]))
        summary.end(record, module, data, scores)
    trainer.strategy.barrier()
    return scores["val/score"]


def best_of(trainer: L.Trainer, module: PoseModule, data: Any) -> Path | None:
    """best.ckpt, after the last step's weights had their chance where no validation fell on it.

    Epochs that `schedule.validate_every` does not divide, or steps that end within an epoch, train on after the last
    validation; a run shorter than `validate_every` epochs has none at all.
    """
    keepers = [c for c in trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint)]
    best = next((c for c in keepers if c.monitor == "val/score"), None)
    if best is None or best.dirpath is None or not trainer.limit_val_batches:
        return None
    path = Path(best.best_model_path or Path(best.dirpath) / f"{best.filename}.ckpt")
    last = Path(best.dirpath) / "last.ckpt"
    validated = max(each.step for each in callbacks_of(trainer, LastValidation))
    place = position(trainer)
    if trainer.global_step > validated and last.is_file():
        epoch = place["epoch"] if place["batches_done"] else place["epoch"] - 1
        module.network.load_state_dict(load_checkpoint(last).weights)
        scores = score(trainer, module, data)
        for logger in trainer.loggers:
            logger.log_metrics({**scores, "epoch": epoch}, step=trainer.global_step)
        before = float(best.best_model_score) if best.best_model_score is not None else -math.inf
        if trainer.is_global_zero and (scores["val/score"] >= before or not path.is_file()):
            with replacing(path) as beside:
                shutil.copyfile(last, beside)
        trainer.strategy.barrier()
    return path if path.is_file() else None


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
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.*")
    warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")
    warnings.filterwarnings("ignore", message=".*number of training batches.*")
    # model.norms=fixed keeps them so
    warnings.filterwarnings("ignore", message=".*module.* in eval mode at the start of training.*")
    warnings.filterwarnings(
        "ignore", message=".*recommended to use .self.log.*sync_dist.*"
    )  # equal on all ranks
    warnings.filterwarnings("ignore", message=".*Grad strides do not match bucket view strides.*")
    warnings.filterwarnings(
        "ignore", message=".*resuming from a checkpoint that ended before the epoch.*"
    )
