"""Run folders as data frames: what is found, how it ended, what differs, curves."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from featherpose.cli import app
from featherpose.errors import PoseError
from featherpose.runs.commands import network_in_words, show, show_diff
from featherpose.runs.dataframes import config_frame, curves, diff, rounded, runs_frame
from featherpose.runs.folder import Run, find_run, find_runs
from featherpose.runs.record import NetworkFacts
from featherpose.runs.sweep_folder import counts, jobs, to_go_on
from featherpose.runs.wandb_runs import online_frame, read_offline


def test_runs_are_found_oldest_first_and_by_part_of_a_name(write_run, tmp_path: Path) -> None:
    folders = [write_run(name) for name in ("lapx-seed0", "lapx-seed1", "lap-seed0")]
    (tmp_path / "wandb" / "offline-run-1").mkdir(parents=True)
    assert [run.folder for run in find_runs(tmp_path)] == folders
    assert [run.folder for run in find_runs(folders[1], folders[0], folders[1])] == folders[:2]
    assert find_run("last", tmp_path).folder == folders[-1]
    assert find_run("lapx-seed1", tmp_path).folder == folders[1]
    assert find_run(folders[0]).name == "lapx-seed0"
    with pytest.raises(PoseError, match="fits 2 runs"):
        find_run("lapx", tmp_path)
    with pytest.raises(PoseError, match="no run 'other'"):
        find_run("other", tmp_path)
    with pytest.raises(PoseError, match="not a run folder"):
        find_run(tmp_path)


def test_a_run_as_a_row(write_run) -> None:
    run = Run(write_run("lapx", score=87.5, group="sweep"))
    (row,) = runs_frame([run]).to_dict("records")
    assert row["score"] == 87.5
    assert row["metric"] == "PCKh@0.5"
    assert row["epochs"] == 3
    assert row["seconds"] == 599
    assert (
        row["protocol"]
        == "mpii, 2958 persons, 256x256, no flip, quarter, ground truth boxes, weighted mean"
    )
    assert row["group"] == "sweep"


def test_a_killed_run_is_not_running(write_run) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    here = {"state": "running", "host": socket.gethostname(), "score": None, "started": started}
    assert Run(write_run("killed", pid=gone.pid, **here)).state == "died"
    assert Run(write_run("alive", pid=os.getpid(), **here)).state == "running"
    assert (
        Run(write_run("elsewhere", pid=gone.pid, **(here | {"host": "cluster"}))).state == "running"
    )


def test_diff_shows_config_commit_and_scores_only_where_they_differ(write_run) -> None:
    first = Run(
        write_run(
            "a", score=80.0, config={"model": {"stages": 2, "depth": 4}, "paths": {"runs": "x"}}
        )
    )
    git = {"commit": "b" * 40, "dirty": True}
    second = Run(
        write_run(
            "b",
            score=81.0,
            config={
                "model": {"stages": 3, "depth": 4},
                "paths": {"runs": "y"},
                "callbacks": {"ema": {"decay": 0.9}, "resume": {"path": "b/last.ckpt"}},
            },
            git=git,
        )
    )
    table = diff([first, second])
    assert table.loc["model.stages"].tolist() == [2, 3]
    assert table.loc["run.commit"].tolist() == ["a" * 10, "b" * 10 + " (changed)"]
    assert table.loc["score.score"].tolist() == [80.0, 81.0]
    assert table.loc["callbacks.ema.decay"].tolist()[1] == 0.9
    same = {"model.depth", "paths.runs", "callbacks.resume.path", "run.versions.torch"}
    assert not same & set(table.index)
    assert "paths.runs" in diff([first, second], incidental=True).index
    assert config_frame([first, first]).shape[1] == 2  # runs of one name keep their columns apart


def test_runs_of_one_name_in_folders_of_one_name_keep_apart(write_run, tmp_path) -> None:
    """As jobs of two sweeps: each folder is `0_lapx-mpii`."""
    first = write_run("a", score=80.0)
    others = [
        Run(shutil.copytree(first, tmp_path / sweep / first.name)) for sweep in ("one", "two")
    ]
    table = diff([Run(first), *others], incidental=True)
    assert list(table.columns) == ["a (0_a)", "a (one/0_a)", "a (two/0_a)"]
    # what a table shows can be pasted, a row's name without the seed too
    found = [find_run(name, tmp_path) for name in table.columns[1:]]
    assert found == others
    assert find_run("a (one/0_a)", tmp_path) == others[0]
    with pytest.raises(
        PoseError, match=r"fits 3 runs: .*one/0_a, .*train/0_a, .*two/0_a.* by its folder"
    ):
        find_run("a (0_a)", tmp_path)


def test_settings_and_results_stand_apart_and_are_rounded(write_run, capsys) -> None:
    first = Run(write_run("a", score=80.0, config={"schedule": {"rate": 5e-4}}))
    second = Run(write_run("b", score=81.123456789, config={"schedule": {"rate": 1e-3, "end": 3}}))
    table = rounded(diff([first, second]))
    assert table.loc["score.score"].tolist() == ["80.00", "81.12"]
    assert table.loc["schedule.rate"].tolist() == ["0.0005", "0.001"]
    assert table.loc["schedule.end"].tolist() == ["", "3"]
    show_diff([first, second], Console(width=100))
    settings, results = capsys.readouterr().out.split("results and how they came about")
    assert "schedule.rate" in settings and "score" not in settings
    assert "81.12" in results and "schedule" not in results


def test_curves_side_by_side(write_run) -> None:
    runs = [Run(write_run(name)) for name in ("a", "b")]
    table = curves(runs, "val/score")
    assert list(table.columns) == ["a", "b"]
    np.testing.assert_array_equal(table["a"], [10.5, np.nan, 30.25])
    assert curves(runs, "val/nothing").isna().all().all()


def test_damaged_folders_are_told(write_run, tmp_path: Path) -> None:
    folder = write_run("torn")
    (folder / "run.json").write_text('{"name": ')
    with pytest.raises(PoseError, match=r"run\.json can't be read"):
        _ = Run(folder).state
    with pytest.raises(PoseError, match=r"no run\.json"):
        _ = Run(tmp_path).record
    (folder / "metrics.csv").write_text("")
    assert len(Run(folder).metrics) == 0
    with pytest.raises(PoseError, match="did not get as far"):
        _ = Run(write_run("no-predictions")).predictions


MULTIRUN = """
hydra:
  sweeper: {_target_: hydra._internal.core_plugins.basic_sweeper.BasicSweeper, max_batch_size: null, params: null}
  overrides: {task: ["seed=0,1", "model.stages=range(2,4)", "trainer=cpu"]}
