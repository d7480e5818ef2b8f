"""What a validation saw, every few epochs: the same samples each time, and the worst ones of this pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor

from featherpose import crop, image
from featherpose.draw import contact_sheet, draw_pose, overlay_heatmaps
from featherpose.files import replacing
from featherpose.inference.checkpoints import TorchBackend, Trained
from featherpose.inference.estimator import Estimator
from featherpose.inference.outputs import Heatmaps, Output
from featherpose.metrics.pck import distances
from featherpose.models.network import output_names_of
from featherpose.person import Persons, extent_of, spread
from featherpose.skeletons import Skeleton
from featherpose.training.callbacks.gamma_warmup import run_length
from featherpose.training.handed_over import data_of
from featherpose.training.loggers.pictures import SampleTable, log_picture, log_table
from featherpose.training.module import PoseModule

# Bytes of a sheet, and of the table's pictures: all of an epoch's stay below 2 MB
SHEET, TABLE = 700_000, 500_000
# Widths and qualities of a sheet, the best first
_FORMS = ((4000, 90), (4000, 80), (3000, 70), (2000, 60), (1400, 50))


@dataclass(frozen=True)
class Sample:
    """One person's crop, as annotated and as predicted."""

    image: np.ndarray  # (H, W, 3)
    joints: np.ndarray  # (K, 2) in the crop
    visible: np.ndarray  # (K,): 0 not annotated, 2 annotated
    points: np.ndarray  # (S, K, 2) in the crop, by every output
    name: str = ""
    chosen: str = ""  # as one of the fixed samples, or of the worst
    errors: np.ndarray = field(default_factory=lambda: np.zeros(0))  # (K,), see `Pass.errors`


