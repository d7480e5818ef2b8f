"""Whoever starts a fork sees a process as any other; a wrong answer here would make other tests pass for nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="forks are made on Linux alone"),
]

ABOUT = """
import json, os, sys
from pathlib import Path
print(json.dumps([sys.argv, os.getcwd(), os.environ["GIVEN"], sys.stdin.read(), "torch" in sys.modules,
                  "featherpose" in sys.modules, __name__]))
"""
WAITS = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"


def run(python: str, *words: str, **keys: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, *words], text=True, capture_output=True, timeout=100, check=False, **keys
    )


@pytest.mark.parametrize("how", ["code", "file", "module"])
def test_arguments_folder_environment_and_input(python: str, tmp_path: Path, how: str) -> None:
    (tmp_path / "about.py").write_text(ABOUT)
    words = {"code": ["-c", ABOUT], "file": ["about.py"], "module": ["-m", "about"]}[how]
    given = {"cwd": tmp_path, "env": os.environ | {"GIVEN": "ß 1"}, "input": "said"}
    found = run(python, *words, "a b", **given)
    assert found.stderr == ""
    argv, *others = json.loads(found.stdout)
    assert argv[1:] == ["a b"]
    assert others == [str(tmp_path), "ß 1", "said", True, False, "__main__"]
    cold = run(sys.executable, *words, "a b", **given)
    assert cold.stdout == found.stdout.replace("true, false", "false, false")


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("pass", 0),
        ("raise SystemExit(3)", 3),
        ("raise SystemExit('why')", 1),
        ("raise ValueError('why')", 1),
        ("import os; os._exit(7)", 7),
        ("import os; os.kill(os.getpid(), 9)", -signal.SIGKILL),
        ("raise KeyboardInterrupt", -signal.SIGINT),
    ],
)
def test_it_ends_as_a_cold_one_does(python: str, program: str, code: int) -> None:
    found, cold = run(python, "-c", program), run(sys.executable, "-c", program)
    assert (found.returncode, found.stdout) == (cold.returncode, cold.stdout) == (code, "")
    assert found.stderr.splitlines()[-1:] == cold.stderr.splitlines()[-1:]


def test_a_signal_reaches_the_program(python: str) -> None:
    program = "import signal, sys; signal.signal(15, lambda *_: sys.exit(143)); " + WAITS
    process = subprocess.Popen([python, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline().strip().isdigit()
    process.terminate()
    assert process.wait(timeout=50) == 143


def test_the_program_dies_with_its_stand_in(python: str) -> None:
    process = subprocess.Popen([python, "-c", WAITS], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    process.kill()
    assert process.wait(timeout=50) == -signal.SIGKILL
    until = time.monotonic() + 50
    while Path(f"/proc/{pid}").exists() and time.monotonic() < until:
        time.sleep(0.01)
    assert not Path(f"/proc/{pid}").exists()


def test_what_it_starts_is_a_fork_too(python: str) -> None:
    inner = "import sys; print('torch' in sys.modules)"
    program = f"import subprocess, sys; subprocess.run([sys.executable, '-u', '-c', {inner!r}], check=True)"
    assert run(python, "-c", program).stdout == "True\n"


def test_it_knows_its_rank_as_a_cold_one_does(python: str) -> None:
    """Else two nodes of a test would both take themselves for the first, and write over each other's run.json."""
    program = "from lightning.pytorch.utilities.rank_zero import rank_zero_only as r; print(r.rank)"
    for rank in ("0", "1"):
        found = run(python, "-c", program, env=os.environ | {"RANK": rank})
        assert found.stdout == f"{rank}\n", found.stderr


def test_what_inherits_descriptors_is_a_cold_one_with_its_own_parent(python: str) -> None:
    """As torch's compile workers are started, which end at once under another parent."""
    program = "import os, sys; os.write(int(sys.argv[1]), b'%d %d' % (os.getppid(), 'torch' in sys.modules))"
    read, write = os.pipe()
    subprocess.run([python, "-c", program, str(write)], pass_fds=[write], check=True, timeout=100)
    assert os.read(read, 100) == b"%d 0" % os.getpid()
    os.close(read)
    os.close(write)


def test_other_options_are_the_real_ones(python: str) -> None:
    found = run(
        python, "-S", "-c", "import sys; print('site' in sys.modules, 'torch' in sys.modules)"
    )
    assert found.stdout == "False False\n"