"""


def test_status_of_a_sweep_with_a_failed_and_a_missing_job(write_run, tmp_path: Path) -> None:
    place = "sweeps/s"
    for number, state in enumerate(["finished", "failed", "finished"]):
        write_run(
            f"job{number}",
            place=place,
            state=state,
            error="ValueError: no" if state == "failed" else None,
        )
    (tmp_path / place / "multirun.yaml").write_text(MULTIRUN)
    found = jobs(tmp_path / place)
    assert [job.state for job in found] == ["finished", "failed", "finished", "missing"]
    assert found[3].overrides == ("seed=1", "model.stages=3", "trainer=cpu")
    assert counts(found) == {"finished": 2, "failed": 1, "missing": 1}
    assert to_go_on(tmp_path / place) == [
        "python src/train.py seed=0 model.stages=3 trainer=cpu",
        "python src/train.py seed=1 model.stages=3 trainer=cpu",
    ]
    planned = [
        {"number": i, "overrides": [f"seed={i}"]} for i in range(5)
    ]  # as hydra/launcher=processes keeps it
    (tmp_path / place / "sweep.json").write_text(json.dumps({"jobs": planned}))
    assert [job.state for job in jobs(tmp_path / place)] == [
        "finished",
        "failed",
        "finished",
        "missing",
        "missing",
    ]
    (command,) = to_go_on(tmp_path / place)
    assert command.startswith(
        "python src/train.py -m seed=0,1 'model.stages=range(2,4)' trainer=cpu sweep.resume="
    )
    with pytest.raises(PoseError, match="not a sweep folder"):
        jobs(tmp_path)


def test_a_real_sweep(sweep: Path) -> None:
    found = jobs(sweep)
    assert [job.state for job in found] == ["finished"] * 4
    for job in found:
        assert job.run is not None
        assert list(job.overrides) == job.run.overrides
        stages = int(job.overrides[1].partition("=")[2])
        assert job.run.record.network.stages == stages
        assert len(job.run.metrics) == 3
        assert job.run.score == job.run.metrics["val/score"].max()
        assert job.run.predictions["keypoints"].shape == (stages, 6, 16, 2)
        assert job.run.record.group == sweep.name


def test_online_runs_as_a_frame() -> None:
    class Online:
        def __init__(self, name: str, summary: dict) -> None:
            self.name, self.summary, self.state, self.group, self.url = (
                name,
                summary,
                "finished",
                None,
                f"https://w/{name}",
            )
            self.config = {"protocol": {"name": "raw"}}

    class Api:
        def runs(self, path: str) -> list[Online]:
            assert path == "team/featherpose"
            return [
                Online("a", {"best.score": 80.0, "val/score": 79.0, "_step": 3}),
                Online("b", {"val/score": 70.0}),
            ]

    table = online_frame(entity="team", api=Api())
    assert table["score"].tolist() == [80.0, 70.0]
    assert table["protocol"].tolist() == ["raw", "raw"]
    assert "_step" not in table


def test_a_folder_that_is_not_wandbs(tmp_path: Path) -> None:
    with pytest.raises(PoseError, match="not a W&B run directory"):
        read_offline(tmp_path)


def shell(root: Path, *arguments: str, code: int = 0) -> str:
    command = [sys.executable, str(root / "scripts" / "runs.py"), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"COLUMNS": "200"}
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What the shell is told, within this process."""
    monkeypatch.setenv("FEATHERPOSE_ROOT", "/")  # set for good otherwise
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: str, code: int = 0) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            app.main("runs", *words)
        told = "".join(capsys.readouterr())
        assert int(end.value.code or 0) == code, told
        return told

    return run


