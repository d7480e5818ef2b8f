"""One table of accuracy, size, speed and memory of trained networks."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from featherpose.benchmarks import latency, latency_files
from featherpose.benchmarks.latency_files import Entry
from featherpose.benchmarks.latency_scores import ScoredRun, scored_runs
from featherpose.benchmarks.stopwatch import Candidate
from featherpose.errors import PoseError
from featherpose.runs.folder import Run

QUICK = {"threads": [1], "rounds": 1, "repeats": 1, "warmup": 1, "memory": False}


@pytest.fixture
def convolution(tmp_path: Path) -> Path:
    path = tmp_path / "convolution.onnx"
    weights = numpy_helper.from_array(np.full((4, 3, 3, 3), 0.01, np.float32), "w")
    node = helper.make_node("Conv", ["images", "w"], ["y"], pads=[1] * 4)
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", channels, 64, 48])
        for name, channels in (("images", 3), ("y", 4))
    ]
    graph = helper.make_graph([node], "test", ends[:1], ends[1:], initializer=[weights])
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), str(path))
    return path


def test_scores_stand_beside_size_and_speed_a_column_for_each_way_of_measuring(
    write_run: Callable[..., Path],
    convolution: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def entry(run: ScoredRun, cache: Path) -> Entry:
        return Entry(str(run.run.folder), Candidate(run.name, convolution, 64, 48), 10**6, 10**8)

    monkeypatch.setattr(latency, "entry_of_run", entry)
    of_lapx = {"model": {"stages": 3}, "schedule": {"batch_size": 8}}
    for seed, score in enumerate((80.0, 82.0)):
        lapx = write_run(f"lapx-seed{seed}", seed=seed, score=score, config=of_lapx)
        epochs = "epoch,step,images_per_s\n0,3,1\n1,7,0.8\n"  # 32 people in 32 s, 32 in 40 s
        (lapx / "metrics.csv").write_text(epochs)
    lap = write_run("lap-seed0", score=79.0, config={"model": {"stages": 2}})
    write_run("broken", state="failed")
    own = Run(lap).own_score
    replace(own, values={"score": 79.5}, protocol=own.protocol | {"flip": True}).write(lap)
    latency.run([], [], runs=str(tmp_path / "train"), out=str(tmp_path / "out"), **QUICK)
    head, _, lapx_row, lap_row, *notes = (tmp_path / "out" / "latency.md").read_text().splitlines()
    assert head.startswith(
        "| network | input | PCKh@0.5 [1] | PCKh@0.5 [2] | people seen | hours | params | GMACs |"
    )
    assert lapx_row.startswith("| lapx | 64x48 | 81.00 ± 1.41 |  | 64 | 0.02 | 1.00M | 0.10 |")
    assert lap_row.startswith("| lap | 64x48 | 79.00 | 79.50 |  |  | 1.00M | 0.10 |")
    assert "The paper has" not in "\n".join(notes)  # a run's name is no network of the paper
    assert "[2]: PCKh@0.5 on mpii, 2958 persons, 256x256, flip + shift" in "\n".join(notes)
    with (tmp_path / "out" / "latency.csv").open() as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert float(rows["lapx"]["score_1"]) == 81 and rows["lapx"]["score_2"] == "nan"
    assert float(rows["lap"]["fps_1"]) > 0
    assert rows["lapx"]["people_seen"] == "64" and float(rows["lapx"]["hours"]) == 72 / 3600
    assert rows["lap"]["people_seen"] == ""  # its batch is not known
    assert (tmp_path / "out" / "scores.png").stat().st_size > 10_000
    printed = capsys.readouterr()
    assert "left out, without a final score: broken" in printed.err
    assert "PCKh@0.5 [1]" in printed.out


def test_runs_of_one_name_are_told_apart_and_nothing_to_measure_is_said(
    write_run: Callable[..., Path], tmp_path: Path
) -> None:
    for size in (256, 384):
        write_run("lapx", data={"input_size": [size, size]}, config={"data": {"input_size": size}})
    found, left = scored_runs(str(tmp_path / "train"))
    assert len({network.name for network in found}) == 2
    assert left == []
    write_run("lapx", place="failed", state="failed")
    with pytest.raises(PoseError, match=r"None of the 1 runs of runs=.*failed has a final score"):
        scored_runs(str(tmp_path / "failed"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(PoseError, match=r"There is no run in runs=.*empty\."):
        scored_runs(str(tmp_path / "empty"))
    with pytest.raises(PoseError, match="nothing to measure: name finished runs"):
        latency.run([], [], out=str(tmp_path / "out"), **QUICK)


@pytest.mark.slow
def test_what_is_measured_is_the_run_s_own_network(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency_files, "write", lambda network, path, *_, **__: None)
    run = Run(tiny_run)
    entry = latency_files.entry_of_run(ScoredRun("tiny", run), tmp_path)
    assert entry.parameters == run.record.network.parameters
    assert entry.macs == pytest.approx(run.record.network.macs, rel=1e-5)
    assert [entry.candidate.height, entry.candidate.width] == run.own_score.input_size
