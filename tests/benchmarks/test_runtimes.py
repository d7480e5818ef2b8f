"""The table of runtimes: every format of a network and other people's files, measured and compared in one run."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from omegaconf import OmegaConf

from featherpose.benchmarks import runtime_files, runtimes, stopwatch
from featherpose.benchmarks.runtime_files import FORMATS, Network
from featherpose.benchmarks.runtimes import Pass, Row, Sample
from featherpose.benchmarks.stopwatch import Candidate
from featherpose.errors import PoseError
from featherpose.export.onnx import export
from featherpose.inference.checkpoints import Loaded
from featherpose.protocol import Protocol
from featherpose.skeletons import COCO
from featherpose.zoo import shipped

from ..inference.written_by_hand import Averages, tflite
from .test_latency import model

SMALL = {
    "_target_": "featherpose.models.hourglass.Hourglass",
    "joints": 17,
    "stages": 1,
    "channels": 16,
    "depth": 1,
}
SIZE = (64, 48)


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Of a run with one small network."""
    monkeypatch.setattr(runtime_files, "model_config", lambda *_: OmegaConf.create(SMALL))
    found: dict[str, Any] = {"networks": ["lapx"], "formats": ["onnx"], "input_size": SIZE}
    found |= {"threads": [1], "batches": [1, 2], "rounds": 2, "check": 2, "calibrate": 2}
    found |= {"memory": False, "cache": str(tmp_path / "cache"), "out": str(tmp_path / "out")}
    return found


def read(out: str) -> dict[str, dict[str, str]]:
    with (Path(out) / "runtimes.csv").open() as file:
        return {f"{row['network']}, {row['format']}": row for row in csv.DictReader(file)}


