"""Disks that are full: the sentence says so, the run's record too, and nothing half is left in a whole file's place."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from .hostile import encoded
from .trying import SMALL, refused

SIZE = 20 * 2**20
FULL = r"The disk is full: .*Free some space"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """A disk of its own, filled until so many bytes are left."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:  # no such command on other systems
        mounted = False
    if not mounted:
        pytest.skip("a small disk can't be mounted here, which takes root")

    def fill(left: int) -> Path:
        (place / "fill").write_bytes(b"\0" * (shutil.disk_usage(place).free - left))
        return place

    yield fill
    subprocess.run(["umount", str(place)], check=True)


def test_a_training(disk: Callable[[int], Path]) -> None:
    """k_full_ckpt: the checkpoint does not fit."""
    place = disk(300_000)
    words = (f"paths.runs={place}", f"paths.output={place / 'run'}", "model.channels=48")
    refused("train", (*SMALL, *words), FULL, place)
    record = json.loads((place / "run" / "run.json").read_text())
    assert record["state"] == "failed"
    assert "The disk is full" in record["error"]
    assert not list(place.rglob("*.ckpt"))
    assert not list(place.rglob(".*.part*"))


def test_an_export(disk: Callable[[int], Path], checkpoint: Path) -> None:
    """d_full_export"""
    place = disk(20_000)
    refused("export", (f"checkpoint={checkpoint}", f"out={place / 'm.onnx'}"), FULL, place)
    assert [path.name for path in place.iterdir()] == ["fill"]


def test_a_prediction(disk: Callable[[int], Path], exported: Path, tmp_path: Path) -> None:
    """d_full_predict: what was found until then is whole."""
    place, random = disk(2**20), np.random.default_rng(0)
    (tmp_path / "pictures").mkdir()
    for number in range(20):
        noise = random.integers(0, 256, (240, 320, 3), dtype=np.uint8)
        (tmp_path / "pictures" / f"{number:03}.jpg").write_bytes(encoded(".jpg", noise))
    words = (f"onnx={exported}", f"source={tmp_path / 'pictures'}", f"out={place / 'out'}")
    refused("predict", words, FULL, place)
    assert not list(place.rglob(".*.part*"))


def test_an_evaluation(disk: Callable[[int], Path], exported: Path) -> None:
    """d_full_eval"""
    place = disk(12 * 1024)
    words = (f"onnx={exported}", "data=synthetic", "data.people.val=8", "workers=0")
    refused("evaluate", (*words, f"out={place / 'out'}"), FULL, place)
    assert not list(place.rglob(".*.part*"))


def test_a_cache(disk: Callable[[int], Path], tiny_lspet: Path, tmp_path: Path) -> None:
    """d_full_cache"""
    place = disk(8 * 1024)
    data = (f"data.root={tiny_lspet}", "data.read.train=[1,5]", "data.read.val=[6,10]")
    cache = ("data.cache=crops", f"data.cache_folder={place / 'cache'}")
    places = (f"paths.runs={tmp_path}/runs", f"paths.output={tmp_path}/run")
    says = "only 0.0 MB are free"  # counted before anything is written
    refused("train", ("data=lspet", *SMALL[1:], *data, *cache, *places), says, place)
    assert not list(place.rglob(".*.part*"))
