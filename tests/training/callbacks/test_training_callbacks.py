"""The gamma warm-up, the NaN guard, the moving average and the checkpoint writer, each on its own."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch
from lightning import Callback
from torch import nn
from torch.utils.data import DataLoader, Dataset

from featherpose.errors import PoseError
from featherpose.files import remove_leftovers
from featherpose.models.hourglass import Hourglass
from featherpose.models.layers import NonLocal
from featherpose.training.callbacks.ema import EMA
from featherpose.training.callbacks.gamma_warmup import GammaWarmup, non_local_stages
from featherpose.training.callbacks.nan_guard import NanGuard
from featherpose.training.checkpoint_io import AtomicCheckpointIO


class Points(Dataset):
    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict:
        mix = torch.Generator().manual_seed(index)
        return {"x": torch.randn(8, 4, 4, generator=mix), "index": index}


class Data(L.LightningDataModule):
    def __init__(self) -> None:
        super().__init__()
        persons = [
            SimpleNamespace(person_id=f"person {i}", image=f"picture{i}.jpg") for i in range(8)
        ]
        self.train_people = SimpleNamespace(persons=persons)

    def train_dataloader(self) -> DataLoader:
        return DataLoader(Points(), batch_size=4)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(Points(), batch_size=4)


class Module(L.LightningModule):
    """A Non-Local module behind a convolution; `spoil` changes the loss at given steps."""

    def __init__(self, spoil: dict[int, float] | None = None) -> None:
        super().__init__()
        self.network = nn.ModuleDict({"conv": nn.Conv2d(8, 8, 1), "neck": NonLocal(8)})
        self.spoil = spoil or {}
        self.validated: list[float] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network["neck"](self.network["conv"](x))

    def training_step(self, batch: dict, batch_index: int) -> torch.Tensor:
        return self(batch["x"]).square().mean() * self.spoil.get(self.global_step, 1.0)

    def validation_step(self, batch: dict, batch_index: int) -> None:
        self.validated.append(self.network["conv"].weight.sum().item())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.01, weight_decay=0.1)


def train(
    module: L.LightningModule, *callbacks: Callback, epochs: int = 6, checkpoint=None, **keys
) -> L.Trainer:
    keys = {"limit_val_batches": 0, "enable_checkpointing": False, **keys}
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = L.Trainer(
        accelerator="cpu", max_epochs=epochs, callbacks=list(callbacks), **quiet, **keys
    )
    trainer.fit(module, datamodule=Data(), ckpt_path=checkpoint)
    return trainer


class Watch(Callback):
    def __init__(self) -> None:
        self.gamma: list[float] = []
        self.theta: list[torch.Tensor] = []

    def on_train_epoch_end(self, trainer, pl_module) -> None:
        neck = pl_module.network["neck"]
        self.gamma.append(neck.gamma.item())
        self.theta.append(neck.theta.weight.detach().clone())


def test_three_phases_of_gamma() -> None:
    torch.manual_seed(0)
    watch, module = Watch(), Module()
    start = module.network["neck"].theta.weight.detach().clone()
    trainer = train(module, GammaWarmup(target=0.2, freeze_epochs=2, ramp_epochs=2), watch)
    assert float(trainer.callback_metrics["gamma/stage1"]) == pytest.approx(watch.gamma[-1])
    assert watch.gamma[:4] == pytest.approx([0.0, 0.0, 0.0, 0.1])
    assert watch.gamma[4] == pytest.approx(0.2, abs=0.025)
    assert watch.gamma[4] not in (0.2, watch.gamma[5]), "free: it is learned from 0.2 on"
    assert torch.equal(watch.theta[1], start), "frozen: not even weight decay moves the weights"
    assert not torch.equal(watch.theta[3], watch.theta[2]), "ramp: the weights learn"
    assert all(p.requires_grad for p in module.parameters()), "the flag is never touched"


def test_phases_as_shares_follow_the_run() -> None:
    watch = Watch()
    train(Module(), GammaWarmup(0.4, 0.25, 0.5, unit="share"), watch, epochs=4)
    assert watch.gamma[:3] == pytest.approx([0.0, 0.0, 0.2])


def test_a_run_that_never_frees_gamma_is_warned() -> None:
    with pytest.warns(UserWarning, match="gamma is never learned"):
        train(Module(), GammaWarmup(0.2, 30, 50), epochs=1)


def test_release_happens_once_even_if_resumed() -> None:
    first = GammaWarmup(0.2, 0, 0)
    module = Module()
    train(module, first, epochs=1)
    learned = module.network["neck"].gamma.item()
    assert learned != pytest.approx(0.2, abs=1e-9)
    second = GammaWarmup(0.2, 0, 0)
    second.load_state_dict(first.state_dict())
    second.on_fit_start(SimpleNamespace(max_epochs=2, current_epoch=1, callbacks=[]), module)
    second.on_train_epoch_start(SimpleNamespace(current_epoch=1), module)
    assert module.network["neck"].gamma.item() == learned


@pytest.mark.parametrize("restart", [False, True])
def test_a_trained_gamma_stays_in_the_network_unless_it_is_to_start_again(restart: bool) -> None:
    watch, module = Watch(), Module()
    with torch.no_grad():
        module.network["neck"].gamma.fill_(0.3)
    warmup = GammaWarmup(0.2, 2, 2, restart=restart)
    train(module, warmup, watch, epochs=2)
    if restart:
        assert watch.gamma == [0.0, 0.0]
    else:
        assert watch.gamma == pytest.approx([0.3, 0.3], abs=0.1) and 0.3 not in watch.gamma
    resumed = GammaWarmup(0.2, 2, 2)
    resumed.setup(SimpleNamespace(), Module(), "fit")
    resumed.load_state_dict(warmup.state_dict())
    assert resumed.kept != restart


def test_gamma_is_named_by_its_stage_and_networks_without_are_left_alone() -> None:
    lapx = Hourglass(joints=3, stages=3, channels=16, neck="eca_nonlocal_at_ends")
    assert list(non_local_stages(lapx)) == ["stage1", "stage3"]
    every = Hourglass(joints=3, stages=2, channels=16, neck="eca_nonlocal")
    assert list(non_local_stages(every)) == ["stage1", "stage2"]
    assert non_local_stages(Hourglass(joints=3, stages=2, channels=16)) == {}


def test_bad_phases_are_refused_before_anything_is_read() -> None:
    with pytest.raises(PoseError, match="together at most 1"):
        GammaWarmup(0.2, 0.8, 0.4, unit="share")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        ({3: float("nan")}, "is nan in epoch 1, batch 1"),
        ({5: 1e6}, "exploded to .* in epoch 2, batch 1"),
    ],
)
def test_a_bad_loss_names_and_keeps_its_batch(spoil: dict, words: str, tmp_path: Path) -> None:
    people = "persons person 4, person 5, person 6, person 7;"
    with pytest.raises(PoseError, match=f"{words}, {people}"):
        train(Module(spoil), NanGuard(tmp_path, patience=4))
    facts = json.loads((tmp_path / "bad_batch.json").read_text())
    assert [r["person_id"] for r in facts["records"]] == [f"person {i}" for i in (4, 5, 6, 7)]
    assert facts["records"][0]["image"] == "picture4.jpg"
    batch = torch.load(tmp_path / "bad_batch.pt", weights_only=True)
    assert torch.equal(batch["x"][1], Points()[5]["x"])


def test_no_poisoned_checkpoint_is_written(tmp_path: Path) -> None:
    """Where losses are read late, as on a GPU, a checkpoint that comes first reads them."""

    class Late(NanGuard):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
            self._recent.append((trainer.current_epoch, batch_idx, outputs["loss"].detach(), batch))

        def on_train_epoch_end(self, trainer, pl_module) -> None:
            """Too late for this test."""

    saved = L.pytorch.callbacks.ModelCheckpoint(
        tmp_path, filename="{step}", every_n_train_steps=1, save_top_k=-1
    )
    with pytest.raises(PoseError, match="is nan"):
        train(Module({3: float("nan")}), Late(tmp_path), saved, enable_checkpointing=True)
    assert sorted(p.name for p in tmp_path.glob("*.ckpt")) == [
        "step=1.ckpt",
        "step=2.ckpt",
        "step=3.ckpt",
    ]


def test_without_a_factor_only_what_is_not_finite_stops_a_run(tmp_path: Path) -> None:
    train(Module({3: 1e6}), NanGuard(tmp_path, factor=None, patience=2), epochs=3)
    assert not list(tmp_path.iterdir())
    with pytest.raises(PoseError, match="is inf in epoch 2, batch 0"):
        train(Module({4: float("inf")}), NanGuard(tmp_path, factor=None, patience=2), epochs=3)


def test_a_large_first_loss_or_a_calm_run_is_no_explosion(tmp_path: Path) -> None:
    train(Module({0: 1e9}), NanGuard(tmp_path, patience=4), epochs=3)
    assert not list(tmp_path.iterdir())


WRITER = """
import os, pathlib, signal, sys, time, torch
from featherpose.training.checkpoint_io import AtomicCheckpointIO
torch.set_num_threads(1)
writer, path = AtomicCheckpointIO(), sys.argv[1]
def writing(child):
    os.kill(child, signal.SIGSTOP)
    os.waitpid(child, os.WUNTRACED)
    if os.path.exists(path) and list(pathlib.Path(path).parent.glob(f".*.{child}.part.ckpt")):
        return True
    os.kill(child, signal.SIGCONT)
