"""Threads and cores are settled before torch is loaded, and a user's own settings stay."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from featherpose import machine
from featherpose.errors import PoseError

SETTINGS = ("GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_WAIT_POLICY", "OMP_NUM_THREADS")
ASK = f"""
import featherpose, os, sys
assert "torch" not in sys.modules
print([os.environ.get(name) for name in {SETTINGS}])
"""


def settled(root: Path, **own: str) -> list[str | None]:
    clean = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    environment = {**clean, "PYTHONPATH": str(root / "src"), **own}
    command = [sys.executable, "-c", ASK]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return eval(done.stdout)


def test_threads_spin_briefly_by_default(root: Path) -> None:
    assert settled(root)[:3] == ["3000", "1", None]


def test_what_a_user_set_stays(root: Path) -> None:
    assert settled(root, GOMP_SPINCOUNT="7", KMP_BLOCKTIME="9")[:2] == ["7", "9"]
    assert settled(root, OMP_WAIT_POLICY="ACTIVE")[:3] == [None, None, "ACTIVE"]
    assert settled(root, OMP_NUM_THREADS="3")[3] == "3"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "250000 100000\n"}, 3),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({}, 8),
    ],
)
def test_a_containers_share_counts(
    files: dict[str, str], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    monkeypatch.setattr(machine, "_allowed", lambda: 8)
    assert machine.cores() == expected


def test_no_more_threads_than_the_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(machine, "_allowed", lambda: 16)
    monkeypatch.setattr(machine, "_quota", lambda: 2.0)
    monkeypatch.delenv(machine.SHARE, raising=False)
    machine.calm_threads()
    assert os.environ["OMP_NUM_THREADS"] == "2"
    assert not machine.threads_by_the_user()
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert machine.threads_by_the_user()
    del os.environ[machine.SHARE]


def test_matrix_products_take_one_of_three_precisions() -> None:
    import torch

    before = torch.get_float32_matmul_precision()
    machine.set_matmul("medium")
    assert torch.get_float32_matmul_precision() == "medium"
    with pytest.raises(PoseError, match="There is no matmul=exact; known: highest, high, medium"):
        machine.set_matmul("exact")
    torch.set_float32_matmul_precision(before)
