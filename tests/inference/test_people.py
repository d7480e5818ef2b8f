"""Who finds people: the finder that ships, a detector's file, or nobody."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from featherpose import Pose
from featherpose.errors import PoseError
from featherpose.image import read
from featherpose.inference.boxes import Follow, overlaps, whole_picture
from featherpose.inference.people import finder_of
from featherpose.inference.predicting import predict
from featherpose.inference.streams import Frame, open_source
from featherpose.skeletons import COCO

from .test_predict import CORNERS, constant_detector, yolox_rows

DOGS = replace(COCO, name="dogs")


def frame(picture: np.ndarray) -> Frame:
    return Frame("a.png", 0, picture)


@pytest.fixture(scope="module")
def astronaut(root: Path) -> np.ndarray:
    return read(root / "docs" / "images" / "astronaut_pose.jpg")


@pytest.fixture
def pair(astronaut: np.ndarray) -> np.ndarray:
    """The astronaut beside herself, smaller and mirrored."""
    picture = np.full((512, 1024, 3), 90, np.uint8)
    picture[:, :512] = astronaut
    picture[200:456, 640:896] = astronaut[::2, ::-2]
    return picture


def test_the_finder_finds_everybody_where_they_are(astronaut: np.ndarray, pair: np.ndarray) -> None:
    find = finder_of("auto", COCO, threads=1)
    ((one,), _) = find(frame(astronaut))
    boxes, scores = find(frame(pair))
    assert (scores > 0.4).all()
    mirrored = [640 + (512 - one[0] - one[2]) / 2, 200 + one[1] / 2, one[2] / 2, one[3] / 2]
    assert (overlaps(np.array([one, mirrored]), boxes).max(axis=1) > 0.5).all()
    assert len(boxes) <= 3  # a fold of the flag beside her may look like somebody


@pytest.mark.parametrize("shape", [(64, 4000), (4000, 64), (1, 1), (3000, 2000)])
def test_pictures_of_any_form_are_looked_at(shape: tuple[int, int]) -> None:
    picture = np.zeros((*shape, 3), np.uint8)
    boxes, _ = finder_of("auto", COCO, threads=1)(frame(picture))
    np.testing.assert_array_equal(boxes, whole_picture(frame(picture))[0])


def test_a_pose_for_everybody(pair: np.ndarray) -> None:
    people = sorted(Pose(threads=1)(pair), key=lambda person: -person.score)
    noses = sorted(person.keypoints[0, 0] for person in people[:2])
    assert noses[0] < 512 < noses[1]
    (alone,) = Pose(threads=1, detector="none")(pair)
    assert alone.box[2] > 0


def test_where_nobody_is_found_the_whole_picture_is_looked_at_closer(astronaut: np.ndarray) -> None:
    dark = (astronaut[::16, ::16] // 8).astype(np.uint8)  # 32 pixels of night
    pose, plain = Pose(threads=1), Pose(threads=1, detector="none")
    assert np.array_equal(pose.find(frame(dark))[0], whole_picture(frame(dark))[0])
    (found,), (wanted,) = pose(dark), plain(dark)
    np.testing.assert_array_equal(found.keypoints, wanted.keypoints)


def test_predict_looks_closer_only_where_nobody_was_found(
    astronaut: np.ndarray, pair: np.ndarray, tmp_path: Path
) -> None:
    from featherpose.image import write

    pictures = {"a.png": (astronaut[::16, ::16] // 8).astype(np.uint8), "b.png": pair}
    for name, picture in pictures.items():
        write(tmp_path / name, picture)
    pose = Pose(threads=1)
    for each, people in predict(open_source(tmp_path), pose, pose.find, closer=True):
        wanted = pose(pictures[Path(each.name).name])
        assert len(people) == len(wanted)
        for person, other in zip(people, wanted, strict=True):
            np.testing.assert_allclose(person.keypoints, other.keypoints, atol=1e-6)


def test_auto_knows_people_only() -> None:
    assert finder_of("auto", DOGS) is whole_picture
    assert finder_of("finder", DOGS) is not whole_picture
    assert finder_of("none", COCO) is whole_picture and finder_of(None, COCO) is whole_picture


def test_a_file_that_finds_nobody_has_the_last_word(tmp_path: Path) -> None:
    rows = yolox_rows()
    find = finder_of(constant_detector(tmp_path / "a.onnx", [rows]), COCO, "yolox")
    assert len(find(frame(np.zeros((64, 128, 3), np.uint8)))[0]) == len(CORNERS) - 1
    rows[..., 4] = 0
    find = finder_of(constant_detector(tmp_path / "b.onnx", [rows]), COCO, "yolox")
    assert not len(find(frame(np.zeros((64, 128, 3), np.uint8)))[0])
    with pytest.raises(PoseError, match="There is no ONNX file"):
        finder_of(tmp_path / "none.onnx", COCO)


def test_who_is_followed_stays_where_the_finder_sees_nobody() -> None:
    follow = Follow(whole_picture, every=1)
    picture = frame(np.zeros((100, 200, 3), np.uint8))
    follow(picture)
    follow.boxes = np.array([[10.0, 10, 30, 60]])
    assert follow(Frame("a.png", 5, picture.picture))[0].tolist() == [[10, 10, 30, 60]]
