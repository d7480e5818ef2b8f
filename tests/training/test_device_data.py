"""`data.cache=device` under Lightning: the same training as with crops that the CPU makes."""

from __future__ import annotations

from pathlib import Path

import torch

from featherpose.training.callbacks.previews import Previews

PLAIN = ("augment=none", "schedule.epochs=1", "schedule.batch_size=5")


def test_the_same_weights_as_with_crops_of_the_cpu(fit, tmp_path: Path):
    kept = fit(tmp_path / "device", *PLAIN, "data.cache=device")
    ordinary = fit(tmp_path / "crops", *PLAIN)  # 20 people in batches of 5: none is left out
    for a, b in zip(kept.network.parameters(), ordinary.network.parameters(), strict=True):
        assert torch.equal(a, b)


def test_augmented_training_resumes_to_the_same_weights(fit, tmp_path: Path):
    words = ("data.cache=device", "schedule.epochs=2")
    whole = fit(tmp_path / "whole", *words)
    fit(tmp_path / "half", *words, "trainer.max_epochs=1")
    resumed = fit(
        tmp_path / "half", *words, checkpoint=tmp_path / "half" / "checkpoints" / "last.ckpt"
    )
    for a, b in zip(whole.network.parameters(), resumed.network.parameters(), strict=True):
        assert torch.equal(a, b)


def test_pictures_of_the_validation_are_drawn(fit, tmp_path: Path) -> None:
    previews = Previews(tmp_path, samples=2, worst=2)
    fit(tmp_path, *PLAIN, "data.cache=device", extra=(previews,))
    assert [path.name for path in sorted((tmp_path / "pictures").iterdir())] == [
        "preview_0000.jpg",
        "worst_0000.jpg",
    ]
