"""One bad folder never ends what is asked about all: it is left out by name, and the others are shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featherpose.cli import app

Damage = Callable[[Path], Any]


def runs_script(*words: str) -> int:
    """`featherpose runs WORDS`: its exit code."""
    with pytest.raises(SystemExit) as ended:
        app.main("runs", *words)
    return int(ended.value.code or 0)


def content(name: str, text: str | bytes) -> Damage:
    def damage(run: Path) -> None:
        path = run / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())

    return damage


def fields(**values: Any) -> Damage:
    def damage(run: Path) -> None:
        path = run / "run.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return damage


def predictions(cut: int | None = None) -> Damage:
    def damage(run: Path) -> None:
        path = run / "predictions" / "val.npz"
        path.parent.mkdir()
        objects = np.empty(1, object)
        np.savez(path, keypoints=objects, index=objects)
        path.write_bytes(path.read_bytes()[:cut])

    return damage


LEFT_OUT = {
    "record: half": content("run.json", '{"name": "a", "sta'),
    "record: a list": content("run.json", "[]"),
    "record: binary": content("run.json", b"\xff\xfe\x00"),
    "record: deep": content("run.json", "[" * 100_000),
    "record: types": fields(scores="abc", best="x", data=3, network=[1], started=5),
    "record: a score of words": fields(best={"score": "abc"}),
    "metrics: binary": content("metrics.csv", bytes(range(256))),
    "metrics: ragged": content("metrics.csv", "epoch,step\n0,1\n1,2,3,4\n"),
    "metrics: no epoch": content("metrics.csv", "a,b\n1,2\n"),
    "config: half": content("config.yaml", "data: {a: [1"),
    "config: a list": content("config.yaml", "- 1"),
    "config: an object": content("config.yaml", "!!python/object/apply:os.system ['true']"),
    "overrides: half": content(".hydra/overrides.yaml", "a: {"),
}
SHOWN = {
    "predictions: half": predictions(100),
    "predictions: pickled": predictions(),
    "picture: cut": content("pictures/predictions.png", b"\x89PNG\r\n\x1a\n"),
    "metrics: none": content("metrics.csv", ""),
    "name: markup": fields(name="a [/b] [red] $x_$ <script>alert(1)</script>"),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_a_folder_that_cannot_be_read_is_left_out_by_name(
    write_run, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    write_run("good", score=87.5)
    bad = write_run("bad")
    LEFT_OUT[name](bad)
    for words in (["list"], ["table"]):
        assert runs_script("--runs", str(tmp_path / "train"), *words) == 0
        told = capsys.readouterr()
        assert told.err.startswith(f"left out: {bad}")
        assert len(told.err.splitlines()) == 1
        assert "87.50" in told.out
    assert runs_script("--runs", str(tmp_path / "train"), "show", "bad") == 1
    assert capsys.readouterr().err.startswith(f"error: {bad}")


@pytest.mark.parametrize("name", SHOWN)
def test_a_part_that_cannot_be_read_costs_that_part(
    write_run, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    SHOWN[name](write_run("other"))
    page = tmp_path / "r.html"
    (tmp_path / "train" / "half").mkdir()
    (tmp_path / "train" / "half" / "run.json").write_text('{"na')
    for words in (["list"], ["show", "last"], ["report", "--out", str(page)]):
        assert runs_script("--runs", str(tmp_path / "train"), *words) == 0
    told = capsys.readouterr().err.splitlines()
    assert [line.partition(" can't")[0] for line in told] == [
        f"left out: {tmp_path / 'train' / 'half' / 'run.json'}"
    ] * 2  # `show` of another run has no need to say so
    text = page.read_text()
    assert "<script>alert" not in text
    if name.startswith(("predictions", "picture")):
        assert "class='warning'>No " in text


def test_a_sweep_with_a_damaged_job_is_told_job_by_job(
    write_run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run("a", "sweeps/s", overrides=("seed=0",))
    bad = write_run("b", "sweeps/s", overrides=("seed=1",))
    (bad / "run.json").write_text("[]")
    assert runs_script("status", str(tmp_path / "sweeps" / "s")) == 1
    out = capsys.readouterr().out
    assert "1 finished, 1 damaged" in out
