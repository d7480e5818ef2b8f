"""PoseModule: network + loss + decoding + metrics, and no more."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import lightning as L
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer

from featherpose import vectors
from featherpose.heatmaps import decode, flip_test, to_picture
from featherpose.metrics.collect import KeypointMetric
from featherpose.models.network import PoseNetwork, check_joints, lay_out, natural_height_of
from featherpose.pixels import normalise
from featherpose.protocol import Protocol
from featherpose.skeletons import Skeleton
from featherpose.training.compiling import Compiled, backend_of
from featherpose.training.groups import parameter_groups
from featherpose.training.losses import names_of
from featherpose.training.schedules import Schedule
from featherpose.zoo.checkpoint import KEY, PREFIX, network_weights

Batch = dict[str, Tensor]
ADAM = partial(torch.optim.Adam, lr=1e-3)
# outputs, joints, visible, stride, and while it trains images and batch -> the total, and its parts
Loss = Callable[..., tuple[Tensor, Tensor]]


class Keypoints(NamedTuple):
    """What `predict_step` gives: everybody's keypoints by every output, the final one last."""

    index: Tensor  # (B,) into the data's persons
    keypoints: Tensor  # (S, B, K, 2) in picture pixels
    confidence: Tensor  # (S, B, K)


Gathered = tuple[
    np.ndarray, np.ndarray, np.ndarray
]  # index (N,), keypoints (S, N, K, 2), confidence


