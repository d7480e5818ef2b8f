"""What an export writes beside the ONNX file, and what it refuses to."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from featherpose.cli import export
from featherpose.errors import PoseError, UsageError

SETTINGS = SimpleNamespace(calibrate=4, score_on=8, int8_loses=5)


@pytest.fixture
def falls_to(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`falls_to(50)`: a score of 60 in float32 that becomes 50 in int8."""

    def prepare(after: float) -> None:
        def score(file: Path, *_: Any) -> SimpleNamespace:
            value = 60.0 if file.name in ("best.onnx", "best.tflite") else after
            return SimpleNamespace(name="PCKh@0.5", score=value, persons=8)

        def quantise(_: Path, to: Path, crops: Any) -> list[str]:
            to.write_bytes(b"new")
            return ["the_head"]

        monkeypatch.setattr(export, "quantise", quantise)
        monkeypatch.setattr(export, "quantise_litert", quantise)
        monkeypatch.setattr(export, "crops_of", lambda *_: None)
        monkeypatch.setattr(export, "FileBackend", lambda file: file)
        monkeypatch.setattr(export, "Estimator", lambda file: file)
        monkeypatch.setattr(export, "score_sample", score)

    return prepare


def write(folder: Path, ending: str = ".onnx", **settings: Any) -> Path:
    data: Any = SimpleNamespace(train_people=None, name="synthetic")
    crops: Any = None
    cfg: Any = SimpleNamespace(**(vars(SETTINGS) | settings))
    export.write_int8(cfg, folder / f"best{ending}", data, crops)
    return folder / f"best-int8{ending}"


def test_an_int8_file_that_costs_little_is_written(tmp_path: Path, falls_to: Any) -> None:
    falls_to(55.0)
    assert write(tmp_path).read_bytes() == b"new"


def test_a_tflite_file_says_which_layers_stay_as_they_are(
    tmp_path: Path, falls_to: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    falls_to(55.0)
    assert write(tmp_path, ".tflite").name == "best-int8.tflite"
    said = " ".join(capsys.readouterr().out.split())
    assert "in float32 the rest and the_head: PCKh@0.5 60.00 in float32, 55.00 in int8" in said
    falls_to(54.0)
    with pytest.raises(PoseError, match=r"int8_loses=null takes it all the same\.$"):
        write(tmp_path, ".tflite")


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


class Asked(dict):
    __getattr__ = dict.__getitem__


def config(**settings: Any) -> Any:
    plain = {"format": "onnx", "openvino": False, "out": None}
    return Asked(plain | dict.fromkeys((*export.OF_ONNX, *export.SMALLER)) | settings)


def test_which_formats_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export.litert, "check_converter", lambda: None)
    assert export.formats_of(config()) == ["onnx"]
    assert export.formats_of(config(openvino=True)) == ["onnx", "openvino"]
    assert export.formats_of(config(format=["litert", "onnx"])) == ["onnx", "litert"]
    assert export.formats_of(config(format="litert", openvino=True)) == ["openvino", "litert"]
    with pytest.raises(UsageError, match="no format=coreml; known: onnx, openvino, litert, ncnn"):
        export.formats_of(config(format=["onnx", "coreml"]))
    with pytest.raises(UsageError, match="web=page is made of the ONNX file: add onnx to format="):
        export.formats_of(config(format="litert", web="page"))
    with pytest.raises(UsageError, match="int8=true makes a smaller file of onnx or litert"):
        export.formats_of(config(format="openvino", int8=True))
    monkeypatch.setattr(export, "check_quantiser", lambda: None)
    assert export.formats_of(config(format="litert", int8=True, half=True)) == ["litert"]


def test_a_missing_quantiser_ends_it_before_anything_is_exported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(export.litert, "check_converter", lambda: None)
    monkeypatch.setattr("featherpose.export.litert_smaller.find_spec", lambda name: None)
    with pytest.raises(PoseError, match="need ai-edge-quantizer, which comes with litert-torch"):
        export.formats_of(config(format="litert", half=True))


def test_a_missing_converter_ends_it_before_anything_is_exported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("featherpose.export.litert.find_spec", lambda name: None)
    with pytest.raises(
        PoseError, match=r"needs litert-torch: pip install 'featherpose\[formats\]'"
    ):
        export.formats_of(config(format=["onnx", "litert"]))


def test_where_the_files_lie() -> None:
    source = Path("runs/best.ckpt")
    assert export.path_of(config(), source, ["onnx"]) == Path("runs/best.onnx")
    assert export.path_of(config(out="a.tflite"), source, ["litert"]) == Path("a.onnx")
    with pytest.raises(UsageError, match=r"out=a\.onnx must end in \.tflite"):
        export.path_of(config(out="a.onnx"), source, ["litert"])


def test_the_card_of_a_file_that_is_named_from_where_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "checkpoints").mkdir()
    monkeypatch.chdir(tmp_path / "checkpoints")
    assert export.card_of(Path("pose.onnx")) == "This file came without a card."
    Path("../MODEL_CARD.md").write_text("of the run")
    assert export.card_of(Path("pose.onnx")) == "of the run"
    Path("pose.md").write_text("of the file")
    assert export.card_of(Path("pose.onnx")) == "of the file"
