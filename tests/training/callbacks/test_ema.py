from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning import Callback
from torch import Tensor, nn
from torch.utils.data import DataLoader

from featherpose.pixels import normalise
from featherpose.skeletons import MPII
from featherpose.training.callbacks.ema import EMA, decay_at
from featherpose.training.losses import HeatmapLoss
from featherpose.training.module import PoseModule


class Five(nn.Module):
    joints, stride = 16, 4

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 16, 8, 4, 2), nn.BatchNorm2d(16), nn.ReLU())

    def forward(self, images: Tensor) -> list[Tensor]:
        return [self.layers(images)]


def batch(seed: int) -> dict[str, Tensor]:
    mix = torch.Generator().manual_seed(seed)
    return {
        "image": torch.randint(0, 256, (8, 3, 32, 32), generator=mix, dtype=torch.uint8),
        "joints": torch.rand(8, 16, 2, generator=mix) * 32,
        "visible": torch.ones(8, 16, dtype=torch.bool),
        "index": torch.arange(8),
    }


class Swinging(Callback):
    """Moves the weights to and fro around where they began, as a large learning rate does."""

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self.weight = pl_module.network.layers[0].weight
        self.middle = self.weight.detach().clone()

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, index: int) -> None:
        self.weight.data.copy_(self.middle + 0.05 * (-1) ** index)


def averaged(steps: int) -> PoseModule:
    """What the average is after so many steps: the end of a run holds it."""
    torch.manual_seed(0)
    module = PoseModule(Five(), HeatmapLoss(), MPII, optimiser=partial(torch.optim.SGD, lr=0.0))
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = L.Trainer(
        accelerator="cpu",
        max_steps=steps,
        callbacks=[Swinging(), EMA(decay=0.99, update_every_n_steps=1)],
        enable_checkpointing=False,
        **quiet,
    )
    trainer.fit(module, DataLoader([batch(seed) for seed in range(8)], batch_size=None))
    return module


def test_the_decay_rises_so_that_the_first_weights_are_forgotten() -> None:
    assert [decay_at(n, 0.996) for n in (1, 10, 10**6)] == [2 / 11, 11 / 20, 0.996]
    share = 1.0
    for update in range(1, 500):
        share *= decay_at(update, 0.995)
    assert share < 1e-9, "0.08 without the rise"


def test_norms_have_the_statistics_of_the_averaged_weights() -> None:
    module = averaged(steps=120)
    convolution, norm, _ = module.network.layers
    crops = torch.cat([batch(seed)["image"] for seed in range(8)])
    before = convolution(normalise(crops))
    true = before.var(dim=(0, 2, 3))
    torch.testing.assert_close(norm.running_var, true, rtol=0.15, atol=0)


class Seen(Callback):
    """The first weights before and after each epoch, those that each validation ran with, and their average."""

    def __init__(self, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.average: Tensor | None = None
        self.started, self.trained, self.validated = [], [], []

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        self.started.append(first(pl_module))

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        weight, n = first(pl_module), self.updates
        kept = min(self.decay, (1 + n) / (10 + n)) if n else 0.0
        old = torch.zeros_like(weight) if self.average is None else self.average
        self.average, self.updates = kept * old + (1 - kept) * weight, n + 1

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.trained.append(first(pl_module))

    def on_validation_batch_start(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        self.validated.append(first(pl_module))


def first(module: L.LightningModule) -> Tensor:
    return next(module.network.parameters()).detach().clone()


def test_the_average_is_validated_in_training_and_left_alone_afterwards(
    fit: Any, tmp_path: Path
) -> None:
    seen = Seen(decay=0.3)  # from the fourth update on
    few = ("schedule.epochs=2", "trainer.limit_val_batches=1", "trainer.num_sanity_val_steps=0")
    ema = ("callbacks=ema", "callbacks.progress=null", "callbacks.previews=null")
    each = ("callbacks.ema.update_every_n_steps=1", "callbacks.ema.decay=0.3")
    module = fit(tmp_path, *ema, *few, *each, extra=(seen,))
    assert seen.average is not None and len(seen.validated) == 2
    torch.testing.assert_close(seen.validated[-1], seen.average)
    torch.testing.assert_close(seen.validated[-1], first(module))  # the end holds the average
    assert not torch.allclose(seen.validated[-1], seen.trained[-1])
    assert torch.equal(seen.started[1], seen.trained[0]), "a validation changes no trained weights"
    saved = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    name = next(iter(saved["state_dict"]))
    torch.testing.assert_close(saved["state_dict"][name], first(module))
    with torch.no_grad():
        next(module.network.parameters()).fill_(1.0)  # as the best checkpoint's would be loaded
    trainer = module.trainer
    trainer.validate(module, datamodule=trainer.datamodule, verbose=False)
    assert torch.equal(seen.validated[-1], torch.ones_like(seen.validated[-1]))
