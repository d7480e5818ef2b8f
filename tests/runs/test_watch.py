"""What `runs watch` sees and says."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from featherpose.runs import watch
from featherpose.runs.folder import Run

WriteRun = Callable[..., Path]
HALF = {"schedule": {"epochs": 6, "batch_size": 10}}


@pytest.fixture
def running(write_run: WriteRun) -> Run:
    """Three epochs of six and a half of the fourth are done; on another machine, with a fresh sign."""
    folder = write_run("lapx-seed0", state="running", config=HALF, data={"train": 40})
    (folder / "steps.csv").write_text("step,train/step/images_per_s\n12,4\n14,5\n")
    return Run(folder)


def test_how_far_a_run_is(running: Run) -> None:
    seen = watch.see(running)
    assert (seen.state, seen.epochs, seen.rate) == ("running", "3.5/6", "5")
    assert (seen.score, seen.best) == ("30.25", "30.25")
    assert "30.25 (best 30.25)" in seen.line()
    assert seen.left == "20 s"  # two and a half epochs of 40 at 5 a second


def test_a_run_without_a_row_yet(write_run: WriteRun) -> None:
    folder = write_run("new", state="running")
    (folder / "metrics.csv").unlink()
    seen = watch.see(Run(folder))
    assert (seen.epochs, seen.score, seen.rate, seen.left) == ("0", "", "", "")


MULTIRUN = """
hydra:
  sweeper: {_target_: hydra._internal.core_plugins.basic_sweeper.BasicSweeper, max_batch_size: null, params: null}
  overrides: {task: ["seed=0,1,2"]}
"""


def test_jobs_that_wait_stand_beside_those_that_run(write_run: WriteRun, tmp_path: Path) -> None:
    for name, state in (("a", "finished"), ("b", "running")):
        write_run(name, place="sweeps/s", state=state)
    (tmp_path / "sweeps" / "s" / "multirun.yaml").write_text(MULTIRUN)
    write_run("old")
    found = watch.sights([], tmp_path)
    states = [(each.name, each.state) for each in found]
    assert states == [("a", "finished"), ("b", "running"), ("job 2: seed=2", "waits")]
    assert [each.name for each in watch.sights([tmp_path / "train"], tmp_path)] == ["old"]
    assert watch.sights([], tmp_path / "nothing") == []


def test_without_a_terminal_it_prints_what_has_changed(capsys: pytest.CaptureFixture[str]) -> None:
    first, more = (watch.Sight("a", "running", epochs=f"{n}/3") for n in (1, 2))
    done, other = watch.Sight("a", "finished", epochs="3/3"), watch.Sight("b", "waits")
    looks = iter([[first, other], [first, other], [more, other], [done, other]])
    assert watch.watch(lambda: next(looks), Console(file=io.StringIO()), every=0.0) == 0
    assert capsys.readouterr().out.splitlines() == [
        "a  running  epoch 1/3",
        "b  waits",
        "a  running  epoch 2/3",
        "a  finished  epoch 3/3",
    ]


def test_80_columns_hold_it_and_ctrl_c_ends_it(running: Run) -> None:
    file = io.StringIO()
    console = Console(file=file, width=80, force_terminal=True, color_system=None)
    seen = [watch.see(running), watch.Sight("job 7: " + "model.stages=3 " * 9, watch.WAITS)]
    numbers = ("running", "5.12/210", "71.52", "72.04", "1234", "41 h", "0.8 GiB")
    seen += [watch.Sight(f"lapx-s3-synthetic-g0.2-rate0.001-seed{n}", *numbers) for n in (0, 1)]
    calls = []

    def look() -> list[watch.Sight]:
        calls.append(1)
        if len(calls) > 2:
            raise KeyboardInterrupt
        return seen

    assert watch.watch(look, console, every=0.0) == 0
    plain = re.sub(r"\x1b\[[^A-Za-z]*[A-Za-z]", "", file.getvalue())
    lines = [line.rstrip() for line in plain.splitlines()]
    assert max(map(len, lines)) <= 80
    assert any("3.5/6" in line and "30.25 30.25" in line for line in lines)
    for seed in (0, 1):  # told apart, and no number is cut
        end = f"seed{seed} running 5.12/210 71.52 72.04  1234 41 h 0.8 GiB"
        assert any(line.startswith("lapx-s3") and line.endswith(end) for line in lines)
