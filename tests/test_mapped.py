"""Mapped arrays are referred to where a process is being started, and copied everywhere else."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from featherpose import mapped
from featherpose.errors import PoseError
from featherpose.person import Persons, Texts

COUNT = 1000


@pytest.fixture
def texts(tmp_path: Path) -> Texts:
    """Their columns lie in a file, after other bytes."""
    path = tmp_path / "columns"
    path.write_bytes(b"x" * 64 + np.arange(COUNT).tobytes() + b"a" * COUNT)
    pages = np.asarray(np.memmap(path, np.uint8, "r", offset=64))
    return Texts(pages[8 * COUNT :], pages[: 8 * COUNT].view(np.int64))


@pytest.fixture
def starting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped, "get_spawning_popen", object)


def test_a_worker_maps_the_file_itself(texts: Texts, starting: None) -> None:
    sent = pickle.dumps(texts)
    assert len(sent) < COUNT
    there = pickle.loads(sent)
    assert np.array_equal(there.ends, texts.ends) and np.array_equal(there.letters, texts.letters)
    assert isinstance(there.letters.base, np.ndarray) and not there.letters.flags.writeable


def test_elsewhere_they_are_copied(texts: Texts, tmp_path: Path) -> None:
    sent = pickle.dumps(texts)
    (tmp_path / "columns").unlink()
    assert pickle.loads(sent)[:] == texts[:]


def test_a_part_that_is_no_view_is_sent(starting: None) -> None:
    persons = Persons.of([])
    assert len(pickle.loads(pickle.dumps(persons))) == 0


def test_a_file_written_anew_meanwhile_is_said(
    texts: Texts, starting: None, tmp_path: Path
) -> None:
    sent = pickle.dumps(texts)
    (tmp_path / "columns").write_bytes(b"other")
    with pytest.raises(PoseError, match=r"written anew.*start the command again"):
        pickle.loads(sent)
