"""`Pose` without what training needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from featherpose import Pose
from featherpose.errors import EXTRAS, PoseError
from featherpose.image import LONGEST, read

# What raises when anything of the extras is imported, then a pose, drawn, and the verb
PROGRAM = f"""
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {sorted(each for extra in EXTRAS.values() for each in extra)!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocked())
import numpy as np
from featherpose import Pose
from featherpose.cli.app import main
from featherpose.errors import PoseError
from featherpose.image import read
picture, out = sys.argv[1:]
pose = Pose(threads=1)
people = pose(picture)
assert (pose.draw(read(picture), people) != read(picture)).any()
assert not {{"hydra", "omegaconf", "rich"}} & set(sys.modules)
np.save(f"{{out}}/keypoints.npy", people[0].keypoints)
try:
    Pose("best.ckpt")
except PoseError as error:
    print(error)
main("predict", f"source={{picture}}", f"out={{out}}", "threads=1")
"""


def test_neither_pose_nor_predict_needs_what_training_does(root: Path, tmp_path: Path) -> None:
    picture = root / "docs" / "images" / "astronaut_pose.jpg"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(picture), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "no package torch" in done.stdout or "This needs torch" in done.stdout
    assert "1 poses" in done.stdout
    assert (tmp_path / "keypoints.json").is_file()
    (person,) = Pose(threads=1)(read(picture))
    np.testing.assert_array_equal(np.load(tmp_path / "keypoints.npy"), person.keypoints)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_who_is_not_upright_is_seen_when_the_picture_is_turned(root: Path, quarters: int) -> None:
    pose, picture = (
        Pose(threads=1, detector="none"),
        read(root / "docs" / "images" / "astronaut_pose.jpg"),
    )
    (upright,) = pose(picture)
    points, box = upright.keypoints, upright.box
    corners = np.stack([box[:2], box[:2] + box[2:]])
    for _ in range(quarters):  # as np.rot90 turns, against the clock
        width = picture.shape[1]
        picture = np.ascontiguousarray(np.rot90(picture))
        points, corners = (
            np.stack([p[:, 1], width - 1 - p[:, 0]], axis=1) for p in (points, corners)
        )
    low, high = corners.min(axis=0), corners.max(axis=0)
    first = pose(picture, [[*low, *(high - low)]])
    assert pose.look_turned([picture], [first], 0.0)[0][0] is first[0]  # nobody is doubted
    ((again,),) = pose.look_turned([picture], [first], 1.0)
    clear = upright.confidence > 0.5
    off = np.linalg.norm(again.keypoints - points, axis=1)[clear]
    assert off.max() < 0.03 * max(box[2:])
    assert again.confidence.mean() > first[0].confidence.mean()
    assert again.score == pytest.approx(upright.score, abs=0.05)
    np.testing.assert_array_equal(again.box, first[0].box)


@pytest.fixture(scope="module")
def pose() -> Pose:
    return Pose(threads=1)


@pytest.mark.parametrize("boxes", [None, [[0, 0, 5, 5]]])
@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (np.zeros((0, 0, 3), np.uint8), "has no pixels: it is 0 x 0"),
        (np.zeros((2, LONGEST + 1, 3), np.uint8), "is 32,767 x 2 pixels, and a side may have"),
        (np.zeros((4, 4, 3)), r"not ndarray of float64 \(4, 4, 3\)"),
        (np.zeros((4, 4), np.uint8), r"not ndarray of uint8 \(4, 4\)"),
        (Image.new("L", (4, 4)), r"not Image of uint8 \(4, 4\)"),
        (None, "not NoneType"),
        ([[1], [2, 3]], "not list"),
    ],
)
def test_what_is_no_picture(pose: Pose, given: Any, sentence: str, boxes: Any) -> None:
    with pytest.raises(PoseError, match=sentence):
        pose(given, boxes)


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_pictures_of_pil_are_taken_as_their_files_are(
    root: Path, tmp_path: Path, pose: Pose, orientation: int
) -> None:
    exif, path = Image.Exif(), tmp_path / "turned.png"
    exif[0x0112] = orientation
    with Image.open(root / "docs" / "images" / "astronaut_pose.jpg") as picture:
        picture.save(path, exif=exif)
    of_file = pose(path)
    with Image.open(path) as opened:
        of_pil = pose(opened)
        np.testing.assert_array_equal(of_pil[0].keypoints, of_file[0].keypoints)
        np.testing.assert_array_equal(pose.draw(opened, of_pil), pose.draw(path, of_file))


def test_a_drawing_is_a_copy_also_of_nobody(pose: Pose) -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    drawn = pose.draw(picture, [])
    assert not np.shares_memory(drawn, picture)
    np.testing.assert_array_equal(drawn, picture)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"source": None}, "A network is a name, a file, a run folder or a PoseModule, not None"),
        ({"source": 3}, "or a PoseModule, not 3"),
        ({"protocol": "dark"}, "The protocol holds single entries, e.g. .* and is 'dark'"),
        ({"batch_size": 0}, "batch_size is 0; .* at least 1"),
    ],
)
def test_what_no_pose_is_made_of(words: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PoseError, match=sentence):
        Pose(**words)
