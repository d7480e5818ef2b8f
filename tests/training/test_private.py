"""What is read inside Lightning and torch is still there: a library that changes it fails here first."""

from __future__ import annotations

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch.utils.data import DataLoader

from featherpose.training import private
from featherpose.training.handed_over import callbacks_of, data_of


class Line(L.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.slope = torch.nn.Linear(1, 1)
        self.places: list[dict[str, int]] = []

    def training_step(self, batch: torch.Tensor, batch_index: int) -> torch.Tensor:
        self.places.append(private.position(self.trainer))
        return self.slope(batch).sum()

    def validation_step(self, batch: torch.Tensor, batch_index: int) -> None:
        pass

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trainer(**settings: object) -> L.Trainer:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    return L.Trainer(accelerator="cpu", devices=1, **quiet, **settings)


def test_the_place_in_a_run_is_the_next_batch(tmp_path) -> None:
    loader = DataLoader(torch.rand(3, 1))
    run, line = trainer(max_epochs=2, default_root_dir=tmp_path, enable_checkpointing=False), Line()
    run.fit(line, loader, loader)
    first, second = line.places[:3], line.places[3:]
    assert first == [{"epoch": 0, "batches_done": n} for n in range(3)]
    assert [place["batches_done"] for place in second] == [0, 1, 2]
    assert private.position(run) == {"epoch": 2, "batches_done": 0}
    run.save_checkpoint(tmp_path / "a.ckpt")
    saved = torch.load(tmp_path / "a.ckpt", weights_only=True)
    private.validate_again(saved)
    progress = saved["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
    assert progress["total"] == {"ready": 1, "started": 1, "processed": 0, "completed": 0}


def test_one_process_starts_no_ranks() -> None:
    assert not private.starts_ranks_by_command(trainer())
    several = L.Trainer(accelerator="cpu", devices=2, strategy="ddp", logger=False)
    assert private.starts_ranks_by_command(several)


def test_torch_says_whether_the_cpu_multiplies_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    assert private.cpu_multiplies_bfloat16() in (True, False)
    for vectors, tiles in ((True, False), (False, True), (False, False)):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda v=vectors: v)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda t=tiles: t)
        assert private.cpu_multiplies_bfloat16() == (vectors or tiles)


def test_lightnings_average_has_the_parts_that_ours_uses() -> None:
    average = EMAWeightAveraging()
    assert hasattr(average, "_average_model")
    assert hasattr(average, "_device")


def test_callbacks_are_found_by_their_kind_and_bare_loaders_have_no_data_module() -> None:
    mine = L.Callback()
    run = trainer(callbacks=[mine])
    assert callbacks_of(run, L.Callback)[0] is mine
    assert callbacks_of(run, EMAWeightAveraging) == []
    assert data_of(run) is None
