"""What the rows need: one small network as a checkpoint and as an exported file, and a marker that no row may leave."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from omegaconf import OmegaConf
from onnx import TensorProto, helper, numpy_helper

from featherpose.cli import app
from featherpose.inference.description import KEY, Description
from featherpose.protocol import Protocol
from featherpose.skeletons import MPII
from featherpose.targets import build
from featherpose.zoo import checkpoint as saved

from .hostile import MARKER
from .trying import SMALL, composed


@pytest.fixture(autouse=True)
def nothing_ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A hostile file's command makes a file; after every row it must not be there."""
    place = tmp_path / "a command of the file ran"
    monkeypatch.setenv(MARKER, str(place))
    yield
    assert not place.exists()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained LAPX of one narrow stage, of painted people."""
    cfg = composed(
        "train",
        "model.stages=1",
        "model.channels=16",
        "data.input_size=[64,64]",
        "data.people={train: 4, val: 2, test: 2}",
        "paths.root=/nowhere",
    )
    groups = ("data", "model", "protocol", "loss", "schedule")
    wanted = {name: OmegaConf.to_container(cfg[name], resolve=True) for name in groups}
    torch.manual_seed(0)
    weights = build(wanted["model"]).state_dict()
    state = {saved.PREFIX + name: value for name, value in weights.items()}
    path = tmp_path_factory.mktemp("checkpoint") / "good.ckpt"
    torch.save({"state_dict": state, saved.KEY: saved.describe(wanted)}, path)
    return path


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as `export` writes them, around one convolution of stride 4."""
    kernel = np.random.default_rng(0).normal(size=(16, 3, 4, 4)).astype(np.float32)
    node = helper.make_node("Conv", ["images", "kernel"], ["heatmaps"], strides=[4, 4])
    shapes = {"images": ["batch", 3, 64, 64], "heatmaps": ["batch", 16, 16, 16]}
    images, heatmaps = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
    )
    weights = [numpy_helper.from_array(kernel, "kernel")]
    graph = helper.make_graph([node], "network", [images], [heatmaps], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    told = Description(MPII, (64, 64), 4, Protocol())
    helper.set_model_props(model, {KEY: told.to_json()})
    path = tmp_path_factory.mktemp("exported") / "good.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished training's folder, as Hydra and the program leave it."""
    root = tmp_path_factory.mktemp("finished")
    words = [*SMALL, "schedule.epochs=2", f"hydra.run.dir={root}/run"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["src/train.py", *words])
        patch.setenv("FEATHERPOSE_ROOT", str(root))
        app.launch("train")
    return root / "run"


@pytest.fixture
def a_run(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged or to go on with."""
    return shutil.copytree(finished_run, tmp_path / "a run")


@pytest.fixture
def described(exported: Path, tmp_path: Path) -> Callable[[Callable[[str], str]], Path]:
    """The exported file with other metadata."""

    def write(change: Callable[[str], str]) -> Path:
        model = onnx.load(exported)
        (entry,) = model.metadata_props
        entry.value = change(entry.value)
        onnx.save(model, tmp_path / "other.onnx")
        return tmp_path / "other.onnx"

    return write


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """`featherpose WORDS` of a verb without Hydra: exit code, what is printed, what is complained of."""

    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            app.main(*words)
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out, told.err

    return run