class PoseModule(L.LightningModule):
    """A network in training or evaluation.

        PoseModule(network, HeatmapLoss(), MPII)

    Args:
        network: maps normalised images (B, 3, H, W) to a list of heatmaps (B, K, h, w), the final ones last;
            it has `joints` (K) and `stride` (H / h).
        loss: see `HeatmapLoss`.
        skeleton: of the K joints.
        protocol: how validation reads keypoints from heatmaps.
        optimiser: called with the network's parameters, and with `lr` where there is a schedule.
        schedule: of the learning rate; None: it stays the optimiser's own.
        channels_last: the memory layout that is 1.2 times faster on CPUs and that tensor cores need.
        compile: train on `torch.compile` of the network; the name of one of its backends, or true for inductor.
        input_size: height and width of the crops, for who predicts with it; None: the network's natural square.
        description: what the network is built from, kept in each checkpoint (`zoo.checkpoint.describe`).
    """

    def __init__(
        self,
        network: PoseNetwork,
        loss: Loss,
        skeleton: Skeleton,
        protocol: Protocol | None = None,
        optimiser: Callable[..., Optimizer] = ADAM,
        schedule: Schedule | None = None,
        channels_last: bool = True,
        compile: bool | str = False,
        input_size: tuple[int, int] | None = None,
        description: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        check_joints(network, skeleton.name, len(skeleton))
        self.network: PoseNetwork = network
        self.loss = loss
        self.skeleton = skeleton
        self.stride = network.stride
        self.protocol = protocol or Protocol()
        self.optimiser = optimiser
        self.schedule = schedule
        self.channels_last = channels_last
        if channels_last:
            lay_out(network, torch.channels_last)
        self.compiler = backend_of(compile)
        self.compiled: Compiled | None = None  # from the start of a training run
        side = natural_height_of(network)
        self.input_size = input_size or (side, side)
        self.description = dict(description or {})
        self.metrics = nn.ModuleList()  # one for each supervised output
        self.also = nn.ModuleList()  # one for each further set that is scored, by the final output
        self.also_names: list[str] = []
        self.last_predictions: Gathered | None = None
        self.last_also: list[Gathered] = []
        # persons, and the total's loss before each output's
        self.step_losses: list[tuple[int, Tensor]] = []
        self.rate = 0.0  # of the step under way

    def forward(self, images: Tensor) -> list[Tensor]:
        """The network's outputs of normalised images (B, 3, H, W)."""
        return self.network(images)

    def setup(self, stage: str) -> None:
        """One metric for each output, for the persons that are validated, and one for each further set."""
        if self.compiler and stage == "fit":
            self.compiled = Compiled(self.network, self.compiler)
        data = getattr(self.trainer, "datamodule", None)
        if data is None or stage not in ("fit", "validate", "test"):
            return
        self.metrics = nn.ModuleList(
            data.new_metric(self.protocol.mean) for _ in range(self.count_outputs(data.input_size))
        )
        others = getattr(data, "also", {})
        self.also_names = list(others)
        self.also = nn.ModuleList(each.new_metric(self.protocol.mean) for each in others.values())

    @torch.no_grad()
    def count_outputs(self, input_size: tuple[int, int]) -> int:
        """How many outputs the network gives: asked of one black image."""
        weight, training = next(self.network.parameters()), self.network.training
        image = torch.zeros(1, 3, *input_size, device=weight.device, dtype=weight.dtype)
        outputs = self.network.eval()(image)
        self.network.train(training)
        return 1 if vectors.is_pair(outputs) else len(outputs)

    # Training

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Kept from here: before anybody logs it, Lightning has set the next step's or epoch's rate."""
        # parts with rates of their own (schedule.part_rates) usually have lower ones
        self.rate = max(float(group["lr"]) for group in self.trainer.optimizers[0].param_groups)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        images = normalise(batch["image"], self.channels_last)
        outputs = self.compiled(images) if self.compiled else self.network(images)
        crops = (images, batch) if getattr(self.loss, "sees_crops", False) else ()
        total, each = self.loss(outputs, batch["joints"], batch["visible"], self.stride, *crops)
        self.step_losses.append((len(batch["index"]), torch.cat((total[None], each)).detach()))
        if batch_index % 10 == 0:  # for the bar; a metric logged at each step would cost it 0.4 ms
            self.log("loss", total.detach(), prog_bar=True, logger=False)
        return total

    def on_train_epoch_end(self) -> None:
        if self.step_losses:
            means = self.mean_losses()
            names = ["train/loss", *names_of(self.loss, len(means) - 1)]
            self.log_dict(dict(zip(names, means, strict=True)), sync_dist=True)
            self.step_losses.clear()
        self.log("lr", self.rate)

    def mean_losses(self, last: int = 0) -> Tensor:
        """(1 + S): the total's and each part's mean over the persons of the epoch, or of its last batches."""
        steps = self.step_losses[-last:]
        losses = torch.stack([losses for _, losses in steps])
        counts = losses.new_tensor([count for count, _ in steps])
        return counts @ losses / counts.sum()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        schedule = self.schedule
        if schedule is None:
            return self.optimiser(self.network.parameters())
        optimiser = self.optimiser(
            parameter_groups(
                self.network, schedule.first_rate, schedule.no_decay, schedule.part_rates
            ),
            lr=schedule.first_rate,
        )
        # a plain function: of anything else LambdaLR keeps the fields in each checkpoint
        rate = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda at: schedule.factor(at))
        return {
            "optimizer": optimiser,
            "lr_scheduler": {"scheduler": rate, "interval": schedule.unit},
        }

    # Evaluation

    def predict_heatmaps(self, images: Tensor, flip: bool | None = None) -> list[Tensor]:
        """Each output's heatmaps of uint8 crops, averaged with the mirrored crops' where the protocol says so."""
        flip = self.protocol.flip if flip is None else flip
        inputs = normalise(images, self.channels_last)
        if not flip:
            return self.network(inputs)
        shift = self.protocol.shifts(self.stride)
        return flip_test(self.network, inputs, self.skeleton.flip_order, shift)

    def decode(self, outputs: list[Tensor], matrix: Tensor) -> tuple[Tensor, Tensor]:
        """Keypoints in picture coordinates (S, B, K, 2) and confidences (S, B, K) of all outputs."""
        if vectors.is_pair(outputs):
            points, sure = vectors.decode(*outputs, outputs[0].shape[-1] / self.input_size[1])
            return to_picture(points[None], matrix, 1).float(), sure[None]
        points, confidence = zip(
            *(decode(o.float(), self.protocol.decoder) for o in outputs), strict=True
        )
        return to_picture(torch.stack(points), matrix, self.stride).float(), torch.stack(confidence)

    def predict_step(self, batch: Batch, batch_index: int) -> Keypoints:
        outputs = self.predict_heatmaps(batch["image"])
        return Keypoints(batch["index"], *self.decode(outputs, batch["matrix"]))

    def validation_step(self, batch: Batch, batch_index: int, dataloader_idx: int = 0) -> None:
        outputs = self.predict_heatmaps(batch["image"])
        keypoints, confidence = self.decode(outputs, batch["matrix"])
        if dataloader_idx:  # a further set
            metric = keypoint_metrics(self.also)[dataloader_idx - 1]
            metric.update(batch["index"], keypoints[-1], confidence[-1])
            return
        total, _ = self.loss(outputs, batch["joints"], batch["visible"], self.stride)
        self.log(
            "val/loss",
            total,
            batch_size=len(batch["index"]),
            sync_dist=True,
            add_dataloader_idx=False,  # the name is this set's alone
        )
        for metric, points, scores in zip(
            self.keypoint_metrics(), keypoints, confidence, strict=True
        ):
            metric.update(batch["index"], points, scores)

    def on_validation_epoch_end(self) -> None:
        metrics = self.keypoint_metrics()
        scores = [metric.compute() for metric in metrics]
        final = {f"val/{name}": value for name, value in scores[-1].items()}
        final["val/score"] = scores[-1][metrics[-1].main]
        for i, stage in enumerate(scores[:-1]):
            final[f"val/stage{i + 1}/score"] = stage[metrics[i].main]
        others = keypoint_metrics(self.also)
        for name, metric in zip(self.also_names, others, strict=True):
            found = metric.compute()
            final |= {f"val/{name}/{key}": value for key, value in found.items()}
            final[f"val/{name}/score"] = found[metric.main]
        self.log_dict(
            {name: torch.tensor(float(value)) for name, value in final.items()},
            rank_zero_only=False,
        )
        if self.trainer.state.fn != "fit":  # while it trains nobody asks for them
            self.last_predictions = self.gathered_predictions()
            self.last_also = [gathered([metric]) for metric in others]
        for metric in (*metrics, *others):
            metric.reset()

    def keypoint_metrics(self) -> list[KeypointMetric]:
        """One for each output, the final one's last."""
        return keypoint_metrics(self.metrics)

    def gathered_predictions(self) -> Gathered:
        """Of all processes and outputs, until the pass has ended."""
        return gathered(self.keypoint_metrics())

    test_step, on_test_epoch_end = validation_step, on_validation_epoch_end

    # Checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[KEY] = self.description

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Files made until 5f8f7bd hold the network twice; EMA keeps a second state beside the first."""
        for state in ("state_dict", "current_model_state"):
            if state in checkpoint:
                weights = network_weights(checkpoint[state])
                checkpoint[state] = {PREFIX + name: value for name, value in weights.items()}


def keypoint_metrics(modules: nn.ModuleList) -> list[KeypointMetric]:
    """The same, as what they are."""
    return [each for each in modules if isinstance(each, KeypointMetric)]


def gathered(metrics: Sequence[KeypointMetric]) -> Gathered:
    """What each of the metrics of the same persons has collected in all processes."""
    found = []
    for metric in metrics:
        with metric.sync_context():
            found.append(metric.collected())
    index = found[-1][0]
    return index, np.stack([points for _, points, _ in found]), np.stack([c for *_, c in found])
