"""Workers go over all people; what they have of their own is for people to read."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from featherpose.benchmarks import made, sharing


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured on Linux only")
@pytest.mark.parametrize("form", ["coco", "mpii"])
def test_workers_are_started_and_measured(tmp_path: Path, form: str) -> None:
    made.FORMS[form].make(tmp_path, 70)
    persons = made.FORMS[form].read(tmp_path).persons
    found = sharing.measure(persons, made.FORMS[form].skeleton, workers=1, method="fork")
    assert found.idle > 0 and found.wait > 0
