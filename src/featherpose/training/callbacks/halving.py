"""Successive halving: of the trials of a search only the better ones train on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from lightning import Callback, LightningModule, Trainer
from omegaconf import OmegaConf

from featherpose.errors import BrokenOff, PoseError
from featherpose.runs.record import PRUNED
from featherpose.runs.sweep_folder import JOURNAL, STUDY


class Halving(Callback):
    """Tells the search of each validation's score, and ends the run where it is not among the best of its rung.

    The rungs are the epochs `first`, `first * keep`, `first * keep ** 2`, ...: at each of them a trial trains on if it
    is in the best 1/`keep` of those that have reached the same epoch, so all that are compared have trained as long.
    Nobody waits for anybody: the first that reaches a rung goes on.

    Args:
        first: epochs after which a trial is compared for the first time.
        keep: one in so many trains on.
    """

    def __init__(self, first: int = 1, keep: int = 3) -> None:
        if first < 1 or keep < 2:
            raise PoseError(
                f"callbacks.halving needs first of at least 1 and keep of at least 2, not {first} and {keep}."
            )
        self.first = first
        self.keep = keep
        self.trial: Any = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit" and trainer.is_global_zero and self.trial is None:
            job: Any = HydraConfig.get()
            number = OmegaConf.select(job, "job.num")  # a run outside a sweep has none
            self.trial = trial_of(Path(job.sweep.dir), number, self.first, self.keep)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        epochs, over = trainer.current_epoch + 1, False
        if trainer.is_global_zero:
            self.trial.report(float(trainer.callback_metrics["val/score"]), epochs)
            last = 0 < (trainer.max_epochs or 0) <= epochs  # it has trained in full
            over = not last and self.trial.should_prune()
        if trainer.strategy.broadcast(over):
            raise BrokenOff(
                PRUNED, f"after epoch {epochs} not among the best 1/{self.keep} of the search"
            )


def trial_of(sweep: Path, number: int | None, first: int, keep: int) -> Any:
    """This job's trial in the search's journal."""
    if number is None or not (sweep / JOURNAL).is_file():
        raise PoseError(
            "callbacks=halving compares the trials of a search: use it with -m hydra/sweeper=search, or leave it."
        )
    import optuna

    from featherpose.runs.journal import storage

    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=first, reduction_factor=keep)
    study = optuna.load_study(study_name=STUDY, storage=storage(sweep / JOURNAL), pruner=pruner)
    if len(study.directions) > 1:
        raise PoseError(
            "callbacks=halving compares by the score alone: leave it with several objectives."
        )
    return optuna.Trial(study, study.get_trials(deepcopy=False)[number]._trial_id)
