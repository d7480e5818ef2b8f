"""One network scored on two sets, each by its own measure: while it trains, at its end, and in evaluations."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import lightning as L
import pytest
import torch
from torch import Tensor, nn

from featherpose.data.datamodule import PoseDataModule
from featherpose.data.readers import joint
from featherpose.metrics.pck import PCK, PCKh
from featherpose.runs.folder import Run
from featherpose.runs.record import Best, DataFacts, RunRecord
from featherpose.runs.table import tables
from featherpose.skeletons import LSP
from featherpose.synthetic import painted
from featherpose.training import also_scored
from featherpose.training.losses import HeatmapLoss
from featherpose.training.module import PoseModule


class OneLayer(nn.Module):
    joints, stride = 14, 4

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 14, 8, 4, 2)

    def forward(self, images: Tensor) -> list[Tensor]:
        return [self.layer(images)]


def both() -> PoseDataModule:
    people = {"train": 4, "val": 3, "test": 2}
    sets = {
        name: {
            "read": partial(painted.read, people=people, seed=seed, skeleton=name),
            "root": None,
            "skeleton": name,
        }
        for seed, name in enumerate(("lsp", "mpii"))
    }
    return PoseDataModule(
        "lsp_mpii", "lsp", partial(joint.read, skeleton="lsp", validate="lsp", sets=sets),
        painted.load, PCK, also={"mpii": PCKh}, input_size=(64, 64), batch_size=2, workers=0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained() -> tuple[L.Trainer, PoseModule, PoseDataModule]:
    torch.manual_seed(0)
    module, data = PoseModule(OneLayer(), HeatmapLoss(), LSP), both()
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = L.Trainer(accelerator="cpu", max_epochs=1, enable_checkpointing=False, **quiet)
    trainer.fit(module, datamodule=data)
    trainer.validate(module, datamodule=data, verbose=False)
    return trainer, module, data


def test_every_validation_scores_both_each_by_its_own_measure(
    trained: tuple[L.Trainer, PoseModule, PoseDataModule],
) -> None:
    trainer, module, data = trained
    found = trainer.callback_metrics
    for prefix, part in {"val": data, "val/mpii": data.also["mpii"]}.items():
        metric = part.new_metric()
        for batch in part.val_loader():
            index, points, sure = module.predict_step(batch, 0)
            metric.update(index, points[-1], sure[-1])
        for name, value in metric.compute().items():
            assert found[f"{prefix}/{name}"] == pytest.approx(value, abs=1e-3)
        assert found[f"{prefix}/score"] == found[f"{prefix}/{metric.main}"]
    assert not [name for name in found if "dataloader" in name]


def test_the_further_score_is_a_row_of_the_tables(
    trained: tuple[L.Trainer, PoseModule, PoseDataModule], tmp_path: Path
) -> None:
    _, module, data = trained
    record = RunRecord(name="a", state="finished", best=Best("best.ckpt", 3, 1.0))
    record.scores = {"val/score": 1.0, "val/PCK@0.2": 1.0, "val/mpii/PCKh@0.5": 2.0}
    record.data = DataFacts(name="lsp_mpii", scored_on="lsp", val=3)
    record.write(tmp_path)
    (score,) = also_scored.keep(tmp_path, record, module, data)
    assert (score.metric, score.data, score.persons) == ("PCKh@0.5", "mpii", 3)
    assert score.protocol["mean"] == "weighted"
    run = Run(tmp_path)
    assert {table.metric for table in tables([run])[0]} == {"PCK@0.2", "PCKh@0.5"}
    kept = run.all_scores[1]
    assert run.evidence(kept) is not None
    assert (tmp_path / str(kept.errors)).is_file()


def test_who_validates_on_the_further_set_scores_it_once() -> None:
    data = both()
    data.read = partial(data.read, validate="mpii")
    data.metric = partial(PCKh, skeleton=LSP)
    assert data.scored_on == "mpii"
    assert data.also == {}
    assert not isinstance(data.val_dataloader(), list)
