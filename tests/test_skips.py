"""A skip that nobody expects ends the whole run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SKIPPING = """
import pytest

def test_without_data():
    pytest.skip("no data: set X")

def test_without_library():
    pytest.importorskip("no_such_library")
"""


@pytest.mark.parametrize(("expected", "code"), [("no data.*\ncould not import", 0), ("no data", 1)])
def test_a_skip_is_expected_by_its_reason(
    root: Path, tmp_path: Path, expected: str, code: int
) -> None:
    (tmp_path / "test_skipping.py").write_text(SKIPPING)
    (tmp_path / "expected").write_text(f"# reasons\n{expected}\n")
    (tmp_path / "conftest.py").write_text(
        "from skips import watch as pytest_configure\n"
        "def pytest_addoption(parser): parser.addoption('--expected-skips')\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--expected-skips=expected"],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(root / "tests")},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout
    assert "skipped 1: no data: set X\n" in done.stdout
    assert ("no_such_library'" in done.stdout) and ("NOT EXPECTED" in done.stdout) == bool(code)