@dataclass(frozen=True)
class Pass:
    """What the network predicted of everybody in one validation."""

    index: np.ndarray  # (N,) rising, into the data's persons
    keypoints: np.ndarray  # (S, N, K, 2) in the picture, by every output
    persons: Persons  # those of the index

    @property
    def errors(self) -> np.ndarray:
        """(N, K): how far each joint is off, as a part of the pose's extent; NaN where it is not annotated."""
        extent = extent_of(self.persons.joints, self.persons.visible)
        size = np.where(extent > 0, extent, np.nan)
        return distances(self.keypoints[-1], self.persons.joints, self.persons.visible, size)

    def spread(self, most: int) -> list[int]:
        """Rows that are the same in every pass."""
        return [int(row) for row in spread(len(self.index), most)] if most > 0 else []

    def worst(self, most: int) -> list[int]:
        """Rows by the mean error of their joints, the largest first; who has none annotated is left out."""
        errors = self.errors
        known = ~np.isnan(errors)
        mean = np.where(known, errors, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        order = np.argsort(-mean, kind="stable")
        return [int(row) for row in order if known[row].any()][: max(most, 0)]

    def samples(self, dataset: Any, rows: Sequence[int], chosen: str) -> list[Sample]:
        """Some rows with their crops, read from the data."""
        errors, found = self.errors, []
        for row in rows:
            read, person = dataset[int(self.index[row])], self.persons[row]
            sample = Sample(
                image=np.ascontiguousarray(read["image"].permute(1, 2, 0).numpy()),
                joints=read["joints"].numpy(),
                visible=2 * read["visible"].numpy(),
                points=crop.apply(read["matrix"].numpy(), self.keypoints[:, row]),
                name=f"{Path(person.image).name}, person {person.person_id}",
                chosen=chosen,
                errors=errors[row],
            )
            found.append(sample)
        return found


class Previews(Callback):
    """Writes `pictures/preview_0012.jpg` and `worst_0012.jpg` into the run folder and shows them on every dashboard.

    The keypoints are those of the validation that ran; nothing is predicted anew but heatmaps, if they are wanted.

    Args:
        folder: the run folder.
        samples: how many validation samples, spread evenly over the set, the same ones each time.
        worst: how many of the largest errors of the pass.
        heatmaps: also show those of each stage.
        table: rows of a table of samples on dashboards: the fixed samples, then the worst, as far as it holds them.
        every: validations between two pictures; the last one of the run always gives one.
        side: the longer side of one tile in pixels.
    """

    def __init__(
        self,
        folder: str | Path,
        samples: int = 4,
        worst: int = 4,
        heatmaps: bool = False,
        table: int = 16,
        every: int = 5,
        side: int = 192,
    ) -> None:
        self.folder = Path(folder) / "pictures"
        self.samples = samples
        self.worst = worst
        self.heatmaps = heatmaps
        self.table = table
        self.every = every
        self.side = side

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lightning calls it before the module's own, which forgets the predictions."""
        if trainer.sanity_checking or trainer.state.fn != "fit" or not self.due(trainer):
            return
        assert isinstance(pl_module, PoseModule)
        index, keypoints, _ = pl_module.gathered_predictions()  # all processes take part
        if not trainer.is_global_zero or not len(index):
            return
        persons = pl_module.keypoint_metrics()[-1].persons[index]
        try:
            self.show(trainer, pl_module, Pass(index, keypoints, persons))
        except Exception as error:  # no picture is worth a training
            rank_zero_warn(f"No previews of epoch {trainer.current_epoch}: {error}")

    def due(self, trainer: Trainer) -> bool:
        """By the epoch alone, so that a run that goes on gives the same pictures."""
        apart = trainer.check_val_every_n_epoch or 1  # epochs from one validation to the next
        number = (trainer.current_epoch + 1) // apart - 1
        last = trainer.current_epoch + apart >= run_length(trainer)
        return last or (self.every > 0 and number % self.every == 0)

    def show(self, trainer: Trainer, module: PoseModule, seen: Pass) -> None:
        loaders: Any = trainer.val_dataloaders
        loader = loaders[0] if isinstance(loaders, list) else loaders
        dataset = getattr(loader, "dataset", None)
        if dataset is None and (data := data_of(trainer)):  # the device's loader has none
            dataset = data.val_dataset()
        logged = self.table if trainer.loggers else 0
        fixed = seen.spread(self.samples)
        worst = seen.worst(max(self.worst, logged - len(fixed)))
        same = seen.samples(dataset, fixed, "fixed")
        large = seen.samples(dataset, worst, "worst")
        epoch, step = trainer.current_epoch, trainer.global_step
        for key, samples in {"preview": same, "worst": large[: self.worst]}.items():
            if not samples:
                continue
            path = self.folder / f"{key}_{epoch:04d}.jpg"
            picture = self._sheet(module, samples, str(trainer.strategy.root_device))
            with replacing(path, flush=False) as beside:
                beside.write_bytes(image.encode_below(picture, SHEET, _FORMS, ".jpg"))
            for logger in trainer.loggers:
                log_picture(logger, key, path, epoch, step)
        if rows := [*same, *large][:logged]:
            table = table_of(rows, module.skeleton, self.side)
            for logger in trainer.loggers:
                log_table(logger, "samples", table, epoch, step)

    def _sheet(self, module: PoseModule, samples: Sequence[Sample], device: str) -> np.ndarray:
        names = output_names_of(module.network, len(samples[0].points))
        maps = None
        if self.heatmaps:
            crops = np.stack([crop.split_channels(sample.image) for sample in samples])
            estimator = Estimator(TorchBackend(module, device))
            maps = [_maps(output) for output in estimator.outputs(crops)]
        return sheet(samples, module.skeleton, names, maps, self.side)


def preview(
    trained: Trained, batch: dict[str, Tensor], side: int = 192, device: str = "cpu"
) -> np.ndarray:
    """One row per sample: the annotation, then every stage's skeleton and heatmaps. RGB, uint8.

    Args:
        trained: a `PoseModule`, or what was read of a checkpoint.
        batch: `image`, `joints` and `visible` as the dataset gives them.
        side: the longer side of one tile in pixels.
        device: where the network runs.
    """
    estimator = Estimator(TorchBackend(trained, device))
    outputs = estimator.outputs(batch["image"].numpy())
    points = np.stack([output.decode(estimator.protocol.decoder)[0] for output in outputs])
    samples = [
        Sample(
            np.ascontiguousarray(picture),
            batch["joints"][row].numpy(),
            2 * batch["visible"][row].numpy(),
            points[:, row],
        )
        for row, picture in enumerate(batch["image"].permute(0, 2, 3, 1).numpy())
    ]
    names = output_names_of(trained.network, len(outputs))
    return sheet(samples, trained.skeleton, names, [_maps(output) for output in outputs], side)


def sheet(
    samples: Sequence[Sample],
    skeleton: Skeleton,
    names: Sequence[str],
    maps: Sequence[np.ndarray] | None = None,
    side: int = 192,
) -> np.ndarray:
    """One row per sample: the annotation, then what every output (by its name) says of it.

    Args:
        samples: with the points of every output.
        skeleton: theirs.
        names: of the outputs.
        maps: the heatmaps (B, K, h, w) of every output, to be shown as well.
        side: the longer side of one tile in pixels.
    """
    tiles, labels = [], []
    for row, sample in enumerate(samples):
        tiles.append(_posed(sample.image, sample.joints, sample.visible, skeleton, side))
        labels.append("annotation")
        for stage, name in enumerate(names):
            tiles.append(_posed(sample.image, sample.points[stage], None, skeleton, side))
            labels.append(name)
            if stage == len(names) - 1 and len(sample.errors):
                labels[-1] += f", error {100 * _mean(sample.errors):.0f}%"
            if maps is not None:
                tiles.append(overlay_heatmaps(_enlarged(sample.image, side), maps[stage][row]))
                labels.append(f"heatmaps, peak {maps[stage][row].max():.2f}")
    return contact_sheet(tiles, columns=len(tiles) // len(samples), labels=labels)


def table_of(samples: Sequence[Sample], skeleton: Skeleton, side: int = 192) -> SampleTable:
    """Annotation beside prediction, the error of the pose and of each joint in percent of the pose's extent.

    It ends where its pictures would be more than `TABLE` bytes.
    """
    pictures, rows, room = [], [], TABLE
    for sample in samples:
        posed = [
            _posed(sample.image, sample.joints, sample.visible, skeleton, side),
            _posed(sample.image, sample.points[-1], None, skeleton, side),
        ]
        picture = np.concatenate(posed, axis=1)
        room -= len(image.encode_below(picture, 0, ((10_000, 80),), ".jpg"))
        if room < 0:
            break
        pictures.append(picture)
        values = [_mean(sample.errors), *sample.errors]
        shown = [round(100 * float(v), 1) if np.isfinite(v) else None for v in values]
        rows.append((sample.name, sample.chosen, *shown))
    return SampleTable(("sample", "chosen", "error %", *skeleton.joints), rows, pictures)


def _mean(errors: np.ndarray) -> float:
    known = errors[~np.isnan(errors)]
    return float(known.mean()) if len(known) else float("nan")


def _maps(output: Output) -> np.ndarray:
    """Heatmaps (B, K, h, w); of two vectors a joint their product, which is where both are high."""
    if isinstance(output, Heatmaps):
        return output.values
    x, y = (each[..., :: 4 * output.bins].clip(0) for each in (output.x, output.y))
    return y[..., :, None] * x[..., None, :]


def _posed(
    picture: np.ndarray,
    points: np.ndarray,
    visible: np.ndarray | None,
    skeleton: Skeleton,
    side: int,
) -> np.ndarray:
    """Enlarged before drawing, so that lines stay thin."""
    enlarged = _enlarged(picture, side)
    return draw_pose(enlarged, points * (enlarged.shape[1] / picture.shape[1]), visible, skeleton)


def _enlarged(picture: np.ndarray, side: int) -> np.ndarray:
    factor = side / max(picture.shape[:2])
    return cv2.resize(
        np.ascontiguousarray(picture), None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR
    )
