from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from featherpose.training.callbacks.checkpoints import ModelCheckpoint

QUICK = ("trainer.limit_train_batches=1", "trainer.limit_val_batches=1")


def words(node: Any) -> Iterator[str]:
    """Every text in a checkpoint, keys too."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from words(key)
            yield from words(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from words(value)
    elif isinstance(node, str):
        yield node


def test_a_checkpoint_holds_nothing_of_the_machine_and_a_moved_run_keeps_its_best(
    fit: Any, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    best = fit(first, *QUICK, "schedule.epochs=1").trainer.checkpoint_callbacks
    score = next(each.best_model_score for each in best if isinstance(each, ModelCheckpoint))
    for name in ("best.ckpt", "last.ckpt"):
        saved = torch.load(first / "checkpoints" / name, weights_only=True)
        texts = set(words(saved))
        assert not [text for text in texts if str(tmp_path) in text or text.startswith("/")]
    shutil.move(first, second)
    last = second / "checkpoints" / "last.ckpt"
    module = fit(second, *QUICK, "schedule.epochs=1", checkpoint=last)
    keeper = next(
        each for each in module.trainer.checkpoint_callbacks if isinstance(each, ModelCheckpoint)
    )
    assert keeper.best_model_path == str((second / "checkpoints" / "best.ckpt").resolve())
    assert keeper.best_model_score == score
    assert list(keeper.best_k_models) == [keeper.best_model_path]


@pytest.mark.parametrize("before", [".", "/another/machine/checkpoints"])
def test_also_absolute_paths_of_older_checkpoints_are_read(before: str, tmp_path: Path) -> None:
    keeper = ModelCheckpoint(tmp_path, filename="best", monitor="val/score", mode="max")
    path = str(Path(before, "best.ckpt"))
    keeper.load_state_dict(
        {
            "dirpath": before,
            "best_model_path": path,
            "kth_best_model_path": path,
            "last_model_path": "",
            "best_model_score": torch.tensor(3.0),
            "kth_value": torch.tensor(3.0),
            "best_k_models": {path: torch.tensor(3.0)},
        }
    )
    assert keeper.best_model_path == str(tmp_path.resolve() / "best.ckpt")
    assert (keeper.best_model_score, keeper.last_model_path) == (3.0, "")
    assert keeper.state_dict()["best_k_models"] == {"best.ckpt": 3.0}
    assert keeper.state_key.startswith("ModelCheckpoint{"), "Lightning's name, as in older files"
