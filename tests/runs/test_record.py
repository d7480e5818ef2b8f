"""run.json as a type: read, written, marked; what is damaged is one sentence that names the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from featherpose.errors import PoseError
from featherpose.runs.record import Best, DataFacts, NetworkFacts, RunRecord, mark


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = RunRecord(
        name="lapx-seed0",
        state="finished",
        started="2026-01-01T00:00:00+00:00",
        network=NetworkFacts("Hourglass", parameters=2_311_111, macs=3.4e9, stages=[1, 2]),
        data=DataFacts("mpii", train=22246, skipped={"train": {"crowd": 3}}, input_size=[256, 256]),
        best=Best("best.ckpt", 3, 87.5),
        scores={"val/score": 87.5},
    )
    record.update(seed=3, wandb={"id": "abcd1234"})
    record.write(tmp_path)
    assert json.loads((tmp_path / "run.json").read_text())["wandb"] == {"id": "abcd1234"}
    again = RunRecord.read(tmp_path)
    assert again == record
    assert again.dashboard("wandb")["id"] == "abcd1234"
    assert again.dashboard("mlflow") == {}


def test_a_record_of_few_words_is_one_and_none_is_none(tmp_path: Path) -> None:
    assert RunRecord.read(tmp_path) is None
    mark(tmp_path, state="failed", error=None, best={"score": 10})
    record = RunRecord.read(tmp_path)
    assert record is not None
    assert (record.state, record.best, record.scores) == ("failed", Best(score=10.0), {})


def test_marks_are_added_to_the_record(tmp_path: Path) -> None:
    mark(tmp_path / "run", state="running", name="x")
    mark(tmp_path / "run", state="interrupted")
    content = json.loads((tmp_path / "run" / "run.json").read_text())
    assert content == {"state": "interrupted", "name": "x"}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "can't be read"),
        ('{"name": "a", "sta', "can't be read"),
        (b"\xff\xfe\x00", "can't be read"),
        ("[" * 100_000, "can't be read"),
        ("null", "not the record of a run"),
        ("[]", "not the record of a run"),
        ({"scores": "abc"}, "scores is 'abc'"),
        ({"scores": {"val/score": "high"}}, r"scores\.val/score is 'high'"),
        ({"best": {"score": "abc"}}, "best: score is 'abc'"),
        ({"best": {"score": 10**400}}, "best: score is 1000"),
        ({"network": [1]}, r"network is \[1\], not an object"),
        ({"data": {"input_size": ["x"]}}, "input_size is 'x'"),
        ({"seed": True}, "seed is True"),
        ({"started": "yesterday"}, "'yesterday' is no date"),
        ({"started": "2026-01-01"}, "no date and time with its zone"),
        ({"name": "\ud800"}, "half a character"),
    ],
)
def test_damage_is_one_sentence(tmp_path: Path, content: Any, sentence: str) -> None:
    path = tmp_path / "run.json"
    text = json.dumps(content) if isinstance(content, dict) else content
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(PoseError, match=sentence) as error:
        RunRecord.read(tmp_path)
    assert str(path) in str(error.value)
    mark(tmp_path, state="failed")  # who has to note an end still can
    assert json.loads(path.read_text())["state"] == "failed"
