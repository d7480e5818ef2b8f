"""One batch until it is learned (debug=overfit), and in plain sentences what is wrong where it is not."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from featherpose import crop
from featherpose.data.doctor.targets import never
from featherpose.errors import PoseError
from featherpose.settings import number, whole
from featherpose.training.module import Batch, PoseModule

STILL = (
    0.02  # part of its height that the loss of a run that goes on has to lose over the last quarter
)
MOVED = 0.01  # part of the weights' length by which a rate that does anything has moved them


class Overfit(Callback):
    """Ends the run as soon as the batch is learned, and refuses where its steps end before.

    Learned is measured as validation does it: the network in evaluation mode, plain crops, decoded joints.

    Args:
        within: of the crop's longer side: so near to its label a joint counts as learned.
        share: of the joints that have to be.
        every: steps between two looks.
    """

    def __init__(self, within: float = 0.05, share: float = 0.95, every: int = 10) -> None:
        self.within = number("callbacks.overfit.within", within, above=0)
        self.share = number("callbacks.overfit.share", share, least=0, most=1)
        self.every = whole("callbacks.overfit.every", every, least=1)
        self.losses: list[float] = []
        self.found = np.zeros(
            (0, 0)
        )  # (B, K): learned or not at the last look, NaN without a target
        self.start: dict[str, Tensor] = {}
        self.learned = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, PoseModule)
        weights = pl_module.network.named_parameters()
        self.start = {name: value.detach().clone() for name, value in weights}

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        if batch_idx == 0:
            assert isinstance(pl_module, PoseModule)
            for sentence in describe(batch, pl_module):
                print(sentence)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        assert isinstance(pl_module, PoseModule)
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        self.losses.append(float(loss) * trainer.accumulate_grad_batches)
        if not math.isfinite(self.losses[-1]):
            raise PoseError(f"The batch is not learned. {self.why(trainer, pl_module)}")
        if (batch_idx + 1) % self.every == 0:
            self.found = look(batch, pl_module, self.within)
            if np.nanmean(self.found) >= self.share:
                self.learned = trainer.should_stop = True

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, PoseModule)
        if not self.learned:
            raise PoseError(f"The batch is not learned. {self.why(trainer, pl_module)}")
        print(
            f"The batch is learned after {len(self.losses):,} steps: {np.nanmean(self.found):.0%} of its "
            f"{np.isfinite(self.found).sum():,} joints lie within {self.within:.0%} of the crop of their labels. "
            "Data, network and rate hold together; train without debug=overfit."
        )

    def why(self, trainer: Trainer, module: PoseModule) -> str:
        rate = max(float(group["lr"]) for group in trainer.optimizers[0].param_groups)
        said = diagnose(self.losses, self.moved(module), rate)
        if self.found.size and math.isfinite(self.losses[-1]):
            said += f" {which(self.found, module.skeleton.joints)}"
        return said

    def moved(self, module: PoseModule) -> float:
        """How far the weights have come, as a part of their length."""
        now = dict(module.network.named_parameters())
        far = sum(
            float((now[name] - value).detach().square().sum()) for name, value in self.start.items()
        )
        long = sum(float(value.square().sum()) for value in self.start.values())
        return math.sqrt(far / long) if long else 0.0


def targets(batch: Batch) -> np.ndarray:
    """(B, K): the joints of the batch that are annotated and lie in their crop."""
    size_wh = batch["image"].shape[-1], batch["image"].shape[-2]
    inside = crop.inside(batch["joints"].cpu().numpy(), size_wh)
    return inside & (batch["visible"].cpu().numpy() > 0)


def describe(batch: Batch, module: PoseModule) -> list[str]:
    """What the batch holds; a batch without any target is refused."""
    have = targets(batch)
    people, joints = have.shape
    if not have.any():
        raise PoseError(
            f"None of the {people} people of the batch has an annotated joint in the crop: there is nothing to learn "
            "from them. The doctor counts such people: featherpose data check data=NAME; seed=1 takes another batch."
        )
    said = [
        f"one batch: {people} people, {have.sum():,} of {people * joints:,} joints have a target"
    ]
    if empty := int((~have.any(axis=1)).sum()):
        said.append(f"{empty} of them have no joint in their crop at all: empty targets")
    if unseen := never(have, module.skeleton):
        said.append(f"never seen in this batch, so not learned: {', '.join(unseen)}")
    return said


@torch.no_grad()
def look(batch: Batch, module: PoseModule, within: float) -> np.ndarray:
    """(B, K): 1 where the joint is found, 0 where not, NaN where it has no target."""
    modes = [(each, each.training) for each in module.network.modules()]
    module.network.eval()
    outputs = module.predict_heatmaps(batch["image"], flip=False)
    for each, training in modes:  # norms may be fixed
        each.training = training
    whole_crop = torch.eye(3, dtype=torch.float64, device=batch["image"].device)[:2]
    points, _ = module.decode(outputs, whole_crop.expand(len(batch["image"]), 2, 3))
    away = (points[-1].cpu() - batch["joints"].cpu()).norm(dim=-1).numpy()
    near = away <= within * max(batch["image"].shape[-2:])
    return np.where(targets(batch), near.astype(float), np.nan)


def diagnose(losses: list[float], moved: float, rate: float) -> str:
    """What the course of the loss says of the learning rate."""
    first, last = losses[0], losses[-1]
    if not math.isfinite(last):
        return (
            f"The loss is {last} at step {len(losses)}: the rate {rate:g} is too high (try "
            f"schedule.learning_rate={rate / 10:g}), or a picture or label of the batch is not a number."
        )
    quarter = max(1, len(losses) // 4)
    before, end = np.mean(losses[-2 * quarter : -quarter] or losses[:1]), np.mean(losses[-quarter:])
    course = f"the loss went from {first:.3g} to {end:.3g} in {len(losses):,} steps"
    if end < before * (1 - STILL):
        return (
            f"It is still learning: {course}, and it still falls; give it more steps "
            f"(schedule.steps={2 * len(losses)}) or a higher rate (schedule.learning_rate={rate * 3:g})."
        )
    if moved < MOVED:
        return (
            f"The rate {rate:g} is too low: {course} and the weights have moved by {moved:.2%}; try "
            f"schedule.learning_rate={rate * 10:g}."
        )
    if end > first or end > before * (1 + STILL):
        return (
            f"The rate {rate:g} is too high: {course}, and it rises; try "
            f"schedule.learning_rate={rate / 10:g}."
        )
    return (
        f"It has stopped learning: {course}, and it falls no more. A rate that is too high does so (try "
        f"schedule.learning_rate={rate / 10:g}), and so do labels that contradict each other."
    )


def which(found: np.ndarray, joints: tuple[str, ...]) -> str:
    """How much was found, and the joints that are worst."""
    known = np.isfinite(found)
    right = np.nansum(found, axis=0)
    shares = {
        joint: (int(n), int(of))
        for joint, n, of in zip(joints, right, known.sum(axis=0), strict=True)
        if of
    }
    worst = sorted(shares, key=lambda joint: shares[joint][0] / shares[joint][1])[:3]
    listed = ", ".join(f"{joint} {shares[joint][0]} of {shares[joint][1]}" for joint in worst)
    return f"Found: {np.nanmean(found):.0%} of the joints; least of all {listed}."