@pytest.mark.slow
def test_every_format_and_a_strangers_file_in_one_table(
    keys: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    keys |= {"formats": ["onnx", "half", "int8", "openvino"], "threads": [1, 2]}
    monkeypatch.setenv("COLUMNS", "80")
    runtimes.run(**keys, extra=str(model(tmp_path / "mine.onnx")))
    said = capsys.readouterr().out
    assert said.count("lapx      openvino") == 3  # sizes, one thread, two threads
    assert "…" not in said
    rows = read(keys["out"])
    assert list(rows) == [*(f"lapx, {name}" for name in keys["formats"]), "mine, onnx"]
    assert [row["runtime"] for row in rows.values()] == [*3 * ["ONNX Runtime"], "OpenVINO", "ONNX Runtime"]  # fmt: skip
    off = {name: float(row["from_float64"]) for name, row in rows.items() if name != "mine, onnx"}
    assert max(off["lapx, onnx"], off["lapx, openvino"]) < 1e-4
    assert 1e-4 < off["lapx, half"] < off["lapx, int8"]
    assert rows["mine, onnx"]["from_float64"] == rows["mine, onnx"]["score"] == ""
    size, of_mine = rows["lapx, half"], rows["mine, onnx"]
    assert int(size["parameters"]) > 0 and int(size["macs"]) > 0 and of_mine["parameters"] == ""
    assert not (Path(keys["out"]) / "runtimes.png").exists()
    for row in rows.values():
        assert float(row["ms_threads_1_batch_1"]) > 0 and float(row["ms_threads_1_batch_2"]) > 0
    assert float(rows["lapx, onnx"]["times_first_threads_1_batch_2"]) == 1
    sizes = {name: float(row["megabytes_file"]) for name, row in rows.items()}
    assert sizes["lapx, half"] < sizes["lapx, onnx"]
    pair = Path(keys["cache"]).glob("lapx-openvino-*")
    assert sizes["lapx, openvino"] == sum(each.stat().st_size for each in pair) / 1e6
    table = (Path(keys["out"]) / "runtimes.md").read_text()
    assert table.count("\n| ") == 5 and "rounds in turn" in table
    # what is in the cache is not written again
    for name, each in FORMATS.items():
        again = replace(each, write=lambda *_: pytest.fail("written again"))
        monkeypatch.setitem(FORMATS, name, again)
    runtimes.run(**keys)


@pytest.mark.slow
def test_a_format_that_its_gate_refuses_is_a_line(
    keys: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PoseError("it is off by a mile")

    monkeypatch.setitem(FORMATS, "half", replace(FORMATS["half"], write=refuse))
    runtimes.run(**{**keys, "formats": ["onnx", "half"]})
    assert list(read(keys["out"])) == ["lapx, onnx"]
    assert "lapx, half: it is off by a mile" in (Path(keys["out"]) / "runtimes.md").read_text()
    with pytest.raises(PoseError, match="No file passed its gate"):
        runtimes.run(**{**keys, "formats": ["half"]})


@pytest.mark.slow
def test_the_distance_is_that_of_the_file(tmp_path: Path) -> None:
    """Heatmaps a tenth higher are a tenth of the highest value away, and their joints are where they were."""
    torch.manual_seed(0)
    own, other = Averages(17), Averages(17)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.1)

    def network(of: Averages) -> Network:
        return Network("a", Loaded(of, COCO, 4, Protocol(flip=True), SIZE), random=True)  # ty: ignore[invalid-argument-type]

    crops = torch.randint(0, 256, (3, 3, *SIZE), dtype=torch.uint8)
    path, about = tmp_path / "a.onnx", network(other)
    export(about.deployed, path, crops, about.description)
    found = runtime_files.distance(path, network(own), crops)
    assert found.heatmaps == pytest.approx(0.1, rel=1e-3)
    assert found.keypoints == found.farthest == 0
    with torch.no_grad():
        own.mix.weight.mul_(-1)
    assert runtime_files.distance(path, network(own), crops).farthest >= 4


@pytest.mark.slow
def test_a_score_is_of_files_with_the_datasets_joints(tmp_path: Path) -> None:
    people = ["data=synthetic", "data.skeleton=coco", "data.joints=17"]
    sample = Sample(people, score_on=8)
    found = sample.score(shipped.FOLDER / "light.onnx")
    assert found is not None and found.persons == 8 and 50 < found.score <= 100
    assert sample.score(model(tmp_path / "detector.onnx")) is None
    assert Sample(["data=synthetic"], 8).score(shipped.FOLDER / "light.onnx") is None
    assert Sample([], 8).score(shipped.FOLDER / "light.onnx") is None


@pytest.mark.slow
def test_scores_have_intervals_differences_and_a_picture(tmp_path: Path) -> None:
    light = shipped.FOLDER / "light.onnx"
    same = tmp_path / "same.onnx"
    same.write_bytes(light.read_bytes())
    keys: dict[str, Any] = {"threads": [1], "batches": [1], "rounds": 1, "memory": False}
    keys["dataset"] = ["data=synthetic", "data.skeleton=coco", "data.joints=17"]
    out = str(tmp_path / "out")
    runtimes.run(extra=[str(light), str(same)], score_on=8, out=out, **keys)
    first, second = read(out).values()
    assert float(first["score_low"]) < float(first["score"]) < float(first["score_high"])
    assert first["beside_first"] == ""
    assert float(second["beside_first"]) == float(second["beside_first_low"]) == 0
    table = (Path(out) / "runtimes.md").read_text()
    assert "| PCKh@0.5 | beside first |" in table and "| +0.00 [+0.00, +0.00] noise |" in table
    assert (Path(out) / "runtimes.png").stat().st_size > 10_000


def test_a_file_of_a_fixed_batch_is_run_in_parts(tmp_path: Path) -> None:
    one = model(tmp_path / "one.onnx", batch=1)
    assert [part.shape for part in Pass(one, 1, 3, SIZE).parts] == 3 * [(1, 3, 64, 48)]
    assert len(Pass(model(tmp_path / "any.onnx"), 1, 3, SIZE).parts) == 1
    with pytest.raises(PoseError, match="takes batches of 2, which batches=3 does not hold"):
        Pass(model(tmp_path / "two.onnx", batch=2), 1, 3, SIZE)
    with pytest.raises(PoseError, match="does not take pictures"):
        Pass(model(tmp_path / "grey.onnx", channels=1), 1, 1, SIZE)
    opened = Pass(shipped.FINDER, 1, 1, (64, 96))  # its sides are open
    assert opened.input_size == (64, 96)
    opened()


def test_ratios_are_of_the_same_rounds() -> None:
    cell = (1, 1)
    first = Row("a", "onnx", Path("a"), {cell: [1.0, 10.0, 2.0]})
    other = Row("b", "onnx", Path("b"), {cell: [2.0, 20.0, 4.0]})
    assert other.times(first, cell) == 2 and other.median(cell) == 4


@pytest.mark.slow
def test_memory_of_files_of_other_runtimes(tmp_path: Path) -> None:
    """The weights of a file are in it, the runtime's library is not."""
    pytest.importorskip("ai_edge_litert")
    openvino = pytest.importorskip("openvino")
    large = model(tmp_path / "large.onnx", width=1000, layers=2)
    converted = tmp_path / "large.xml"
    openvino.save_model(openvino.convert_model(str(large)), converted, compress_to_fp16=False)
    found = stopwatch.memory(Candidate("large", converted, 64, 48), tmp_path)
    assert large.stat().st_size <= found < 6 * large.stat().st_size
    small = tmp_path / "small.tflite"
    small.write_bytes(tflite(Averages(17), SIZE))
    assert 0 <= stopwatch.memory(Candidate("small", small, *SIZE), tmp_path) < 20e6


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"formats": ["coreml"]}, "formats"),
        ({"networks": []}, "nothing to measure"),
        ({"batches": [0]}, "batches"),
        ({"rounds": 0}, "rounds"),
        ({"threads": [1000]}, "threads takes"),
        ({"networks": ["lihgt"]}, "networks=lihgt is no name .* Did you mean light"),
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(PoseError, match=says):
        runtimes.run(**{"networks": ["lapx"], "formats": ["onnx"], **wrong})


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    pair = [model(tmp_path / "a.onnx"), model(tmp_path / "b" / "a.onnx")]
    with pytest.raises(PoseError, match="Two rows are called a, onnx"):
        runtimes.run(extra=[str(each) for each in pair], out=str(tmp_path / "out"))


def test_numbers_that_are_none_stop_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network("a", Loaded(Averages(17), COCO, 4, Protocol(), SIZE), random=True)  # ty: ignore[invalid-argument-type]
    about = network.description.to_json()
    path = model(tmp_path / "a.onnx", width=17)
    proto = onnx.load(path)
    proto.graph.initializer[0].CopyFrom(
        onnx.numpy_helper.from_array(np.full((17, 3, 3, 3), np.nan, np.float32), "w0")
    )
    onnx.helper.set_model_props(proto, {"featherpose": about})
    onnx.save(proto, path)
    with pytest.raises(PoseError, match="NaN or infinite"):
        runtime_files.distance(path, network, torch.zeros(1, 3, *SIZE, dtype=torch.uint8))
