"""What ships works in a fresh checkout: no other argument, no network, no torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from featherpose.errors import PoseError
from featherpose.inference.pose import Pose
from featherpose.synthetic import painted
from featherpose.zoo import shipped


def test_every_network_has_a_card() -> None:
    assert shipped.DEFAULT in shipped.names()
    for name in shipped.names():
        card = (shipped.FOLDER / f"{name}.md").read_text(encoding="utf-8")
        assert "Apache-2.0" in card and "Not for" in card
    assert sum(path.stat().st_size for path in shipped.FOLDER.iterdir()) < 10e6


def test_only_names_that_ship_are_names() -> None:
    assert shipped.file_of_name("light") == shipped.FOLDER / "light.onnx"
    assert shipped.file_of_name("../light") is None
    with pytest.raises(PoseError, match="nobody"):
        Pose("nobody")


def test_a_folder_of_the_same_name_is_not_in_its_way(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "light").mkdir()
    monkeypatch.chdir(tmp_path)
    assert Pose().skeleton.name == "coco"
    with pytest.raises(PoseError, match="light"):
        Pose("./light")


def test_the_default_finds_painted_people() -> None:
    """It has seen photographs only; of painted people it finds most limbs all the same."""
    pose = Pose()
    assert pose.skeleton.name == "coco"
    people = painted.read(split="val", people=12, skeleton="coco").persons
    near = []
    for person in people:
        (found,) = pose(painted.load(person), [_box(person)])
        size = np.sqrt(found.box[2] * found.box[3])
        distance = np.linalg.norm(found.keypoints - person.joints, axis=1)[person.visible > 0]
        near.append((distance < 0.15 * size).mean())
    assert np.mean(near) > 0.5


def _box(person) -> list[float]:
    seen = person.joints[person.visible > 0]
    low, high = seen.min(axis=0), seen.max(axis=0)
    return [*(low - 8), *(high - low + 16)]


def test_a_picture_alone_is_enough(root: Path, tmp_path: Path) -> None:
    """`python src/predict.py source=PICTURE` in a folder of its own, as a stranger types it."""
    import cv2

    person = painted.read(split="val", people=1, skeleton="coco").persons[0]
    cv2.imwrite(str(tmp_path / "stranger.jpg"), painted.load(person)[..., ::-1])
    command = [sys.executable, str(root / "src" / "predict.py"), "source=stranger.jpg", "out=found"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "light" in done.stdout
    (record,) = json.loads((tmp_path / "found" / "keypoints.json").read_text())
    assert len(record["keypoints"]) == 51
    assert (tmp_path / "found" / "stranger.jpg").is_file()


def test_a_closer_look_finds_a_small_person() -> None:
    """In a picture twice as wide, the person is looked at again around what was found."""
    pose = Pose(detector="none")
    person = painted.read(split="val", people=3, skeleton="coco").persons[1]
    image = painted.load(person)
    wide = np.full((image.shape[0], image.shape[1] * 2, 3), 128, np.uint8)
    wide[:, : image.shape[1]] = image
    (found,) = pose(wide)
    assert found.box[2] < 0.8 * wide.shape[1], "the box is no longer the whole picture"


def test_training_starts_from_it() -> None:
    """`init=light`: the exported file's numbers in the network's own names, with its norms folded."""
    import torch

    from featherpose.inference.backends import OnnxRuntime
    from featherpose.models.peers.lite_hrnet import LiteHRNet, NaiveLiteHRNet
    from featherpose.zoo.weight_files import load_weights, read_weights

    network = NaiveLiteHRNet(17).eval()
    weights = read_weights("light", network)
    assert weights.folded and weights.skeleton is not None and weights.skeleton.name == "coco"
    load_weights(network, "light")
    images = torch.randn(1, 3, 256, 192, generator=torch.Generator().manual_seed(0))
    (theirs,) = OnnxRuntime(weights.path).run(images.numpy()).values()
    with torch.no_grad():
        ours = network(images)[-1].numpy()
    assert np.abs(ours - theirs).max() < 1e-5 * np.abs(theirs).max()
    with pytest.raises(PoseError, match="this LiteHRNet is not"):
        load_weights(LiteHRNet(17), "light")
