"""When a preview is due, whom it shows, and how much of a dashboard's room it takes."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from featherpose.errors import PoseError
from featherpose.models.hourglass import Hourglass
from featherpose.person import Person, Persons
from featherpose.runs import samples
from featherpose.runs.folder import Run
from featherpose.runs.wandb_runs import read_offline
from featherpose.skeletons import MPII
from featherpose.training.callbacks.previews import Pass, Previews, table_of
from featherpose.training.loggers.identity import Identity
from featherpose.training.loggers.weights_and_biases import wandb_logger
from featherpose.training.losses import HeatmapLoss
from featherpose.training.module import PoseModule


@pytest.mark.parametrize(
    ("every", "apart", "length", "expected"),
    [
        (5, 1, {"max_epochs": 12}, [0, 5, 10, 11]),
        (5, 10, {"max_epochs": 120}, [9, 59, 109, 119]),
        (1, 5, {"max_epochs": 17}, [4, 9, 14]),  # the last validation is before the last epoch
        (5, 2, {"max_steps": 100}, [1, 9]),  # ten epochs of ten steps
        (0, 1, {"max_epochs": 3}, [2]),
    ],
)
def test_every_counts_validations(
    every: int, apart: int, length: dict[str, int], expected: list[int]
) -> None:
    previews = Previews("nowhere", every=every)
    run = {"max_epochs": -1, "max_steps": -1, "num_training_batches": 10} | length
    epochs = run["max_epochs"] if run["max_epochs"] > 0 else 10
    trainers = [
        SimpleNamespace(
            current_epoch=epoch, check_val_every_n_epoch=apart, accumulate_grad_batches=1, **run
        )
        for epoch in range(epochs)
        if (epoch + 1) % apart == 0  # where Lightning validates
    ]
    assert [t.current_epoch for t in trainers if previews.due(t)] == expected


SIDE = 256


def people(count: int) -> Persons:
    joints = np.random.default_rng(0).uniform(20, 230, (count, 16, 2))
    visible = np.full((count, 16), 2, np.uint8)
    visible[:, 3] = 0  # left_hip is not annotated
    visible[0] = 0
    one = np.ones(2)
    return Persons.of(
        Person(f"{i}.jpg", joints[i], visible[i], 128 * one, one, np.zeros(4), i, 100 + i)
        for i in range(count)
    )


def seen(count: int, outputs: int = 1) -> Pass:
    """Person i is off by i pixels to the right; person 2 got no prediction at all."""
    persons = people(count)
    keypoints = np.repeat(persons.joints[None], outputs, axis=0)
    keypoints[-1, :, :, 0] += np.arange(count)[:, None]
    keypoints[-1, 2] = np.nan
    return Pass(np.arange(count), keypoints, persons)


class Noise(torch.utils.data.Dataset):
    """Crops that no format makes small."""

    def __init__(self, persons: Persons) -> None:
        self.persons = persons

    def __getitem__(self, index: int) -> dict[str, Any]:
        drawn = np.random.default_rng(index).integers(0, 256, (3, SIDE, SIDE), dtype=np.uint8)
        return {
            "image": torch.from_numpy(drawn),
            "joints": torch.from_numpy(self.persons.joints[index]).float(),
            "visible": torch.from_numpy(self.persons.visible[index] > 0).float(),
            "matrix": torch.eye(3, dtype=torch.float64)[:2],
            "index": index,
        }


def trainer_of(dataset: Any, loggers: Any = ()) -> Any:
    return SimpleNamespace(
        sanity_checking=False,
        state=SimpleNamespace(fn="fit"),
        is_global_zero=True,
        max_epochs=1,
        current_epoch=0,
        global_step=7,
        check_val_every_n_epoch=1,
        val_dataloaders=SimpleNamespace(dataset=dataset),
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
        loggers=list(loggers),
    )


def test_the_worst_and_the_same_ones() -> None:
    of = seen(9)
    # person 0 has nothing annotated, person 2 was not found
    assert of.worst(99)[0] == 2
    assert set(of.worst(99)) == set(range(1, 9))
    assert of.worst(0) == []
    assert of.spread(3) == [0, 4, 8]
    errors = of.errors
    assert np.isnan(errors[0]).all()
    assert np.isnan(errors[:, 3]).all()
    assert np.isinf(errors[2, 0])


def test_errors_are_those_of_the_run(write_run: Any) -> None:
    of = seen(9)
    arrays = {
        "index": of.index,
        "keypoints": of.keypoints,
        "confidence": np.ones((1, 9, 16)),
        "joints": of.persons.joints,
        "visible": of.persons.visible,
        "person_id": of.persons.person_id,
        "image": np.array(of.persons.images()),
    }
    config = {"data": {"skeleton": "mpii"}}
    run = Run(write_run("lapx", config=config, predictions=arrays))
    theirs = samples.per_sample(run)["relative"].drop(2)
    ours = of.errors[theirs.index.to_numpy()]
    np.testing.assert_allclose(np.nanmean(ours, axis=1), theirs)
    assert of.worst(4) == [2, *theirs.index[:3]]


def test_pictures_of_an_epoch_take_less_than_2_mb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Noise, four stages with their heatmaps: what W&B would upload, files of its table included."""
    waiting = tmp_path / "staged"
    monkeypatch.setenv("WANDB_DATA_DIR", str(waiting))
    network = Hourglass(16, stages=4, channels=16)
    module = PoseModule(network, HeatmapLoss(), MPII, input_size=(SIDE, SIDE)).eval()
    of = seen(40, outputs=4)
    logger = wandb_logger(Identity(tmp_path, "noise"), directory=str(tmp_path), mode="offline")
    place = Path(logger.facts()["wandb"]["dir"])
    previews = Previews(tmp_path, heatmaps=True)
    previews.show(trainer_of(Noise(of.persons), [logger]), module, of)
    logger.close_run(0)
    kept = [*(place / "files" / "media").rglob("*.*"), *waiting.rglob("*")]
    assert 800_000 < sum(path.stat().st_size for path in kept if path.is_file()) < 2_000_000
    logged = read_offline(place).history
    assert {"preview.path", "worst.path", "samples.path"} <= set(logged)
    (table,) = (place / "files" / "media" / "table").iterdir()
    content = json.loads(table.read_text())
    assert content["columns"][:4] == ["picture", "sample", "chosen", "error %"]
    assert 4 < len(content["data"]) <= 16
    assert [row[2] for row in content["data"]][:5] == ["fixed"] * 4 + ["worst"]
    assert content["data"][4][1] == "2.jpg, person 102"


