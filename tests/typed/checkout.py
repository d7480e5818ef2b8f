"""A fresh copy of the project with a clean environment, in which lines are typed as people type them."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from ..forks import Forks
from .laid_out import lay_out
from .stand_ins import COCO, NEEDS, SWEEP, Way, way

BIN = Path(sys.executable).parent
# Of the commands that this environment brings: those that import what the forks have
IN_PYTHON = ("featherpose", "jupyter", "pytest")
SECONDS = 900.0  # that a line may take


@dataclass(frozen=True)
class Answer:
    """What came of a line, and how it was run."""

    way: Way
    typed: str
    code: int
    text: str
    seconds: float
    made: list[str]  # runs and sweeps that are there since then

    @property
    def wrong(self) -> str:
        """What is wrong with it; empty if nothing is."""
        refused = self.way.kind == "refused"
        if "Traceback (most recent call last)" in self.text:
            return "a traceback"
        if refused and self.code == 0:
            return "it was to refuse, and did not"
        if not refused and self.code != 0:
            return f"exit code {self.code}"
        if not re.search(self.way.says, self.text):
            return f"nothing about {self.way.says!r}"
        return ""

    def report(self) -> str:
        return f"{self.wrong}: {self.typed}\n{self.text[-3000:]}"


@dataclass
class Checkout:
    """The folder, and every line that was typed in it."""

    folder: Path
    answers: dict[str, Answer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        root = Path(__file__).resolve().parents[2]
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard", "-z"],
            cwd=root, check=True, capture_output=True, text=True,
        ).stdout.split("\0")  # fmt: skip
        for name in listed:
            if (root / name).is_file():
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(root / name, self.folder / name)
        if not (self.folder / ".venv").exists():
            (self.folder / ".venv").symlink_to(sys.prefix)
        self.environment = {
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.folder.parent / "home"),
            "LANG": "C.UTF-8",
            # what an installation of this checkout would do
            "PYTHONPATH": str(self.folder / "src"),
            "TMPDIR": str(self.folder.parent),
            # no network, no GPU; packages are looked at, never installed
            **{f"{kind}_proxy": "http://127.0.0.1:9" for kind in ("http", "https", "all")},
            "CUDA_VISIBLE_DEVICES": "",
            "PIP_NO_INDEX": "1",
            "PIP_DRY_RUN": "1",
        }
        Path(self.environment["HOME"]).mkdir()
        commands = self.folder.parent / "bin"
        commands.mkdir()
        self.forks = Forks(commands, self.environment)  # it lays down a `python`
        for name in IN_PYTHON:
            (commands / name).write_text(f'#!/bin/sh\nexec python {BIN / name} "$@"\n')
            (commands / name).chmod(0o755)
        self.warm = {
            "PATH": f"{commands}{os.pathsep}{self.environment['PATH']}",
            "PYTHON": str(self.forks.python),  # of reproduce_lspet.sh
        }

    def close(self) -> None:
        self.forks.close()

    def lay_out(self) -> None:
        lay_out(self.folder)
        self.forks.wait()

    def follow(self, written: str) -> Answer:
        """Runs a line of the documentation, once."""
        if written not in self.answers:
            how = way(written)
            typed = re.sub(r"\{(\w+)\}", lambda found: self.place(found[1]), how.line)
            for pattern, before in NEEDS.items():
                if re.search(pattern, written) and written != before:
                    self.made_by(before)
            if re.search(r"\b(lapx|mine)\.onnx", typed):
                self.exported()
            start, before = time.monotonic(), self.runs()
            code, text = self.type(typed, how.alone)
            seconds, made = time.monotonic() - start, sorted(self.runs() - before)
            self.answers[written] = Answer(how, typed, code, text, seconds, made)
        return self.answers[written]

    def place(self, name: str) -> str:
        """The folder that a word of the table stands for; lines of the README make it the first time."""
        if name == "stopped":
            return self.stopped()
        if name == "run":
            return self.made_by("python src/train.py")
        if name == "small":
            return self.made_by("python src/train.py model.stages=1 model.channels=32")
        if name == "coco":
            return self.made_by(COCO)
        sweep = self.made_by(SWEEP)
        return sweep if name == "sweep" else f"{sweep}/0_lapx-mpii"

    def made_by(self, written: str) -> str:
        """The run or sweep that a line made, if it made one."""
        answer = self.follow(written)
        assert not answer.wrong, answer.report()
        return "".join(answer.made[:1])

    def runs(self) -> set[str]:
        runs = self.folder / "runs"
        found = [*runs.glob("train/*"), *runs.glob("sweeps/*")]
        return {str(path.relative_to(self.folder)) for path in found}

    def exported(self) -> None:
        """lapx.onnx and mine.onnx: what a line of the README exports."""
        run, line = self.place("run"), "python src/export.py checkpoint=runs/train/RUN"
        answer = self.follow(line)
        assert not answer.wrong, answer.report()
        for name in ("lapx.onnx", "mine.onnx"):
            shutil.copyfile(self.folder / run / "checkpoints" / "best.onnx", self.folder / name)

    def stopped(self) -> str:
        """A run that was killed after its first epoch, before it was scored; each time another one."""
        kept = self.folder / "runs" / "killed"
        if not kept.is_dir():
            before = set((self.folder / "runs" / "train").glob("*"))
            training = subprocess.Popen(
                ["bash", "-c", "exec python src/train.py debug=tiny"],
                cwd=self.folder, env=self.environment | self.warm, stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            while training.poll() is None and not (made := self.saved() - before):
                time.sleep(0.05)
            training.send_signal(signal.SIGKILL)
            training.wait()
            (folder,) = made
            folder.rename(kept)
        number = len(list((self.folder / "runs" / "train").glob("killed_*")))
        again = self.folder / "runs" / "train" / f"killed_{number}"
        shutil.copytree(kept, again)
        return str(again.relative_to(self.folder))

    def saved(self) -> set[Path]:
        """The runs that have a checkpoint to go on from."""
        found = (self.folder / "runs" / "train").glob("*/checkpoints/last.ckpt")
        return {path.parents[1] for path in found}

    def type(self, line: str, alone: bool = False) -> tuple[int, str]:
        """Exit code and output of what somebody types; its Python is a fork unless it is to be alone."""
        output = self.folder.parent / "output.txt"  # a pipe would wait for what goes on behind
        with output.open("wb") as file:
            try:
                code = subprocess.run(
                    ["bash", "-c", line], cwd=self.folder,
                    env=self.environment | ({} if alone else self.warm),
                    stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
                    timeout=SECONDS, check=False,
                ).returncode  # fmt: skip
            except subprocess.TimeoutExpired:
                code = 124
        return code, output.read_text(encoding="utf-8", errors="replace")
