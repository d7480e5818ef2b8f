"""Each setting in a process of its own, with its own variables and no others, in turn, alone and beside a busy loop."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from featherpose.benchmarks import threads
from featherpose.errors import PoseError
from featherpose.machine import SPINS, one_process

SETTINGS = {"own": {"GOMP_SPINCOUNT": 300000}, "here": {}, "one": {"OMP_NUM_THREADS": 1}}


def test_a_setting_is_what_its_process_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")  # of this process; no setting asks for it
    found = {}
    for name, variables in SETTINGS.items():
        with one_process() as pool, threads.environment(variables):
            found[name] = pool.submit(threads_and_variables).result()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    assert found["own"][1:] == ("300000", None) and found["here"][1:] == (SPINS, None)
    assert found["one"] == (1, SPINS, None)


def threads_and_variables() -> tuple[int, str | None, str | None]:
    spins, policy = (os.environ.get(name) for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"))
    return torch.get_num_threads(), spins, policy


@pytest.mark.slow
def test_every_setting_is_measured_alone_and_beside_a_busy_loop(
    capsys: pytest.CaptureFixture[str],
) -> None:
    two = {name: SETTINGS[name] for name in ("here", "one")}
    alone, beside = threads.run(
        two, network="lapx_fast", input_size=(64, 64), batch_size=2, rounds=2, steps=1
    )
    assert alone.what == "a picture of lapx_fast, 64x64, batch 2, one, alone"
    assert beside.what.endswith("one, beside 1 busy loop")
    for row in (alone, beside):
        assert row.beside == "here" and len(row.rounds) == len(row.reference) == 2
        assert min(*row.rounds, *row.reference) > 0
    assert "beside 1 busy loop" in capsys.readouterr().out
    assert not [each for each in psutil.Process().children() if "getppid" in str(each.cmdline())]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"rounds": 0}, "rounds is 0"),
        ({"steps": 0}, "steps is 0"),
        ({"input_size": [64]}, "a list of 2 numbers"),
        ({"settings": {"one": {}}}, "nothing to compare"),
        ({"settings": {"one": {}, "mine": 3}}, "settings.mine has to be"),
    ],
)
def test_wrong_options_are_a_sentence(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(PoseError, match=says):
        threads.run(**{"settings": SETTINGS, **wrong})


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_helpers_end_with_a_process_that_is_killed(root: Path) -> None:
    code = (
        "import time\nfrom featherpose.benchmarks.threads import loops\n"
        "from featherpose.machine import one_process\nif __name__ == '__main__':\n"
        "    with one_process() as pool, loops(1):\n"
        "        pool.submit(time.sleep, 60)\n        print('started', flush=True)\n        time.sleep(60)\n"
    )
    script = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONPATH": str(root / "src")}
    with subprocess.Popen(script, env=environment, stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None and killed.stdout.readline() == "started\n"
        helpers = psutil.Process(killed.pid).children(recursive=True)
        assert len(helpers) >= 2
        killed.kill()
    gone, alive = psutil.wait_procs(helpers, timeout=20)
    assert len(gone) == len(helpers) and not alive
