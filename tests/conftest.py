"""What every test may ask for."""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from featherpose.cli import app

from .forks import Forks
from .made_once import made_once
from .skips import watch
from .small_runs import *  # noqa: F403  (their fixtures)
from .small_sets import *  # noqa: F403

ROOT = Path(__file__).resolve().parents[1]
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("WANDB_MODE", "offline")
# Before torch is loaded: there is a test process for each core, and threads of networks as small as
# the tests' wait for each other more than they work
os.environ.setdefault("OMP_NUM_THREADS", "1")
with contextlib.suppress(ImportError):  # openvino and tensorboard bring it along
    import absl.logging

    # When Hydra sets up logging, absl closes the stream it started with: that must not be pytest's
    absl.logging.get_absl_handler().python_handler.stream = sys.__stderr__


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--expected-skips", help="a file of the reasons for which a test may be skipped"
    )


def pytest_configure(config: pytest.Config) -> None:
    watch(config)


# Who asks for one of these trains, exports or starts programs: `make test-fast` does without
SLOW = {"typed", "fit", "sweep", "tiny_run", "whole", "taught", "program"}
SLOW |= {"wheel", "command", "checkout", "checkpoints", "onnx_file"}


# Files of minutes come first: one that began last would be waited for by every other process
FIRST = ("test_resume_points", "test_command_line", "test_launcher", "test_lspet_script")
FIRST += ("test_two_nodes", "test_notebooks", "test_train", "test_wheel", "test_onnx", "test_sizes")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if SLOW & set(getattr(item, "fixturenames", ())):
            item.add_marker("slow")
    items.sort(
        key=lambda item: FIRST.index(name) if (name := item.path.stem) in FIRST else len(FIRST)
    )


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's folder."""
    return ROOT


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Real pictures and annotations; see docs/data.md for what is expected there."""
    folder = Path(os.environ.get("FEATHERPOSE_REAL_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(
            "no real data: set FEATHERPOSE_REAL_DATA to a folder with coco/, mpii/, lsp/, lspet/"
        )
    return folder


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Takes what `sys.executable` takes, and starts in a moment: forks.py says how, and what it is not for."""
    forks = Forks(tmp_path_factory.mktemp("python"))
    forks.wait()
    yield str(forks.python)
    forks.close()


@dataclass
class Answer:
    """What a command line came to."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err


@pytest.fixture
def typed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> Callable[[str], Answer]:
    """`typed("train debug=tiny")`: what somebody types in a folder of his own, run within this process."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("FEATHERPOSE_")]:
        monkeypatch.delenv(name)

    def run(line: str) -> Answer:
        verb, *words = shlex.split(line)
        monkeypatch.setattr(sys, "argv", [f"src/{verb}.py", *words])
        # what the command line would set for good, and this process has to forget
        monkeypatch.setenv("FEATHERPOSE_ROOT", str(tmp_path))
        monkeypatch.setenv("FEATHERPOSE_RUN_ID", secrets.token_hex(2))
        capfd.readouterr()
        code = 0
        try:
            app.launch(verb)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        return Answer(code, *capfd.readouterr())

    return run


TINY = (
    "data.people={train: 24, val: 12, test: 8}",
    "data.workers=0",
    "data.input_size=[64,64]",
    "schedule.epochs=2",
    "schedule.batch_size=8",
    "trainer=cpu",
)


@pytest.fixture(scope="session")
def tiny() -> tuple[str, ...]:
    """Overrides that make any training run take seconds."""
    return TINY


@pytest.fixture(scope="session")
def tiny_run(root: Path, python: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one finished training run: LAPX, two epochs, 24 synthetic people."""

    def train(runs: Path) -> None:
        command = [python, str(root / "src" / "train.py"), *TINY, f"paths.runs={runs}"]
        done = subprocess.run(
            command, cwd=runs, capture_output=True, text=True, timeout=800, check=False
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        (folder,) = (runs / "train").iterdir()
        (folder / "terminal.txt").write_text(done.stdout, encoding="utf-8")

    (folder,) = (made_once(tmp_path_factory, "runs", train) / "train").iterdir()
    return folder
