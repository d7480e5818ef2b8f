"""A sweep's jobs live and die alone; a small program stands for the training, so that each takes half a second."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

import pytest
from omegaconf import OmegaConf

from featherpose.overrides.quoting import quoted
from featherpose.runs.record import mark
from featherpose.sweeps.command import child_command
from featherpose.sweeps.display import Progress, duration
from featherpose.sweeps.job import Job, Slots, visible_gpus
from featherpose.sweeps.launcher import Processes
from featherpose.sweeps.sweep_file import SweepFile

REAL = {"python": sys.executable, "PYTHON": sys.executable}  # submitit knows its jobs by their pids
SEARCH = ["-m", "hydra/sweeper=search", "x=interval(0,10)"]
ENDS = enumerate(("finished", "failed", "finished"))

PROGRAM = """
import os, resource, signal, sys, time
import hydra
sys.executable = os.environ["PYTHON"]  # of the jobs
from hydra.core.hydra_config import HydraConfig
from pathlib import Path
from featherpose.cli.app import report
from featherpose.runs.record import mark

@hydra.main(version_base="1.3", config_path=".", config_name="config")
def main(cfg):
    folder = Path(HydraConfig.get().runtime.output_dir)
    (folder / "starts").open("a").write("x")
    if cfg.how == "slow":  # also until run.json says that it runs
        time.sleep(2)
        signal.signal(signal.SIGINT, lambda *_: (mark(folder, state="interrupted", exit_code=130), os._exit(130)))
    mark(folder, state="running", pid=os.getpid(), host=os.uname().nodename, started="2020-01-01T00:00:00+00:00")
    print("gpus", os.environ.get("CUDA_VISIBLE_DEVICES"), "threads", os.environ.get("OMP_NUM_THREADS"))
    if cfg.how == "raise":
        raise ValueError("no such luck")
    if cfg.how == "exit":
        sys.exit(3)
    if cfg.how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if cfg.how == "leave":
        os._exit(0)
    if cfg.how == "wait":
        signal.signal(signal.SIGTERM, lambda *_: (mark(folder, state="interrupted", exit_code=143), os._exit(143)))
        time.sleep(60)
    if cfg.how == "slow":
        time.sleep(2)
    if cfg.how == "last" and folder.name == "0":  # until three others are there
        until = time.monotonic() + 60
        while len(list(folder.parent.glob("*/run.json"))) < 4:
            assert time.monotonic() < until, "the next trials wait for this one"
            time.sleep(0.05)
    mark(folder, state="finished", exit_code=0, best={"score": 10 * cfg.x})

if __name__ == "__main__":
    try:
        main()
    except Exception as error:
        code = report(error)
        print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        sys.exit(code)
    print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.fixture
def program(root: Path, python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHON", python)
    conf = tmp_path / "app"
    conf.mkdir()
    (conf / "program.py").write_text(PROGRAM)
    (conf / "config.yaml").write_text(
        "defaults: [_self_, {override hydra/launcher: processes}]\n"
        "how: ok\nx: 1\nsweep: {resume: false, limit: null}\n"
        f"hydra: {{searchpath: ['file://{root}/conf'], sweep: {{dir: {tmp_path}/sweeps/first}}}}\n"
    )
    return conf / "program.py"


def start(
    program: Path, *words: str, python: str | None = None, **environment: str
) -> subprocess.Popen[str]:
    clean = {
        k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
    }
    clean |= {"HYDRA_FULL_ERROR": "1", "COLUMNS": "160", **environment}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [python or os.environ["PYTHON"], str(program), *words],
        stdout=pipe,
        stderr=pipe,
        text=True,
        env=clean,
    )


def run(
    program: Path, *words: str, python: str | None = None, **environment: str
) -> tuple[int, str, str]:
    process = start(program, *words, python=python, **environment)
    out, err = process.communicate(timeout=600)
    return process.returncode, out, err


def jobs(folder: Path) -> dict[str, dict]:
    return {
        path.parent.name: json.loads(path.read_text()) for path in sorted(folder.glob("*/run.json"))
    }