for wait in (0.05, 0.061, 0.073, 0.087, 0.101, 0.113):
    child = os.fork()
    while child == 0:
        for step in range(10**6):
            writer.save_checkpoint({"step": step, "weights": torch.full((2_000_000,), float(step))}, path)
    time.sleep(wait)
    while not writing(child):
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    kept = torch.load(path, weights_only=True)
    assert (kept["weights"] == kept["step"]).all() and len(kept["weights"]) == 2_000_000
    print("whole", flush=True)
"""


def test_a_kill_while_writing_never_breaks_the_file(python: str, tmp_path: Path) -> None:
    command = [python, "-c", WRITER, str(tmp_path / "last.ckpt")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.stdout == "whole\n" * 6, done.stderr[-2000:]
    left = [p for p in tmp_path.iterdir() if p.name != "last.ckpt"]
    assert len(left) == 6, "each kill came while it was writing"
    assert remove_leftovers(tmp_path) == sorted(left)


def test_a_full_disk_leaves_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, writer = tmp_path / "last.ckpt", AtomicCheckpointIO()
    writer.save_checkpoint({"step": 1}, path)

    def full(checkpoint: dict, file: object) -> None:
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space left"):
        writer.save_checkpoint({"step": 2}, path)
    assert torch.load(path, weights_only=True) == {"step": 1}
    assert os.listdir(tmp_path) == ["last.ckpt"]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: EMA(decay=2), r"callbacks\.ema\.decay is 2; it has to be a number from 0 to 1"),
        (lambda: EMA(update_every_n_steps=0), r"update_every_n_steps is 0; .* of at least 1"),
        (lambda: GammaWarmup(-1, 0, 0), r"schedule\.gamma\.target is -1"),
        (lambda: GammaWarmup(0.2, 2, 0, unit="share"), "together at most 1"),
        (lambda: NanGuard(".", factor=0), r"callbacks\.nan_guard\.factor is 0"),
    ],
)
def test_a_wrong_setting_is_refused_in_one_sentence(make: Any, sentence: str) -> None:
    with pytest.raises(PoseError, match=sentence):
        make()