def test_a_table_has_an_error_for_each_joint() -> None:
    of = seen(9)
    table = table_of(of.samples(Noise(of.persons), [8, 2], "worst"), MPII)
    first, second = (dict(zip(table.columns, row, strict=True)) for row in table.rows)
    assert first["sample"] == "8.jpg, person 108"
    assert first["left_wrist"] == pytest.approx(first["error %"], abs=0.11)  # all off by 8 pixels
    assert first["left_hip"] is None
    assert second["error %"] is None
    assert table.pictures[0].shape == (192, 2 * 192, 3)
    assert table.in_markdown().count("\n") == 3


def test_no_picture_ends_a_training(tmp_path: Path) -> None:
    class Gone:
        def __getitem__(self, index: int) -> Any:
            raise PoseError("The picture 1.jpg is missing.")

    of = seen(9)
    module = PoseModule(Hourglass(16, stages=1, channels=16), HeatmapLoss(), MPII)
    module.gathered_predictions = lambda: (of.index, of.keypoints, None)  # ty: ignore[invalid-assignment]
    module.keypoint_metrics = lambda: [SimpleNamespace(persons=of.persons)]  # ty: ignore[invalid-assignment]
    with pytest.warns(UserWarning, match=r"No previews of epoch 0: The picture 1\.jpg is missing"):
        Previews(tmp_path).on_validation_epoch_end(trainer_of(Gone()), module)
    assert not (tmp_path / "pictures").exists()


def test_none_at_all(tmp_path: Path) -> None:
    of = seen(9)
    module = PoseModule(Hourglass(16, stages=1, channels=16), HeatmapLoss(), MPII)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Previews(tmp_path, samples=0, worst=0, table=0).show(
            trainer_of(Noise(of.persons)), module, of
        )
    assert not (tmp_path / "pictures").exists()
