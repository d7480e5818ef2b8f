"""Settings that take a run folder take its name, its id and `last` as well."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from featherpose.cli import named_runs
from featherpose.errors import PoseError
from featherpose.zoo.known import known

WriteRun = Callable[..., Path]


@pytest.fixture
def two(write_run: WriteRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    monkeypatch.setenv("FEATHERPOSE_RUNS", str(tmp_path))
    return write_run("lapx-seed0"), write_run("lapx-seed1")


def test_the_folder_stands_in_the_names_place(
    two: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = two
    words = named_runs.expand("evaluate", ["checkpoint=last", "data=mpii", "name=last"])
    assert words == [f"checkpoint='{second}'", "data=mpii", "name=last"]
    assert capsys.readouterr().out == f"checkpoint=last is {second}\n"
    assert named_runs.expand("export", ["checkpoint=last-1"]) == [f"checkpoint='{first}'"]
    assert named_runs.expand("predict", ["checkpoint='seed0'"]) == [f"checkpoint='{first}'"]
    assert named_runs.expand("train", ["init=lapx-seed1"]) == [f"init='{second}'"]
    assert named_runs.expand("train", ["resume=last"]) == [f"resume='{second}'"]


def test_paths_and_known_weights_stay(
    two: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "last").mkdir()
    zoo = next(iter(known()))
    words = ["init=last", f"init={zoo}", "init=null", "init=", "init=nobody.ckpt", f"init={two[0]}"]
    assert named_runs.expand("train", words) == words


def test_where_no_run_or_several_fit(two: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(PoseError, match="fits 2 runs"):
        named_runs.expand("evaluate", ["checkpoint=lapx"])
    with pytest.raises(PoseError, match="holds 2 runs"):
        named_runs.expand("evaluate", ["checkpoint=last-2"])
    empty = f"paths.runs={tmp_path / 'empty'}"
    with pytest.raises(PoseError, match="There is no run 'last'"):
        named_runs.expand("evaluate", ["checkpoint=last", empty])
