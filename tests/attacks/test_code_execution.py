"""Files that carry a command: whatever is done with them, it does not run, and one sentence says who asked for it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from featherpose.zoo.checkpoint import KEY

from ..runs.test_samples import predictions
from .hostile import HARM, PICTURES, PYTHON_HARM, Bomb, pickled
from .trying import SMALL, refused

Said = Callable[..., tuple[int, str, str]]
Node = Callable[[Path], dict[str, Any]]


def loaded(target: str) -> Node:
    """A target that unpickles a file."""

    def node(folder: Path) -> dict[str, Any]:
        torch.save({"state_dict": Bomb()}, folder / "bomb.pth")
        return {"_target_": target, "f": str(folder / "bomb.pth"), "weights_only": False}

    return node


def unpickled(folder: Path) -> dict[str, Any]:
    (folder / "b.pth").write_bytes(pickled())
    return {"_target_": "pandas.read_pickle", "filepath_or_buffer": str(folder / "b.pth")}


def called(target: str, **arguments: Any) -> Node:
    return lambda folder: {"_target_": target, **arguments}


TARGETS: dict[str, Node] = {
    "target": called("os.system", command=HARM),
    # those that Hydra's own list of forbidden names lets by
    "sympy": called("sympy.sympify", a=PYTHON_HARM),
    "pdpickle": unpickled,
    "ipy": called("IPython.utils.process.system", cmd=HARM),
    "torchload": loaded("torch.load"),
    # those that begin like a listed name and lead elsewhere
    "prefix_torch_optim": loaded("torch.optim.adam.torch.load"),
    "prefix_own_torch": loaded("featherpose.training.module.torch.load"),
    "prefix_own_os": called("featherpose.cli.app.os.system", command=HARM),
}
OF_THE_NETWORK = {
    f"h_rce_{target}_{verb}": (target, verb)
    for target in TARGETS
    for verb in ("predict", "evaluate", "export")
}


def with_part(good: Path, path: Path, part: str, node: dict[str, Any]) -> Path:
    """The checkpoint with another part in its description, e.g. data.read."""
    content = torch.load(good, weights_only=True)
    *parents, last = part.split(".")
    holder = content[KEY]
    for parent in parents:
        holder = holder[parent]
    holder[last] = node
    torch.save(content, path)
    return path


def asks_for(node: dict[str, Any]) -> str:
    name = node["_target_"].replace(".", r"\.")
    return rf"evil\.ckpt asks for {name}, which is none of featherpose's own parts"


def words_for(verb: str, checkpoint: Path, folder: Path) -> tuple[str, ...]:
    PICTURES["p.jpg"](folder / "p.jpg")
    more = {
        "predict": (f"source={folder / 'p.jpg'}", f"out={folder / 'out'}"),
        "evaluate": (f"out={folder / 'out'}",),
        "export": (f"out={folder / 'out.onnx'}",),
    }[verb]
    return (f"checkpoint={checkpoint}", *more)


@pytest.mark.parametrize("name", OF_THE_NETWORK)
def test_the_network_of_a_checkpoint(name: str, checkpoint: Path, tmp_path: Path) -> None:
    target, verb = OF_THE_NETWORK[name]
    node = TARGETS[target](tmp_path)
    evil = with_part(checkpoint, tmp_path / "evil.ckpt", "model", node)
    refused(verb, words_for(verb, evil, tmp_path), asks_for(node), tmp_path)


OF_THE_DATA = {
    f"h_rce_{name}_{verb}": (part, node, verb)
    for name, part, node in (
        ("target_data", "data.read", called("os.system", _partial_=True, command=HARM)),
        (
            "target_data2",
            "data",
            called("subprocess.getoutput", cmd=HARM, skeleton="mpii", input_size=[64, 64]),
        ),
    )
    for verb in ("evaluate", "export")
}


@pytest.mark.parametrize("name", OF_THE_DATA)
def test_the_data_of_a_checkpoint(name: str, checkpoint: Path, tmp_path: Path) -> None:
    part, make, verb = OF_THE_DATA[name]
    node = make(tmp_path)
    evil = with_part(checkpoint, tmp_path / "evil.ckpt", part, node)
    refused(verb, words_for(verb, evil, tmp_path), asks_for(node), tmp_path)


@pytest.mark.parametrize("name", ["sympy", "pdpickle", "ipy", "torchload"])
def test_a_training_goes_on_by_its_own_config(name: str, checkpoint: Path, tmp_path: Path) -> None:
    """h_rce_*_train: the network that is trained is the one typed; the file's weights have to fit it."""
    evil = with_part(checkpoint, tmp_path / "evil.ckpt", "model", TARGETS[name](tmp_path))
    places = (f"paths.runs={tmp_path}/runs", f"paths.output={tmp_path}/run")
    words = (*SMALL, *places, "model.stages=2", f"ckpt_path={evil}")
    refused("train", words, r"evil\.ckpt is of another network than the one chosen", tmp_path)


