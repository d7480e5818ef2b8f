from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

import featherpose
from featherpose.errors import PoseError
from featherpose.models.hourglass import Hourglass
from featherpose.zoo.checkpoint import (
    KEY,
    UNTIL_790EEF5,
    find_checkpoint,
    load_checkpoint,
    network_weights,
)

SMALL = {"joints": 16, "stages": 1, "channels": 16}
MODEL = {"_target_": "featherpose.models.hourglass.Hourglass", **SMALL}


def content(**changes: Any) -> dict[str, Any]:
    torch.manual_seed(0)
    weights = Hourglass(**SMALL).state_dict()
    description = {
        "model": MODEL,
        "loss": None,
        "skeleton": "mpii",
        "input_size": [64, 48],
        "protocol": {"name": "raw", "flip": False, "shift": False, "decoder": "quarter"},
    }
    return {
        "state_dict": {f"network.{name}": value for name, value in weights.items()},
        KEY: {**description, **changes},
        "epoch": 4,
        "global_step": 50,
    }


def saved(folder: Path, content: Any, name: str = "last.ckpt") -> Path:
    path = folder / "checkpoints" / name
    path.parent.mkdir(exist_ok=True)
    torch.save(content, path)
    return path


def test_what_a_checkpoint_says(tmp_path: Path) -> None:
    found = featherpose.load_checkpoint(saved(tmp_path, content()))
    assert (found.skeleton.name, found.input_size) == ("mpii", (64, 48))
    assert (found.protocol.name, found.epoch, found.steps) == ("raw", 4, 50)
    network = found.network()
    assert not network.training
    for name, value in network.state_dict().items():
        assert torch.equal(value, found.weights[name])


def test_a_run_folder_stands_for_its_best_then_its_last(tmp_path: Path) -> None:
    with pytest.raises(PoseError, match="has this run finished an epoch"):
        find_checkpoint(tmp_path)
    last = saved(tmp_path, content())
    assert find_checkpoint(tmp_path) == last
    best = saved(tmp_path, content(), "best.ckpt")
    assert find_checkpoint(tmp_path) == best


def test_names_of_older_files_are_read() -> None:
    state = {"network.a": 1, "network._orig_mod.b": 2, "compiled._orig_mod.a": 3, "metrics.x": 4}
    assert network_weights(state) == {"a": 1, "b": 2}


def test_descriptions_under_older_names_are_read(tmp_path: Path) -> None:
    now = content()
    description = now.pop(KEY)
    shape = {"skeleton": "mpii", "input_size": [64, 48]}
    config = {"model": MODEL, "protocol": description["protocol"], "data": shape}
    for older in ({UNTIL_790EEF5: description}, {KEY: {"config": config}}):
        found = load_checkpoint(saved(tmp_path, {**now, **older}))
        assert (found.skeleton.name, found.input_size) == ("mpii", (64, 48))
        assert found.network().state_dict().keys() == found.weights.keys()


class Evil:
    def __reduce__(self) -> tuple:
        return print, ("this ran",)


def test_no_code_of_a_file_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "evil.ckpt"
    path.write_bytes(pickle.dumps({"state_dict": Evil()}))
    with pytest.raises(PoseError, match="not a checkpoint that can be read safely"):
        load_checkpoint(path)
    model = {"_target_": "sympy.sympify", "a": "print('this ran')"}
    with pytest.raises(PoseError, match="say trust=true"):
        load_checkpoint(saved(tmp_path, content(model=model))).network()
    assert "this ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ([1, 2], "is no checkpoint: it holds a list"),
        ({"state_dict": {}}, "does not say which network it is of"),
        (content(input_size=[64]), "is damaged"),
        (content(skeleton="nobody"), "nobody"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(wrong: Any, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(PoseError, match=sentence):
        load_checkpoint(saved(tmp_path, wrong))


def test_weights_of_another_network(tmp_path: Path) -> None:
    found = load_checkpoint(saved(tmp_path, content(model={**MODEL, "channels": 32})))
    with pytest.raises(PoseError, match="does not fit its own network"):
        found.network()
