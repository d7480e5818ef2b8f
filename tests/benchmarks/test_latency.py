"""The latency benchmark measures what it says: in turn, on pinned cores, and puts every file into one table."""

from __future__ import annotations

import csv
import os
import time

import numpy as np
import onnx
import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from featherpose.benchmarks import latency as benchmark
from featherpose.benchmarks import latency_files, stopwatch
from featherpose.benchmarks.stopwatch import Candidate, Measurement, Timing
from featherpose.errors import PoseError
from featherpose.models.hourglass import Hourglass
from featherpose.runs.speed_plot import family_of

pytestmark = pytest.mark.slow


def model(path, batch: int | str = "batch", channels: int = 3, width: int = 4, layers: int = 1):
    """Convolutions 3x3 to `width` channels, written without torch."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, weights, inputs, name = [], [], channels, "images"
    for i in range(layers):
        weights.append(
            numpy_helper.from_array(np.full((width, inputs, 3, 3), 0.01, np.float32), f"w{i}")
        )
        nodes.append(helper.make_node("Conv", [name, f"w{i}"], [f"y{i}"], pads=[1] * 4))
        inputs, name = width, f"y{i}"
    x = helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, channels, 64, 48])
    y = helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, width, 64, 48])
    graph = helper.make_graph(nodes, "test", [x], [y], initializer=weights)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(made, str(path))
    return path


def test_every_round_measures_everyone_in_turn(tmp_path, monkeypatch):
    order: list[str] = []

    class Recorded(stopwatch.Runner):
        def __init__(self, candidate, threads):
            super().__init__(candidate, threads)
            self.name = candidate.name

        def single(self):
            order.append(self.name)
            super().single()

    monkeypatch.setattr(stopwatch, "Runner", Recorded)
    path = model(tmp_path / "a.onnx")
    pair = [Candidate(name, path, 64, 48) for name in "ab"]
    found = stopwatch.measure(pair, 1, rounds=3, repeats=2, warmup=1)
    assert "".join(order) == 3 * ("aaa" + "bbb")
    for timing in found.timings.values():
        assert len(timing.single) == len(timing.flipped) == len(timing.wall) == 6
        assert min(timing.single) > 0 and timing.p95 >= timing.median
    assert found.peak > 1e8


def test_a_fixed_batch_takes_two_passes_for_the_flip_test(tmp_path):
    calls = []
    runner = stopwatch.Runner(
        Candidate("fixed", model(tmp_path / "a.onnx", batch=1), 64, 48, batch=1), 1
    )
    runner.session = type(
        "Session", (), {"run": lambda self, names, feed: calls.append(feed["images"].shape)}
    )()
    runner.flipped()
    assert calls == [(1, 3, 64, 48)] * 2
    runner.fixed = False
    runner.flipped()
    assert calls[-1] == (2, 3, 64, 48)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system pins no cores")
def test_pinning_and_its_end():
    before = os.sched_getaffinity(0)
    with stopwatch.pinned(1) as kept:
        assert kept and len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before


def test_at_one_thread_waiting_is_not_counted():
    clock = stopwatch.clock_of(1)
    if clock is not time.process_time:
        pytest.skip("the system's process clock is too coarse")
    spent, wall = stopwatch.timed(lambda: time.sleep(0.1), clock)
    assert spent < 50 <= wall
    assert stopwatch.clock_of(2) is time.perf_counter


def test_memory_is_of_the_session_alone(tmp_path):
    """70 MB of weights more are about 70 MB more; the interpreter's and the runtime's own 60 MB are not in it."""
    small = Candidate("small", model(tmp_path / "small.onnx"), 64, 48)
    large = Candidate("large", model(tmp_path / "large.onnx", width=1400, layers=2), 64, 48)
    weights = large.path.stat().st_size
    assert weights > 70e6
    assert stopwatch.memory(small, tmp_path) < 20e6
    assert weights <= stopwatch.memory(large, tmp_path) < 4 * weights


@pytest.mark.parametrize(
    ("keys", "says"),
    [({"batch": 4}, "batches of 4 only"), ({"channels": 1}, "1 channels where an image has 3")],
)
def test_a_file_that_does_not_fit_is_told_in_one_sentence(tmp_path, keys, says):
    with pytest.raises(PoseError, match=says):
        stopwatch.size_of(model(tmp_path / "a.onnx", **keys), (256, 192))


def test_ratios_peak_and_the_papers_claims():
    def row(key: str, ms: float, published: dict) -> benchmark.NetworkRow:
        entry = latency_files.Entry(key, Candidate(key, None, 256, 192), 10**6, 10**9)
        return benchmark.NetworkRow(
            entry, {1: Timing([ms] * 3, [2 * ms] * 3, [ms] * 3)}, published=published
        )

    rows = [
        row("lapx", 100.0, {"fps": 15}),
        row("lpn_50", 40.0, {"fps": 35}),
        row("hf_hrnet_18", 20.0, {"fps": 15}),
    ]
    measurement = Measurement(1, {r.name: r.timings[1] for r in rows}, peak=1e11, pinned=True)
    assert benchmark.ratio(rows, rows[1], 1) == pytest.approx(2.5)
    assert benchmark.published_ratio(rows, rows[1]) == pytest.approx(35 / 15)
    assert rows[0].reached(measurement) == pytest.approx(0.2)  # 2 GFLOP in 0.1 s of 100 GFLOP/s
    assert rows[0].timings[1].fps_flipped == pytest.approx(5)
    said = "\n".join(benchmark.notes(rows, [measurement]))
    assert "lpn_50 at 2.33 times LAPX's frames; here 2.50 at 1 thread: holds here." in said
    assert (
        "hf_hrnet_18 at 1.00 times LAPX's frames; here 5.00 at 1 thread: does not hold here."
        in said
    )
    measurement.timings["lapx"].wall[:] = [300.0] * 3
    measurement.timings["lpn_50"].wall[:] = [120.0] * 3
    assert "busy (wall time 3.0 times CPU time)" in "\n".join(benchmark.notes(rows, [measurement]))


@pytest.mark.slow
def test_a_whole_run_with_a_users_file(tmp_path, monkeypatch):
    """One small network and a file of one's own; the second run exports nothing."""
    target = "featherpose.models.hourglass.Hourglass"
    small = {"_target_": target, "joints": 17, "stages": 1, "channels": 16, "depth": 1}
    monkeypatch.setattr(latency_files, "model_config", lambda name, size: OmegaConf.create(small))
    keys = {
        "networks": ["lapx"],
        "rewritten": [],
        "extra": str(model(tmp_path / "mine.onnx")),
        "input_size": [64, 64],
    }
    keys |= {"threads": [1], "rounds": 1, "repeats": 2, "warmup": 1, "memory": False}
    keys |= {"cache": str(tmp_path / "cache"), "out": str(tmp_path / "out")}
    benchmark.run(**keys)
    with (tmp_path / "out" / "latency.csv").open() as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["lapx", "mine"]
    network = Hourglass(17, stages=1, channels=16, depth=1)
    assert int(rows["lapx"]["parameters"]) == sum(p.numel() for p in network.parameters())
    assert (
        int(rows["mine"]["parameters"]) == 4 * 3 * 9
        and rows["mine"]["width"] == "48"
        and not rows["mine"]["macs"]
    )
    assert float(rows["lapx"]["ratio_1"]) == 1 and float(rows["mine"]["fps_1"]) > 0
    table = (tmp_path / "out" / "latency.md").read_text()
    assert table.count("\n| ") == 2 and "| lapx | 64x64 |" in table
    assert (tmp_path / "out" / "latency.png").stat().st_size > 10_000
    monkeypatch.setattr(latency_files, "write", lambda *_: pytest.fail("exported again"))
    benchmark.run(**keys)