# a run's config.yaml names what loads its pictures
OF_A_RUN = {
    "n_load_rce_samples": "sympy",
    "n_load_rce_pdpickle_samples": "pdpickle",
    "n_load_rce_ipy_samples": "ipy",
    "n_load_rce_torchload_samples": "torchload",
}


@pytest.mark.parametrize("name", OF_A_RUN)
def test_the_config_of_a_run(name: str, write_run, said: Said, tmp_path: Path) -> None:
    node = TARGETS[OF_A_RUN[name]](tmp_path)
    write_run("bad", config={"data": {"skeleton": "mpii", "load": node}}, predictions=predictions())
    runs, sheet = ("runs", "--runs", str(tmp_path / "train")), tmp_path / "s.png"
    code, _, complaint = said(*runs, "samples", "bad", "--each", "1", "--out", str(sheet))
    assert code == 1
    assert re.search(asks_for(node).replace(r"evil\.ckpt", r"config\.yaml"), complaint)
    assert not sheet.exists()


@pytest.mark.parametrize("verb", ["list", "report"])
def test_runs_are_looked_at_without_what_they_load(
    verb: str, write_run, said: Said, tmp_path: Path
) -> None:
    """n_load_rce_list, n_load_rce_report"""
    data = {"skeleton": "mpii", "load": TARGETS["sympy"](tmp_path)}
    write_run("bad", config={"data": data}, predictions=predictions())
    out = ("--out", str(tmp_path / "r.html")) if verb == "report" else ()
    assert said("runs", "--runs", str(tmp_path / "train"), verb, *out)[0] == 0


# a run's .hydra/overrides.yaml, which both keys of `train` read
OVERRIDES = {
    "overrides_rerun": "--experimental-rerun=FOLDER/x.pickle",
    "overrides_shell": "callbacks.alerts.command='touch FOLDER/harm'",
    "overrides_config": "experiment=../../../../../../../../../..FOLDER/x",
    "overrides_callback": f'+hydra.callbacks.x={{_target_: sympy.sympify, a: "{PYTHON_HARM}"}}',
}
GOES_ON = {
    f"k_{name}_{key}": (line, key, rest)
    for name, line in OVERRIDES.items()
    for key, rest in (("resume", ""), ("ckpt_path", "/checkpoints/last.ckpt"))
}


@pytest.mark.parametrize("name", GOES_ON)
def test_the_overrides_of_a_run(name: str, typed: Callable[[str], Any], tmp_path: Path) -> None:
    line, key, rest = GOES_ON[name]
    folder = tmp_path / "run" / ".hydra"
    folder.mkdir(parents=True)
    (folder / "x.pickle").write_bytes(pickled())
    words = [line.replace("FOLDER", str(folder)), "model.stages=1"]
    (folder / "overrides.yaml").write_text(yaml.safe_dump(words))
    answer = typed(f"train {key}={folder.parent}{rest}")
    assert answer.code == 1
    assert "which is not taken from a file" in answer.err
    assert [path.name for path in folder.parent.iterdir()] == [".hydra"]
