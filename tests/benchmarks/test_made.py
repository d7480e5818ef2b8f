"""Made files hold so many people, written in pieces, and the readers take them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from featherpose.benchmarks import made


@pytest.mark.parametrize("form", made.FORMS)
def test_the_file_holds_so_many_people(form: str, tmp_path: Path) -> None:
    made.FORMS[form].make(tmp_path, 30)
    people = made.FORMS[form].read(tmp_path)
    assert len(people.persons) == 30 and not people.skipped


def test_pieces_make_one_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(made, "AT_ONCE", 8)
    made.FORMS["coco"].make(tmp_path, 30)
    persons = made.FORMS["coco"].read(tmp_path).persons
    assert persons.person_id.tolist() == list(range(1, 31))
    assert np.bincount(persons.image_id).tolist() == [0, *[4] * 7, 2]
    assert len(np.unique(persons.joints, axis=0)) == 30  # each piece is drawn anew
