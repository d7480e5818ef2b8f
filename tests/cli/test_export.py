"""What an export writes beside the ONNX file, and what it refuses to."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from featherpose.cli import export
from featherpose.errors import PoseError

SETTINGS = SimpleNamespace(calibrate=4, score_on=8, int8_loses=5)


@pytest.fixture
def falls_to(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`falls_to(50)`: a score of 60 in float32 that becomes 50 in int8."""

    def prepare(after: float) -> None:
        def score(file: Path, *_: Any) -> SimpleNamespace:
            value = 60.0 if file.name == "best.onnx" else after
            return SimpleNamespace(name="PCKh@0.5", score=value, persons=8)

        monkeypatch.setattr(export, "quantise", lambda _, to, crops: Path(to).write_bytes(b"new"))
        monkeypatch.setattr(export, "crops_of", lambda *_: None)
        monkeypatch.setattr(export, "FileBackend", lambda file: file)
        monkeypatch.setattr(export, "Estimator", lambda file: file)
        monkeypatch.setattr(export, "score_sample", score)

    return prepare


def write(folder: Path, **settings: Any) -> Path:
    data: Any = SimpleNamespace(train_people=None, name="synthetic")
    trained: Any = None
    cfg: Any = SimpleNamespace(**(vars(SETTINGS) | settings))
    export.write_int8(cfg, folder / "best.onnx", trained, data)
    return folder / "best-int8.onnx"


def test_an_int8_file_that_costs_little_is_written(tmp_path: Path, falls_to: Any) -> None:
    falls_to(55.0)
    assert write(tmp_path).read_bytes() == b"new"


def test_one_that_costs_more_leaves_the_old_file(tmp_path: Path, falls_to: Any) -> None:
    falls_to(54.9)
    (tmp_path / "best-int8.onnx").write_bytes(b"old")
    with pytest.raises(PoseError, match=r"falls from 60\.00 to 54\.90 on 8 people, by more than"):
        write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["best-int8.onnx"]
    assert (tmp_path / "best-int8.onnx").read_bytes() == b"old"
    assert write(tmp_path, int8_loses=None).read_bytes() == b"new"
    with pytest.raises(PoseError, match="int8_loses is -1"):
        write(tmp_path, int8_loses=-1)
