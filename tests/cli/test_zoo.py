"""`featherpose zoo`: what is known by name, and of which network a file is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from featherpose.cli import app, zoo
from featherpose.data import download
from featherpose.errors import PoseError
from featherpose.inference.pose import Pose
from featherpose.models.peers.hf_hrnet import HFHRNet
from featherpose.models.peers.rtmpose import RTMPose
from featherpose.zoo import known
from featherpose.zoo.names import name_maps
from featherpose.zoo.weight_files import file_of

from ..test_configs import composed

NAME = "rtmpose_t_coco_256x192"


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("FEATHERPOSE_ZOO", str(tmp_path / "zoo"))
    return tmp_path / "zoo"


def asked(*words: str) -> int:
    with pytest.raises(SystemExit) as end:
        app.main("zoo", *words)
    return int(end.value.code or 0)


def test_the_list_shows_what_ships_and_what_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert asked("list") == 0
    shown = capsys.readouterr().out
    assert "ships" in shown and "hrnet_w32_mpii" in shown and "90.0 PCKh@0.5" in shown


def test_every_entry_says_how_to_use_it() -> None:
    for name, entry in known.known().items():
        assert entry.line.startswith("model=") and entry.score and entry.licence, name
        assert entry.path.is_file() if entry.file else len(entry.sha256) == 8, name


def test_a_name_that_is_not_here_says_how_to_get_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Exception, match=f"featherpose zoo get {NAME}"):
        file_of(NAME)
    assert asked("show", "rtmpose_coco") == 1
    assert "Did you mean rtmpose_" in capsys.readouterr().err


def test_a_file_that_is_not_its_publishers_goes(
    monkeypatch: pytest.MonkeyPatch, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(download, "download", lambda url, to: to.write_bytes(b"another file"))
    assert asked("get", NAME) == 1
    assert "not e613ba3f" in capsys.readouterr().err
    assert not list(folder.iterdir())


def test_what_was_fetched_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = known.by_name(NAME)
    entry.path.parent.mkdir(parents=True)
    entry.path.write_bytes(b"numbers")
    assert file_of(NAME) == entry.path


def test_a_name_predicts(tmp_path: Path) -> None:
    """`Pose(NAME)` and `predict checkpoint=NAME` build the network that the list says, once its file is here."""
    with pytest.raises(
        PoseError, match=f"not on this machine: fetch it with `featherpose zoo get {NAME}`"
    ):
        Pose(NAME)
    network = RTMPose(17, input_size=(256, 192))
    (names,) = name_maps(network)
    theirs = {f"head.{names[name]}": value for name, value in network.state_dict().items()}
    entry = known.by_name(NAME)
    entry.path.parent.mkdir(parents=True)
    torch.save({"state_dict": theirs}, entry.path)
    pose = Pose(NAME)
    assert pose.skeleton.name == "coco" and pose.description.input_size == (256, 192)
    (person,) = pose(np.zeros((300, 200, 3), np.uint8), [[20, 30, 100, 200]])
    assert person.keypoints.shape == (17, 2)


@pytest.mark.slow
def test_the_list_has_each_line_composed() -> None:
    """`network` is what `line` makes, so that who predicts needs no config."""
    for entry in known.known().values():
        if entry.file:
            continue
        model = composed("train", *entry.line.split()).model
        wanted = OmegaConf.to_container(model, resolve=True)
        assert isinstance(wanted, dict)
        wanted = {
            key: value for key, value in wanted.items() if key not in ("input_size", "aspect")
        }
        assert dict(entry.network) == wanted, entry.name


def test_a_file_is_known_by_its_entries(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = RTMPose(17, input_size=(256, 192))
    (names,) = name_maps(network)
    theirs = {f"head.{names[name]}": value for name, value in network.state_dict().items()}
    torch.save({"state_dict": theirs}, tmp_path / "published.pth")
    monkeypatch.setattr(zoo, "model_names", lambda: ["rtmpose_s", "rtmpose_t"])
    assert asked("identify", str(tmp_path / "published.pth")) == 0
    shown = capsys.readouterr().out
    assert "evaluate.py weights=" in shown
    assert shown.rstrip().endswith("model=rtmpose_t model.output=vectors data=coco")
    assert "rtmpose_s" not in shown

    # both sums of the branches fit; published files were trained by the public code's
    lite = HFHRNet(17)
    torch.save(lite.state_dict(), tmp_path / "lite.pth")
    monkeypatch.setattr(zoo, "model_names", lambda: ["hf_hrnet_18"])
    assert asked("identify", str(tmp_path / "lite.pth")) == 0
    shown = capsys.readouterr().out.rstrip().splitlines()
    assert shown[-1].endswith("model=hf_hrnet_18 model.fusion=doubled data=coco")
    assert any(line.endswith("model=hf_hrnet_18 data=coco") for line in shown)

    torch.save({"state_dict": {"other": torch.zeros(3)}}, tmp_path / "other.pth")
    assert asked("identify", str(tmp_path / "other.pth")) == 1
    assert "Nothing in" in capsys.readouterr().err
