"""What ships beside a finished run, and what refuses to."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from featherpose.errors import PoseError
from featherpose.export.card import ship
from featherpose.zoo.checkpoint import KEY, describe


def finished(write_run: Callable[..., Path]) -> Path:
    folder = write_run(
        "lapx",
        seed=3,
        score=71.25,
        data={"name": "lspet", "train": 3420, "val": 983, "input_size": [256, 192]},
        scores={"PCK@0.2": 71.25},
        baseline={"mean pose": 12.5},
        command="python src/train.py data=lspet",
        predictions=None,
    )
    record = json.loads((folder / "run.json").read_text())
    del record["scores"]["val/PCKh@0.5"]
    record["best"]["path"] = "/where/it/was/trained/best.ckpt"
    (folder / "run.json").write_text(json.dumps(record))
    (folder / "checkpoints").mkdir()
    weights = {"network.stem.weight": torch.ones(2, 3), "loss.w": torch.zeros(1)}
    data = {"skeleton": "lsp", "input_size": [256, 192]}
    protocol = {"flip": False, "decoder": "quarter"}
    saved = {"state_dict": weights, KEY: describe({"data": data, "protocol": protocol})}
    torch.save(saved, folder / "checkpoints" / "best.ckpt")
    return folder


def test_bare_weights_and_a_card(write_run: Callable[..., Path]) -> None:
    weights, card = ship(finished(write_run))
    assert list(torch.load(weights, weights_only=True)) == ["stem.weight"]
    text = card.read_text(encoding="utf-8")
    assert text.startswith("# lapx\n")
    for part in (
        "Network: Hourglass, 2,311,111 parameters, 3.400 GMAC at 256x192; weights 0.0 MB.",
        "Trained on: lspet, 3,420 persons, seed 3; it knows crowd-labelled sports pictures",
        "Score: PCK@0.2 71.25 on 983 held-out persons (protocol paper_no_tta); mean pose 12.50.",
        "Made by: `python src/train.py data=lspet` at commit aaaa",
    ):
        assert part in text


@pytest.mark.parametrize("state", ["failed", "running"])
def test_only_a_finished_run_ships(
    write_run: Callable[..., Path], tmp_path: Path, state: str
) -> None:
    folder = write_run("lapx", state=state)
    for each in (folder, tmp_path / "nothing"):
        with pytest.raises(PoseError, match="is not a finished run with a best checkpoint"):
            ship(each)