def test_every_way_to_die_is_recorded_and_a_resume_runs_only_those(
    program: Path, tmp_path: Path
) -> None:
    sweep = tmp_path / "sweeps" / "first"
    words = ["-m", "how=ok,raise,exit,kill,leave", "x=2", "hydra.launcher.n_jobs=2"]
    code, out, err = run(program, *words, CUDA_VISIBLE_DEVICES="4,7")
    assert code == 1
    assert "error: 4 of 5 jobs did not finish" in err
    assert "sweep.resume=true" in err

    found = jobs(sweep)
    assert [r["state"] for r in found.values()] == [
        "finished",
        "failed",
        "failed",
        "failed",
        "failed",
    ]
    assert [r["exit_code"] for r in found.values()] == [0, 1, 3, 137, 0]
    assert "no such luck" in found["1"]["error"]
    assert found["3"]["error"] == "killed by SIGKILL: out of memory?"
    for text in (
        "how=ok",
        "how=leave",
        "20.00",
        "no such luck",
        "killed by SIGKILL",
        str(sweep / "1" / "output.log"),
    ):
        assert text in out, text
    slots = {(sweep / name / "output.log").read_text().split("\n")[0] for name in found}
    threads = max(1, len(os.sched_getaffinity(0)) // 2)
    assert slots == {f"gpus 4 threads {threads}", f"gpus 7 threads {threads}"}

    # What failed before runs well now; what finished is left alone; `x=3` is new to the sweep.
    program.write_text(program.read_text().replace("if cfg.how", "if False and cfg.how"))
    again = [
        "-m",
        "how=ok,raise,exit,kill,leave",
        "x=2,3",
        "hydra.launcher.n_jobs=2",
        "sweep.resume=true",
    ]
    code, out, err = run(program, *again)
    assert code == 0, err
    found = jobs(sweep)
    assert len(found) == 10
    assert {r["state"] for r in found.values()} == {"finished"}
    starts = [len((sweep / str(i) / "starts").read_text()) for i in range(10)]
    assert starts == [1, 2, 2, 2, 2, 1, 1, 1, 1, 1]
    assert "10 jobs, 1 of them finished already" in out


def test_a_sweep_is_found_by_its_jobs_and_not_overwritten(program: Path, tmp_path: Path) -> None:
    assert run(program, "-m", "x=1,2")[0] == 0
    code, _, err = run(program, "-m", "x=1,2")
    assert code == 1
    assert "holds a sweep already" in err

    other = f"hydra.sweep.dir={tmp_path}/sweeps/second"
    code, out, _ = run(program, "-m", "x=2,1", "sweep.resume=true", other)
    assert code == 0
    assert "2 jobs, 2 of them finished already" in out
    assert not (tmp_path / "sweeps" / "second").exists()

    code, _, err = run(program, "-m", "x=8,9", "sweep.resume=true", other)
    assert code == 1
    assert "no sweep in" in err


def test_a_sweep_of_nothing_is_a_typing_error(program: Path, tmp_path: Path) -> None:
    code, out, err = run(program, "-m", "x=range(3,3)")
    assert code == 2, out
    assert "no jobs: x=range(3,3) fits nothing" in err
    assert not (tmp_path / "sweeps" / "first" / "sweep.json").exists()


def test_jobs_that_are_the_same_training_run_once(program: Path, tmp_path: Path) -> None:
    code, out, err = run(program, "-m", "how=ok,'ok'", "x=1,2")
    assert code == 0, err
    assert "how='ok' x=2: the same training as how=ok x=2" in out
    assert list(jobs(tmp_path / "sweeps" / "first")) == ["0", "1"]


def test_a_stop_is_handed_on_and_nothing_more_is_started(program: Path, tmp_path: Path) -> None:
    process = start(program, "-m", "how=wait", "x=1,2,3", "hydra.launcher.n_jobs=2")
    folder = tmp_path / "sweeps" / "first"
    until = time.monotonic() + 60
    while [r.get("state") for r in jobs(folder).values()] != [
        "running"
    ] * 2 and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 143
    assert [r["state"] for r in jobs(folder).values()] == ["interrupted", "interrupted"]
    assert "waiting" in out


def test_a_second_signal_kills_what_is_still_saving(program: Path, tmp_path: Path) -> None:
    """And does not call it short of memory."""
    program.write_text(
        program.read_text().replace(
            'mark(folder, state="interrupted", exit_code=143)', "time.sleep(60)"
        )
    )
    process = start(program, "-m", "how=wait", "x=1", "hydra.launcher.n_jobs=2")
    folder = tmp_path / "sweeps" / "first"
    until = time.monotonic() + 60
    while not jobs(folder) and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(0.5)
    for _ in range(2):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
    out, _ = process.communicate(timeout=50)
    (record,) = jobs(folder).values()
    assert (record["state"], record["error"]) == (
        "interrupted",
        "killed by a second signal before it had saved",
    )
    assert "interrupted" in out and "out of memory" not in out


def test_one_job_that_is_killed_leaves_the_others_and_is_run_again(
    program: Path, tmp_path: Path
) -> None:
    """Killed from outside, as by the system where memory runs out, while another job runs beside it."""
    words = ["-m", "how=wait,ok", "x=1,2", "hydra.launcher.n_jobs=2"]
    process = start(program, *words)
    folder = tmp_path / "sweeps" / "first"
    until = time.monotonic() + 60
    while len(jobs(folder)) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    first, second = jobs(folder).values()
    os.kill(first["pid"], signal.SIGKILL)
    until = time.monotonic() + 60
    while len(jobs(folder)) < 4 and time.monotonic() < until:
        time.sleep(0.05)
    os.kill(second["pid"], signal.SIGTERM)
    out, err = process.communicate(timeout=600)
    assert process.returncode == 1, out + err
    found = jobs(folder)
    states = [record["state"] for record in found.values()]
    assert states == ["failed", "interrupted", "finished", "finished"]
    assert found["0"]["error"] == "killed by SIGKILL: out of memory?"

    program.write_text(program.read_text().replace('"wait"', '"never"'))
    code, out, err = run(program, *words, "sweep.resume=true")
    assert code == 0, err
    assert {record["state"] for record in jobs(folder).values()} == {"finished"}
    assert [len((folder / str(n) / "starts").read_text()) for n in range(4)] == [2, 2, 1, 1]


@pytest.mark.slow
def test_a_search_whose_launcher_is_killed_goes_on(program: Path, tmp_path: Path) -> None:
    """SIGKILL while two jobs run, which end by themselves; then a Ctrl-C; then it comes to its end."""
    pytest.importorskip("optuna")
    folder = tmp_path / "sweeps" / "first"
    words = [*SEARCH, "hydra.sweeper.n_trials=6"]
    words += ["hydra.launcher.n_jobs=2", f"sweep.resume={folder}"]
    for number, deadly in ((2, signal.SIGKILL), (4, signal.SIGINT)):
        process = start(program, *words[: -1 if number == 2 else None])
        until = time.monotonic() + 120
        while len(jobs(folder)) < number and time.monotonic() < until:
            time.sleep(0.02)
        process.send_signal(deadly)
        out, _ = process.communicate(timeout=600)
        assert process.returncode == (-9 if number == 2 else 130)
        until = time.monotonic() + 60
        while "running" in {r["state"] for r in jobs(folder).values()} and time.monotonic() < until:
            time.sleep(0.1)
    assert f"sweep.resume={folder}" in out, "how to go on"
    code, out, err = run(program, *words)
    assert code == 0, out + err
    assert sorted(jobs(folder)) == [str(n) for n in range(6)]
    assert {r["state"] for r in jobs(folder).values()} == {"finished"}
    assert "6 finished" in out


@pytest.mark.slow
def test_a_search_leaves_no_slot_idle(program: Path, tmp_path: Path) -> None:
    """A trial takes the first slot that is free, whatever else runs."""
    pytest.importorskip("optuna")
    folder = tmp_path / "sweeps" / "first"
    words = [*SEARCH, "hydra.sweeper.n_trials=5", "how=last"]
    code, out, err = run(program, *words, "hydra.launcher.n_jobs=2")
    assert code == 0, out + err
    assert sorted(jobs(folder)) == [str(n) for n in range(5)]
    assert out.index("#3 starts") < out.index("#0 finished")
    assert len(json.loads((folder / "sweep.json").read_text())["jobs"]) == 5


def test_a_feed_that_fails_leaves_running_jobs_their_end(tmp_path: Path) -> None:
    class Broken:
        trials = 3
        told: ClassVar[list[int]] = []

        def ended(self, number: int, folder: Path) -> None:
            self.told.append(number)

        def next(self) -> None:
            if self.told:
                raise ValueError("no such luck")

        def closed(self) -> int:
            return len(self.told)

    processes = Processes(None, OmegaConf.create({"sweep": {}}))  # ty: ignore
    processes.feed = Broken()
    running = [ended_after(looks, number, tmp_path) for number, looks in enumerate((1, 4))]
    slots, progress = Slots(2, 0, [], None), Progress(tmp_path, 3, 0, 2)
    with pytest.raises(ValueError, match="no such luck"):
        processes._run(list(running), slots, SweepFile(tmp_path), progress)
    assert [job.state for job in running] == ["finished", "finished"]
    assert Broken.told == [0], "the search goes on by what lies in the folders"


def ended_after(looks: int, number: int, folder: Path) -> Job:
    """A job without a process that has ended when it was looked at so often."""
    job = Job(number, [f"x={number}"], folder / str(number), [], OmegaConf.create())
    answers = iter([False] * (looks - 1) + [True])

    def ended() -> bool:
        job.state = "finished" if (found := next(answers)) else job.state
        return found

    job.start, job.ended = lambda slot: None, ended  # ty: ignore
    return job


@pytest.mark.slow
@pytest.mark.parametrize("deadly", [signal.SIGKILL, signal.SIGINT])
def test_a_search_of_two_processes_outlives_one_of_them(
    program: Path, tmp_path: Path, deadly: signal.Signals
) -> None:
    """A job outlives a killed search and is waited for; one that a Ctrl-C has stopped goes on at the other's."""
    pytest.importorskip("optuna")
    folder = tmp_path / "sweeps" / "first"
    words = [*SEARCH, "hydra.sweeper.n_trials=5", "how=slow"]
    first = start(program, *words, "hydra.launcher.n_jobs=2")
    until = time.monotonic() + 120
    while not (folder / "sweep.json").is_file() and time.monotonic() < until:
        time.sleep(0.02)
    second = start(program, *words, f"sweep.resume={folder}")
    moment, count = ("*/starts", 3) if deadly == signal.SIGKILL else ("[01]/run.json", 2)
    while len(list(folder.glob(moment))) < count and time.monotonic() < until:
        time.sleep(0.02)
    first.send_signal(deadly)
    told, _ = first.communicate(timeout=600)
    assert first.returncode == (-9 if deadly == signal.SIGKILL else 130)
    stopped = told.count("interrupted after")
    assert bool(stopped) == (deadly == signal.SIGINT)
    out, err = second.communicate(timeout=600)
    assert second.returncode == 0, out + err
    assert {record["state"] for record in jobs(folder).values()} == {"finished"}
    assert sorted(jobs(folder)) == [str(n) for n in range(5)]
    starts = [len((folder / str(n) / "starts").read_text()) for n in range(5)]
    assert sum(starts) == 5 + stopped, starts
    assert len(json.loads((folder / "sweep.json").read_text())["jobs"]) == 5
    assert "5 finished" in out


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_jobs(program: Path, tmp_path: Path) -> None:
    def peak(count: int) -> int:
        code, out, _ = run(
            program,
            "-m",
            f"x=range({count})",
            "hydra.launcher.n_jobs=2",
            f"hydra.sweep.dir={tmp_path}/{count}",
            python=sys.executable,  # whose memory is its own
        )
        assert code == 0
        assert len(jobs(tmp_path / str(count))) == count
        return int(out.split("peak ")[-1])  # KiB

    few, many = peak(2), peak(16)
    assert many - few < 14 * 200, "less than 200 KiB a job: its config and its line in the table"


def test_the_command_line_of_a_job(tmp_path: Path) -> None:
    sweep = tmp_path / "a b's"
    hydra = [
        "hydra/launcher=processes",
        "hydra.launcher.n_jobs=2",
        "hydra.mode=MULTIRUN",
        "hydra.job.name=night",
    ]
    words = child_command(
        ["src/train.py", "--config-dir", "mine", "-m"], ["x=1"], hydra, sweep, sweep / "3_x", 3
    )
    assert words[words.index("--config-dir") + 1] == "mine"
    assert "-m" not in words[2:]
    assert [w for w in words if w.startswith("hydra.")] == [
        "hydra.job.name=night",
        "hydra.mode=RUN",
        f"hydra.run.dir={quoted(str(sweep / '3_x'))}",
        f"hydra.sweep.dir={quoted(str(sweep))}",
        "hydra.sweep.subdir='3_x'",
        "hydra.job.num=3",
    ]


def test_gpus_are_shared_out_in_whole_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3,4")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert visible_gpus() == ["0", "1", "2", "3", "4"]
    pairs = Slots(None, 2, visible_gpus(), None)
    assert pairs.count == 2
    left, right = pairs.take(), pairs.take()
    assert pairs.take() is None
    assert (left["CUDA_VISIBLE_DEVICES"], right["CUDA_VISIBLE_DEVICES"]) == ("0,1", "2,3")
    ports = {left["MASTER_PORT"], right["MASTER_PORT"]}
    assert len(ports) == 2
    next_to_it = os.getpid() + 1  # a sweep that is started beside it
    monkeypatch.setattr(os, "getpid", lambda: next_to_it)
    beside = Slots(2, 1, ["0", "1"], None)
    assert not ports & {slot["MASTER_PORT"] for slot in (beside.take(), beside.take()) if slot}
    assert "OMP_NUM_THREADS" not in left, "what the user set stays"
    shared = Slots(3, 1, ["5"], 2).take()
    assert (shared["OMP_NUM_THREADS"], shared["CUDA_VISIBLE_DEVICES"]) == ("2", "5")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == []
    assert Slots(None, 1, [], None).count == 1


def test_durations_read_well() -> None:
    assert [duration(s) for s in (4, 75, 7384)] == ["4 s", "1 min 15 s", "2 h 03 min"]


PLUGINS = {
    "slurm": "hydra_plugins.hydra_submitit_launcher",
    "ray_jobs": "hydra_plugins.hydra_ray_launcher",
}


@pytest.mark.parametrize("launcher", ["processes", "slurm", "ray_jobs"])
def test_every_launcher_composes(root: Path, launcher: str) -> None:
    from hydra import compose, initialize_config_dir

    if launcher in PLUGINS:
        pytest.importorskip(PLUGINS[launcher])
    with initialize_config_dir(str(root / "conf"), version_base="1.3"):
        cfg = compose("train", [f"hydra/launcher={launcher}"], return_hydra_config=True)
    assert cfg.hydra.launcher._target_.endswith("Launcher")


def test_submitits_executor_runs_jobs(program: Path, tmp_path: Path) -> None:
    """What `hydra/launcher=slurm` hands to Slurm, run by submitit on this machine."""
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    text = program.with_name("config.yaml").read_text()
    program.with_name("config.yaml").write_text(
        text.replace("launcher: processes", "launcher: submitit_local")
    )
    code, out, err = run(program, "-m", "x=1,2", "hydra.launcher.timeout_min=2", **REAL)
    assert code == 0, out + err
    assert [r["state"] for r in jobs(tmp_path / "sweeps" / "first").values()] == [
        "finished",
        "finished",
    ]


@pytest.mark.slow
def test_a_search_runs_by_submitits_executor(program: Path, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    text = program.with_name("config.yaml").read_text()
    program.with_name("config.yaml").write_text(
        text.replace("launcher: processes", "launcher: submitit_local")
    )
    words = ["hydra/sweeper=search", "x=interval(0,10)", "hydra.sweeper.n_jobs=2"]
    folder = tmp_path / "sweeps" / "named"
    for trials, where in ((3, "hydra.sweep.dir"), (4, "sweep.resume")):
        more = (f"hydra.sweeper.n_trials={trials}", f"{where}={folder}")
        code, out, err = run(program, "-m", *words, *more, **REAL)
        assert code == 0, out + err
        assert [each["state"] for each in jobs(folder).values()] == ["finished"] * trials
        assert "best:" in out
    assert [each.name for each in folder.parent.iterdir()] == ["named"]


@pytest.mark.slow
def test_a_sweep_through_another_launcher_runs_what_is_missing(
    root: Path, python: str, tmp_path: Path
) -> None:
    """And refuses what would train all jobs again, in a new folder."""
    words = ["-m", "hydra/launcher=basic", "model.stages=1,2"]

    def sweep(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [python, root / "src" / "train.py", *words, *more],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )

    for asked in ("sweep.resume=true", "sweep.resume=mine"):
        done = sweep(asked)
        assert done.returncode, done.stdout
        assert "goes on by the same command with hydra.sweep.dir=FOLDER sweep.resume=true" in (
            done.stderr
        )
    assert not list(tmp_path.rglob("run.json"))
    for number in (0, 1):
        folder = tmp_path / "mine" / f"{number}_lapx-synthetic"
        folder.mkdir(parents=True)
        mark(folder, state="finished", exit_code=0, best={"score": 5.0})
    done = sweep("hydra.sweep.dir=mine", "sweep.resume=true")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("finished before: ") == 2
    assert not list(tmp_path.rglob("checkpoints"))


def test_ray_runs_jobs_and_a_failing_one_leaves_the_others(program: Path, tmp_path: Path) -> None:
    """A one-node Ray; it needs an environment of its own (docs/training.md), elsewhere this is skipped."""
    pytest.importorskip(PLUGINS["ray_jobs"])
    text = program.with_name("config.yaml").read_text()
    program.with_name("config.yaml").write_text(
        text.replace("launcher: processes", "launcher: ray_jobs")
    )
    code, out, err = run(
        program, "-m", "x=1,2", "how=ok,raise", "hydra.launcher.ray.remote.num_cpus=1"
    )
    assert code != 0, out + err
    sweep = tmp_path / "sweeps" / "first"
    assert [r["state"] for r in jobs(sweep).values()] == [
        "finished",
        "running",
        "finished",
        "running",
    ]
    assert [(sweep / name / "starts").read_text() for name in jobs(sweep)] == [
        "x"
    ] * 4  # nothing was retried


def test_with_alerts_the_end_of_a_sweep_is_told(tmp_path: Path) -> None:
    ended = [Job(n, [], tmp_path, [], OmegaConf.create(), state=state) for n, state in ENDS]
    asked = {"callbacks": {"alerts": {"command": 'echo "$ALERT" > "$RUN/told"'}}}
    Processes(None, OmegaConf.create(asked))._tell(ended, tmp_path)  # ty: ignore
    sentence = f"{tmp_path.name}: the sweep has ended, 2 of 3 jobs finished"
    assert (tmp_path / "told").read_text() == f"{sentence}\n"
    assert (tmp_path / "alerts.txt").read_text().rstrip().endswith(sentence)
    quiet = tmp_path / "quiet"
    quiet.mkdir()
    Processes(None, OmegaConf.create({"callbacks": {}}))._tell(ended, quiet)  # ty: ignore
    assert not list(quiet.iterdir())