def test_the_shell_on_a_real_sweep(
    root: Path, sweep: Path, tmp_path: Path, said: Callable[..., str]
) -> None:
    runs = ["--runs", str(sweep.parents[1])]
    listed = shell(root, *runs, "list")
    assert listed.count("finished") == 4
    assert "lapx-s2-synthetic-g0.2-seed1" in listed
    assert "4 finished" in said(*runs, "status")
    shown = said(*runs, "show", "lapx-s2-synthetic-g0.2-seed1")
    assert "mean pose" in shown
    assert (
        json.loads((sweep / "2_lapx-synthetic" / "run.json").read_text())["git"]["commit"] in shown
    )
    names = [f"lapx-s{stages}-synthetic-g0.2-seed1" for stages in (2, 3)]
    copy = shutil.copytree(sweep / "2_lapx-synthetic", tmp_path / "copy" / "2_lapx-synthetic")
    told = " ".join(said(*runs, "diff", *names, str(copy)).split())
    assert "model.stages" in told
    first = f"{names[0]} ({Run(sweep / '2_lapx-synthetic').id})"
    assert f"PCKh@0.5: {names[1]} minus {first}: " in told
    assert f"{names[0]} (2_lapx-synthetic) minus {first}: +0.00 [+0.00, +0.00], noise" in told
    out = tmp_path / "table.csv"
    said(*runs, "table", "--format", "csv", "--out", str(out))
    table = pd.read_csv(out)
    assert table["runs"].tolist() == [2, 2]
    said(*runs, "curves", "--out", str(tmp_path / "new" / "curves.png"))
    said(
        *runs,
        "curves",
        str(sweep),
        "--column",
        "gamma/stage1",
        "--out",
        str(tmp_path / "gamma.png"),
    )
    assert cv2.imread(str(tmp_path / "new" / "curves.png")).std() > 5
    assert "no column" not in said(
        *runs, "samples", "last", "--each", "2", "--out", str(tmp_path / "s.png")
    )
    said(*runs, "samples", "last", "--each", "2", "--bare", "--out", str(tmp_path / "bare.png"))
    drawn, bare = (cv2.imread(str(tmp_path / name)) for name in ("s.png", "bare.png"))
    assert drawn.shape == bare.shape
    assert (bare == 255).mean() > 0.5 > (drawn == 255).mean()
    assert "has a column nothing" in said(*runs, "curves", "--column", "nothing", code=1)
    # six people are two of each kind
    few = tmp_path / "few.png"
    said(*runs, "samples", "last", "--each", "4", "--bare", "--out", str(few))
    assert (cv2.imread(str(few)) == bare).all()
    assert "too few" in said(*runs, "samples", "last", "--each", "0", code=1)
    assert "error: There is no run" in said(*runs, "show", "nothing", code=1)


def test_a_shown_run_has_its_whole_folder_in_a_narrow_window(write_run) -> None:
    run = Run(write_run("lapx"))
    shown = io.StringIO()
    show(run, Console(width=60, file=shown))
    assert str(run.folder) in re.sub(r"\s", "", shown.getvalue())


def test_a_network_in_words() -> None:
    facts = NetworkFacts("Hourglass", 2311111, 3.4e9, 3.445e9, 2298000, 3, 208, 4)
    assert network_in_words(facts) == (
        "Hourglass, 2.31 M parameters, 3.40 G MACs (thop: 2.30 M, 3.44 G), 3 stages, 208 channels, stride 4"
    )
    assert network_in_words(NetworkFacts()) == "?"
