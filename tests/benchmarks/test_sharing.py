"""Workers go over all people; what they have of their own is for people to read."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from featherpose.benchmarks import made, sharing


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured on Linux only")
def test_workers_are_started_and_measured(tmp_path: Path) -> None:
    made.make_coco(tmp_path, 70)
    persons = made.FORMS["coco"].read(tmp_path).persons
    found = sharing.measure(persons, workers=1, method="fork")
    assert found.idle > 0 and found.wait > 0