def test_the_cache_follows_config_and_code():
    def of(stages: int, size: tuple[int, int] = (64, 64), rewritten: bool = False) -> str:
        with torch.device("meta"):
            network = Hourglass(17, stages, 16, depth=2)
        return latency_files.digest(network, OmegaConf.create({"stages": stages}), size, rewritten)

    assert len({of(1), of(2), of(1, (64, 96)), of(1, rewritten=True)}) == 4
    assert of(1) == of(1)


def test_a_settled_network_hides_nothing():
    network = Hourglass(
        17,
        stages=2,
        channels=16,
        depth=2,
        soft_gate=True,
        neck="eca_nonlocal",
        stage_attention="eca",
    )
    latency_files.settle(network, (64, 64))
    assert all(p.all() for key, p in network.named_parameters() if key.endswith(("alpha", "gamma")))
    scales: list[float] = []
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(lambda m, i, o: scales.append(float(o.detach().std())))
            assert module.momentum == 0.1
    network(torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(3)))
    assert len(scales) > 20 and min(scales) > 0.2 and max(scales) < 5


def test_refusals(tmp_path):
    with pytest.raises(PoseError, match="nothing to measure"):
        stopwatch.measure([], 1)
    with pytest.raises(PoseError, match="threads takes numbers of 1 to"):
        benchmark.run(networks=[], threads=[10_000], out=str(tmp_path))


def test_families():
    assert (
        family_of("lapx, rewritten") == "hourglasses" and family_of("hrnet_w32") == "multi-branch"
    )
    assert family_of("hrformer_t") == "transformers" and family_of("mine") == "others"
