"""Predicting: sources, boxes, outputs, and one sentence for each thing that can be wrong."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from featherpose import crop
from featherpose.errors import PoseError
from featherpose.inference import streams
from featherpose.inference.boxes import BoxesFromFile, Follow, extent, whole_picture
from featherpose.inference.description import Description
from featherpose.inference.detector import Detector, letterbox
from featherpose.inference.pose import FoundPose, Pose
from featherpose.inference.predicting import predict
from featherpose.inference.results import Results, json_of
from featherpose.inference.smoothing import OneEuro
from featherpose.inference.streams import Frame, open_source
from featherpose.models.hourglass import Hourglass
from featherpose.models.weights import to_published
from featherpose.protocol import Protocol
from featherpose.skeletons import MPII

SIZE = (64, 48)


class Blob:
    """Puts every joint where the crop is brightest in red; the confidence is how bright that is."""

    description = Description(MPII, SIZE, 4, Protocol(decoder="argmax"))

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.batches.append(len(crops))
        red = crops[:, 0].reshape(len(crops), -1)
        best, place = red.max(axis=1), red.argmax(axis=1)
        rows, columns = np.divmod(place, SIZE[1])
        middle = np.stack([columns, rows], axis=1)[:, None].astype(np.float32)
        spread = np.linspace(-15, 15, len(MPII), dtype=np.float32)  # a person who fills its box
        points = middle + np.stack([spread, 1.33 * np.roll(spread, 5)], axis=1)[None]
        return points, np.repeat(best[:, None] / 255, len(MPII), axis=1)


@pytest.fixture
def pose() -> Pose:
    made = Pose.__new__(Pose)
    made.estimator, made.batch_size = Blob(), 4
    made.description, made.skeleton = Blob.description, MPII
    made.detector, made.threads = "none", 1
    return made


def dot(x: int, y: int, size: tuple[int, int] = (120, 160)) -> np.ndarray:
    picture = np.zeros((*size, 3), np.uint8)
    cv2.circle(picture, (x, y), 3, (255, 255, 255), -1)
    return picture


def write_video(path: Path, count: int = 12) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (160, 120))
    for i in range(count):
        writer.write(dot(30 + 5 * i, 60))
    writer.release()
    return path


def test_a_picture_in_one_line(pose: Pose) -> None:
    (person,) = pose(dot(50, 70))
    np.testing.assert_allclose(person.keypoints.mean(axis=0), (50, 70), atol=4)
    boxes = [[20, 40, 60, 60], [100, 10, 20, 30]]
    found = pose(dot(50, 70), boxes)
    assert len(found) == 2 and found[0].confidence[0] > 0.9 and found[1].confidence[0] == 0
    np.testing.assert_allclose(found[0].keypoints.mean(axis=0), (50, 70), atol=4)
    drawn = pose.draw(dot(50, 70), found)
    assert drawn.shape == (120, 160, 3) and (drawn != dot(50, 70)).any()
    with pytest.raises(PoseError, match="uint8 RGB array"):
        pose(np.zeros((4, 4)))


def test_joints_of_just_the_threshold_are_drawn(pose: Pose) -> None:
    points = np.linspace(20, 90, 2 * len(MPII)).reshape(-1, 2).tolist()
    person = seen(points, 0.25, np.array([10.0, 10, 90, 90]))
    black = dot(5, 5)
    assert (pose.draw(black, [person], 0.25) != black).any()
    assert (pose.draw(black, [person], 0.26) == black).all()


def test_the_whole_picture_is_the_crop() -> None:
    box = whole_picture(Frame("", 0, np.zeros((90, 60, 3), np.uint8)))[0][0]
    matrix = crop.crop_matrix(*crop.centre_and_scale(box), (60, 90))
    np.testing.assert_allclose(matrix, [[1, 0, 0], [0, 1, 0]], atol=1e-9)


def test_folder_glob_and_boxes_from_a_file(tmp_path: Path, pose: Pose) -> None:
    for i in range(3):
        cv2.imwrite(str(tmp_path / f"{i:012d}.png"), dot(40 + 20 * i, 60))
    (tmp_path / "000000000009.png").write_bytes(b"no picture")
    boxes = [
        {"image_id": i, "category_id": 1, "bbox": [20 + 20 * i, 40, 40, 40], "score": 0.9}
        for i in range(3)
    ]
    boxes += [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9], "score": 0.1}]
    boxes += [{"file_name": "000000000002.png", "bbox": [60, 40, 40, 40]}]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    find = BoxesFromFile(tmp_path / "boxes.json", threshold=0.5)
    for text in (str(tmp_path), str(tmp_path / "*.png")):
        source = open_source(text)
        out = tmp_path / "out"
        with Results(out, MPII) as results:
            for frame, people in predict(source, pose, find):
                results.add(frame, people, pose.draw(frame.picture, people))
        (problem,) = source.problems
        assert "000000000009.png is no picture" in problem
    assert pose.estimator.batches == [3, 3]  # all people in one batch
    records = json.loads((out / "keypoints.json").read_text())
    assert [record["image_id"] for record in records] == [0, 1, 2]
    assert not any("track_id" in record for record in records)
    for i, record in enumerate(records):
        points = np.array(record["keypoints"]).reshape(16, 3)
        np.testing.assert_allclose(points[:, :2].mean(axis=0), (40 + 20 * i, 60), atol=4)
    rows = list(csv.DictReader((out / "keypoints.csv").open()))
    assert len(rows) == 3 and float(rows[1]["right_ankle_x"]) == records[1]["keypoints"][0]
    assert sorted(p.name for p in out.iterdir()) == [f"{i:012d}.jpg" for i in range(3)] + [
        "keypoints.csv",
        "keypoints.json",
    ]


def test_a_video_follows_its_person(tmp_path: Path, pose: Pose) -> None:
    source = open_source(write_video(tmp_path / "walk.avi"))
    assert source.moving and source.total == 12 and source.rate == 10
    asked: list[int] = []

    def find(frame: Frame) -> tuple[np.ndarray, np.ndarray]:
        asked.append(frame.index)
        return whole_picture(frame)

    with Results(tmp_path / "out", MPII, source.rate, name="walk") as results:
        for frame, people in predict(source, pose, find, every=0):
            assert [person.identity for person in people] == [0]
            np.testing.assert_allclose(
                people[0].keypoints.mean(axis=0), (30 + 5 * frame.index, 60), atol=4
            )
            results.add(frame, people, pose.draw(frame.picture, people))
    assert asked == [0]
    video = cv2.VideoCapture(str(tmp_path / "out" / "walk.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 12
    records = json.loads((tmp_path / "out" / "keypoints.json").read_text())
    assert [record["track_id"] for record in records] == [0] * 12


def seen(points: list, confidence: float, box: np.ndarray, identity: int = 0) -> FoundPose:
    keypoints = np.array(points, dtype=np.float64)
    return FoundPose(keypoints, np.full(len(points), confidence), box, confidence, identity)


def test_a_lost_person_is_looked_for_again() -> None:
    follow = Follow(whole_picture)
    frame = Frame("", 0, np.zeros((100, 100, 3), np.uint8))
    whole = follow(frame)[0][0]
    points = [[20.0, 20], [40, 60], [30, 40]]
    follow.update([seen(points, 0.8, whole)], (100, 100))
    np.testing.assert_allclose(follow(frame)[0][0], [17.5, 15, 25, 50])
    follow.update([seen(points, 0.1, follow(frame)[0][0])], (100, 100))
    np.testing.assert_allclose(follow(frame)[0], whole_picture(frame)[0])
    assert follow.identities == [0]  # the only person there is
    np.testing.assert_allclose(extent(np.array(points) - 30, (100, 100)), [0, 0, 12.5, 35])


def test_how_sure_joints_have_to_be_is_a_setting() -> None:
    frame = Frame("", 0, np.zeros((100, 100, 3), np.uint8))
    follow = Follow(whole_picture, lost=0.05)
    whole = follow(frame)[0][0]
    follow.update([seen([[20.0, 20], [40, 60], [30, 40]], 0.1, whole)], (100, 100))
    np.testing.assert_allclose(follow(frame)[0][0], [17.5, 15, 25, 50])


def test_people_with_weak_joints_keep_their_numbers_by_their_boxes(
    pose: Pose, tmp_path: Path
) -> None:
    """Two people whom the network does not see (the film is black), in boxes that move."""
    writer = cv2.VideoWriter(
        str(tmp_path / "dark.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (160, 120)
    )
    for _ in range(8):
        writer.write(np.zeros((120, 160, 3), np.uint8))
    writer.release()

    def find(frame: Frame) -> tuple[np.ndarray, np.ndarray]:
        boxes = np.array([[10.0 + 2 * frame.index, 20, 40, 80], [90.0, 20, 40, 80]])
        return (boxes[::-1] if frame.index % 2 else boxes), np.ones(2)

    smoothed = 0.0
    for frame, people in predict(open_source(tmp_path / "dark.avi"), pose, find, 10, OneEuro()):
        assert {person.identity for person in people} == {0, 1}
        left = min(people, key=lambda person: person.box[0])
        assert left.identity == 0
        raw = pose(frame.picture, [left.box])[0]
        smoothed = max(smoothed, float(np.abs(raw.keypoints - left.keypoints).max()))
    assert smoothed > 0.5  # a filter of one person's own was at work


def test_a_person_found_twice_stays_once(pose: Pose, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), dot(60, 60))
    # two boxes too different for a detector's suppression (IoU 0.55), whose poses agree
    boxes = np.array([[30.0, 30, 60, 60], [32.0, 32, 56, 58], [90.0, 60, 40, 40]])

    def find(frame: Frame) -> tuple[np.ndarray, np.ndarray]:
        return boxes, np.array([0.5, 0.9, 0.8])

    source = tmp_path / "a.png"
    ((_, people),) = predict(open_source(source), pose, find)
    assert [person.box.tolist() for person in people] == [boxes[1].tolist(), boxes[2].tolist()]
    ((_, people),) = predict(open_source(source), pose, find, alike=None)
    assert len(people) == 3


@pytest.mark.parametrize(
    ("boxes", "sentence"),
    [
        ([[10, 10, 0, 0]], "Box 0 is .*at least one pixel"),
        ([[1, 2, 30, 40], [1, 2, float("nan"), 5]], "Box 1 is"),
        ([[0.1, 0.2, 0.5, 0.5]], "in pixels"),
        ([[0, 0, 1e300, 1e300]], "Box 0 is"),
        ([[1, 2, 3]], r"these are of shape \(1, 3\)"),
        ([[[1, 2, 3, 4]]], r"these are of shape \(1, 1, 4\)"),
        ([[1, 2, 3], [1, 2, 3, 4]], "in numbers"),
        ("everywhere", "in numbers"),
        ({"x": 1}, "in numbers"),
    ],
)
def test_boxes_that_cannot_be(pose: Pose, boxes: object, sentence: str) -> None:
    with pytest.raises(PoseError, match=sentence):
        pose(dot(50, 70), boxes)  # ty: ignore[invalid-argument-type]


def test_one_box_needs_no_second_bracket(pose: Pose) -> None:
    assert len(pose(dot(50, 70), [20, 40, 60, 60])) == 1 and pose(dot(50, 70), []) == []


class Broken:
    """A capture whose frames fail at some indices, or that ends early."""

    def __init__(self, bad: set[int], ends: int) -> None:
        self.bad, self.ends, self.at = bad, ends, -1

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.at += 1
        good = self.at < self.ends and self.at not in self.bad
        return (True, dot(80, 60)) if good else (False, None)

    def release(self) -> None:
        pass


def source_of(capture: Broken, total: int | None, live: bool = False) -> streams.Source:
    return streams.Source(True, total, 10.0, capture=capture, name="clip.mp4", live=live)  # ty: ignore


def test_a_broken_frame_does_not_end_a_video(pose: Pose) -> None:
    source = source_of(Broken({3, 4}, 10), 10)
    seen = [frame.index for frame, _ in predict(source, pose, whole_picture)]
    assert seen == [0, 1, 2, 5, 6, 7, 8, 9]
    assert source.problems == ["clip.mp4: 2 frames before frame 5 can't be read."]


def test_a_video_has_ended_after_thirty_broken_frames_in_a_row(pose: Pose) -> None:
    patient = source_of(Broken(set(range(3, 32)), 40), 40)
    assert [f.index for f in patient.frames()] == [0, 1, 2, *range(32, 40)]
    ended = source_of(Broken(set(range(3, 33)), 40), 40)
    assert [f.index for f in ended.frames()] == [0, 1, 2]
    assert ended.problems == ["clip.mp4 breaks off after frame 3 of 40; what came before is kept."]


def test_nobody_in_a_picture_is_an_answer_too(pose: Pose, tmp_path: Path) -> None:
    with Results(tmp_path / "out", MPII, pictures=False) as results:
        results.add(Frame("a.jpg", 0, dot(5, 5)), [], dot(5, 5))
    assert json.loads((tmp_path / "out" / "keypoints.json").read_text()) == []
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "keypoints.csv",
        "keypoints.json",
    ]


def test_what_is_no_number_is_never_written() -> None:
    assert json_of([{"score": 0.5}]) == '[\n{"score":0.5}\n]\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_of([{"score": float("nan")}])


def test_a_video_that_breaks_off_keeps_what_came(pose: Pose) -> None:
    source = source_of(Broken(set(), 6), 10)
    assert len(list(predict(source, pose, whole_picture))) == 6
    assert source.problems == ["clip.mp4 breaks off after frame 6 of 10; what came before is kept."]
    with pytest.raises(PoseError, match="gives no frame"):
        list(source_of(Broken(set(), 0), 10).frames())
    live = source_of(Broken(set(), 5), None, live=True)
    assert len(list(live.frames())) == 5 and "stopped giving frames after 5" in live.problems[0]


def test_outputs_are_whole_when_the_run_fails(tmp_path: Path, pose: Pose) -> None:
    source = open_source(write_video(tmp_path / "walk.avi"))

    def stops() -> Iterator[None]:
        with Results(tmp_path / "out", MPII, source.rate, name="walk") as results:
            for frame, people in predict(source, pose, whole_picture):
                results.add(frame, people, frame.picture)
                if frame.index == 4:
                    raise RuntimeError("the power fails")
                yield

    with pytest.raises(RuntimeError):
        list(stops())
    assert cv2.VideoCapture(str(tmp_path / "out" / "walk.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 5
    assert len(json.loads((tmp_path / "out" / "keypoints.json").read_text())) == 5
    assert len(list(csv.reader((tmp_path / "out" / "keypoints.csv").open()))) == 6
    assert not [each for each in (tmp_path / "out").iterdir() if each.name.startswith(".")]


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.mp4").write_bytes(b"no video")
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff junk")
    for what, says in (
        (tmp_path / "empty", "holds no picture"),
        (tmp_path / "a.mp4", "not a video that can be read"),
        (tmp_path / "none.jpg", "There is no picture, folder or video"),
        (tmp_path / "*.png", "No picture fits"),
        (99, "There is no camera 99"),
    ):
        with pytest.raises(PoseError, match=says):
            open_source(what)
    with pytest.raises(PoseError, match=r"a\.jpg"):
        list(open_source(tmp_path / "a.jpg").frames())
    for text, says in (
        ("[]", "holds no boxes"),
        ('[{"bbox": [1, 2]}]', "record 0"),
        ("{", "not a json file"),
    ):
        (tmp_path / "boxes.json").write_text(text)
        with pytest.raises(PoseError, match=says):
            BoxesFromFile(tmp_path / "boxes.json")
    with pytest.raises(PoseError, match="no checkpoint"):
        Pose(tmp_path / "none.ckpt")
    with pytest.raises(PoseError, match="runtime=tensorrt"):
        Pose(tmp_path / "a.onnx", runtime="tensorrt")


def test_what_a_folder_leaves_out_is_named(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.HEIC", "c.pgm", "d.pgm", "e.avi", "notes.txt"):
        (tmp_path / name).touch()
    for text in (tmp_path, tmp_path / "*", tmp_path / "**/**/*"):
        source = open_source(text)
        assert [path.name for path in source.pictures] == ["a.jpg"]
        (problem,) = source.problems
        assert problem.startswith("4 files ending in .avi, .heic, .pgm: ")
    assert open_source(tmp_path / "a.*").problems == []
    with pytest.raises(PoseError, match=r"fits .*\.avi, but 1 files .* a source of its own"):
        open_source(tmp_path / "*.avi")
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(PoseError, match=r"holds no picture, but 4 files ending in \.avi"):
        open_source(tmp_path)


def constant_detector(path: Path, outputs: list[np.ndarray], size: int | str = 64) -> Path:
    """An ONNX file that answers every picture with the same arrays, plus 0 times the picture's mean."""
    nodes = [helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0)]
    nodes.append(helper.make_node("Mul", ["mean", "zero"], ["nothing"]))
    constants = [helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0])]
    for i, each in enumerate(outputs):
        constants.append(
            helper.make_tensor(
                f"c{i}", TensorProto.FLOAT, each.shape, each.astype(np.float32).ravel()
            )
        )
        nodes.append(helper.make_node("Add", [f"c{i}", "nothing"], [f"out{i}"]))
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, size, size])
    values = [
        helper.make_tensor_value_info(f"out{i}", TensorProto.FLOAT, o.shape)
        for i, o in enumerate(outputs)
    ]
    graph = helper.make_graph(nodes, "detector", [images], values, constants)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path
    )
    return path


# In a 128 x 64 picture a 64 x 64 letterbox halves it: at the top left rows 0 to 31 are picture, in the middle 16 to 47.
CORNERS = np.array(
    [[10.0, 4, 30, 24], [11, 4, 31, 24], [40, 8, 60, 28]]
)  # the first two are one person
SCORES = np.array([0.9, 0.7, 0.5])
BOXES = np.array([[20, 8, 40, 40], [80, 16, 40, 40]])


def yolox_rows() -> np.ndarray:
    rows = np.zeros((1, 64 + 16 + 4, 5 + 3))
    for corners, score, place in zip(CORNERS, SCORES, (9, 10, 70), strict=True):
        stride = 8 if place < 64 else 16
        local = place if place < 64 else place - 64
        grid = np.array([local % (64 // stride), local // (64 // stride)])
        centre, side = (corners[:2] + corners[2:]) / 2, corners[2:] - corners[:2]
        rows[0, place] = [*(centre / stride - grid), *np.log(side / stride), 1.0, score, 0.1, 0.1]
    return rows


def middle_rows(objectness: bool) -> np.ndarray:
    corners = CORNERS + np.array([0, 16, 0, 16])
    centre, side = (corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]
    columns = [centre, side, *([np.full((3, 1), 0.5)] if objectness else [])]
    columns += [SCORES[:, None] * (2 if objectness else 1), np.full((3, 2), 0.05)]
    rows = np.concatenate([*columns], axis=1)
    rows = np.concatenate([rows, np.zeros((20, rows.shape[1]))])
    return rows[None]


def on_grids(strides: tuple[int, ...], half: float, least: float) -> tuple[np.ndarray, np.ndarray]:
    """The three boxes told by cells of the coarse grids: scores (N, 3), and how far the four sides (N, 4) are.

    A cell's point lies `half` a cell inside it; distances that no box has are `least`.
    """
    points = np.concatenate(
        [
            (np.stack(np.meshgrid(*[np.arange(64 // s)] * 2), -1).reshape(-1, 2) + half) * s
            for s in strides
        ]
    )
    scores, sides = np.full((len(points), 3), 0.01), np.full((len(points), 4), least)
    for corners, score in zip(CORNERS, SCORES, strict=True):
        inside = ((points > corners[:2]) & (points < corners[2:])).all(axis=1)
        place = np.flatnonzero(inside & (scores[:, 0] < 0.02))[-1]
        sides[place] = [*(points[place] - corners[:2]), *(corners[2:] - points[place])]
        scores[place, 0] = score
    return scores, sides


def as_bins(sides: np.ndarray, strides: tuple[int, ...]) -> np.ndarray:
    """Logits of eight bins a side whose mean is the side's length in cells: two neighbours share it."""
    of_each = np.concatenate([np.full((64 // s) ** 2, s) for s in strides])[:, None]
    cells = (sides / of_each).clip(0, 6.999)
    weights = np.maximum(0, 1 - np.abs(cells[..., None] - np.arange(8)))
    return np.log(weights + 1e-12).reshape(len(sides), 32)


def split(rows: np.ndarray, strides: tuple[int, ...]) -> list[np.ndarray]:
    ends = np.cumsum([(64 // s) ** 2 for s in strides])[:-1]
    return [part[None] for part in np.split(rows, ends)]


def grids(kind: str) -> list[np.ndarray]:
    """What these detectors give of the three boxes."""
    if kind == "rtmdet_raw":
        scores, sides = on_grids((8, 16, 32), 0, 1.0)
        logits = np.log(scores / (1 - scores))
        parts = split(logits, (8, 16, 32)) + split(sides, (8, 16, 32))
        side = {64: 8, 16: 4, 4: 2}
        return [
            part.transpose(0, 2, 1).reshape(1, -1, *[side[part.shape[1]]] * 2) for part in parts
        ]
    strides = (8, 16, 32, 64)
    scores, sides = on_grids(strides, 0.5 if kind == "picodet" else 0, 1.0)
    bins = as_bins(sides, strides)
    if kind == "nanodet":
        return [np.concatenate([scores, bins], axis=1)[None]]
    return [*split(bins, strides)[::-1], *split(scores, strides)]


@pytest.mark.parametrize(
    "kind",
    ["yolox", "yolo", "yolov5", "yolo_end", "rtmdet", "rtmdet_raw", "nanodet", "picodet"],
)
def test_detector_adapters(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "detector.onnx"
    match kind:
        case "yolox":
            detector = Detector(constant_detector(path, [yolox_rows()]), "yolox")
        case "yolo":
            detector = Detector(constant_detector(path, [middle_rows(False).transpose(0, 2, 1)]))
        case "yolov5":
            detector = Detector(constant_detector(path, [middle_rows(True)]), "yolo")
        case "yolo_end":
            corners = CORNERS + np.array([0, 16, 0, 16])
            rows = np.concatenate([corners, SCORES[:, None], np.zeros((3, 1))], axis=1)
            rows = np.concatenate([rows, [[0, 0, 50, 50, 0.99, 7]]])  # a dog
            detector = Detector(constant_detector(path, [rows[None]]))
        case "rtmdet_raw" | "nanodet" | "picodet":
            detector = Detector(constant_detector(path, grids(kind)))
        case _:
            rows = np.concatenate([CORNERS, SCORES[:, None]], axis=1)
            rows = np.concatenate([rows, [[0, 0, 50, 30, 0.99]]])
            detector = Detector(constant_detector(path, [rows[None], np.array([[0, 0, 0, 7]])]))
    boxes, scores = detector(np.full((64, 128, 3), 50, np.uint8))
    np.testing.assert_allclose(boxes, BOXES, atol=1e-3)
    np.testing.assert_allclose(scores, [0.9, 0.5], atol=1e-6)
    assert detector.kind == {"yolov5": "yolo"}.get(kind, kind)


def test_a_yolox_of_one_class_is_known_by_its_grids(tmp_path: Path) -> None:
    detector = Detector(constant_detector(tmp_path / "one.onnx", [yolox_rows()[..., :6]]))
    assert detector.kind == "yolox"
    boxes, scores = detector(np.full((64, 128, 3), 50, np.uint8))
    np.testing.assert_allclose(boxes, BOXES, atol=1e-3)
    np.testing.assert_allclose(scores, [0.9, 0.5], atol=1e-6)


def test_a_picture_without_anybody_has_no_boxes(tmp_path: Path) -> None:
    rows = middle_rows(False).transpose(0, 2, 1) * np.array([1, 1, 1, 1, 0.4, 1, 1])[:, None]
    detector = Detector(constant_detector(tmp_path / "weak.onnx", [rows]))  # 0.36 at most
    boxes, scores = detector(np.full((64, 128, 3), 50, np.uint8))
    assert boxes.shape == (0, 4) and scores.shape == (0,)


def test_detectors_see_what_they_were_trained_on(tmp_path: Path) -> None:
    picture = np.zeros((64, 128, 3), np.uint8)
    picture[..., 0] = 255  # red
    rows = np.concatenate([CORNERS, SCORES[:, None]], axis=1)[None]
    inputs, zoom, _ = Detector(
        constant_detector(tmp_path / "r.onnx", [rows, np.zeros((1, 3))])
    ).prepare(picture)
    np.testing.assert_allclose(
        inputs[0, :, 0, 0], [-103.53 / 57.375, -116.28 / 57.12, (255 - 123.675) / 58.395], rtol=1e-5
    )
    assert zoom == 0.5
    inputs = Detector(constant_detector(tmp_path / "x.onnx", [yolox_rows()]), "yolox").prepare(
        picture
    )[0]
    assert inputs[0, :, 0, 0].tolist() == [0, 0, 255] and inputs[0, :, 40, 0].tolist() == [114] * 3
    inputs = Detector(
        constant_detector(tmp_path / "y.onnx", [middle_rows(False).transpose(0, 2, 1)])
    ).prepare(picture)[0]
    assert inputs[0, :, 32, 0].tolist() == [1, 0, 0]
    np.testing.assert_allclose(inputs[0, :, 0, 0], 114 / 255, rtol=1e-6)
    assert letterbox(picture, (32, 32), middle=True)[2].tolist() == [0, 8]
    inputs = Detector(constant_detector(tmp_path / "p.onnx", grids("picodet"))).prepare(picture)[0]
    np.testing.assert_allclose(
        inputs[0, :, 0, 0], [(255 - 123.675) / 58.395, -116.28 / 57.12, -103.53 / 57.375], rtol=1e-5
    )


def test_a_detector_of_any_size_sees_640_by_640(tmp_path: Path) -> None:
    rows = np.concatenate([CORNERS, SCORES[:, None]], axis=1)[None]
    path = constant_detector(tmp_path / "open.onnx", [rows, np.zeros((1, 3))], size="side")
    detector = Detector(path)
    assert detector.size == (640, 640)
    boxes, _ = detector(
        np.full((320, 640, 3), 50, np.uint8)
    )  # as large as it is: nothing is scaled
    np.testing.assert_allclose(boxes, [[10, 4, 20, 20], [40, 8, 20, 20]], atol=1e-3)


def test_detectors_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(PoseError, match="say which with detector_kind"):
        Detector(constant_detector(tmp_path / "a.onnx", [middle_rows(True)]))
    with pytest.raises(PoseError, match="no detector_kind=ssd"):
        Detector(constant_detector(tmp_path / "b.onnx", [middle_rows(True)]), "ssd")
    with pytest.raises(PoseError, match="gives 23 rows"):
        Detector(constant_detector(tmp_path / "c.onnx", [middle_rows(True)]), "yolox")(dot(5, 5))
    with pytest.raises(PoseError, match="not what rtmdet gives"):
        Detector(constant_detector(tmp_path / "d.onnx", [middle_rows(True)]), "rtmdet")(dot(5, 5))


def test_one_euro_is_calm_at_rest_and_quick_in_motion() -> None:
    rng = np.random.default_rng(0)
    rest = OneEuro()
    noisy = 50 + rng.normal(0, 1, (200, 4, 2))
    calm = np.stack([rest(points, 1 / 30, 100.0) for points in noisy])
    assert calm[50:].std() < 0.5 * noisy[50:].std()
    fast = OneEuro()
    path = np.arange(60)[:, None, None] * np.array([[10.0, 0.0]])  # three body heights a second
    lag = path - np.stack([fast(points, 1 / 30, 100.0) for points in path])
    assert np.abs(lag[30:]).max() < 10  # less than one frame's way
    slow = OneEuro(speed=0.0)
    assert np.abs(path - np.stack([slow(points, 1 / 30, 100.0) for points in path]))[30:].max() > 30


def test_batches_hold_at_most_batch_size(pose: Pose) -> None:
    boxes = np.tile([[20.0, 20, 60, 60]], (9, 1))
    assert len(pose(dot(50, 50), boxes)) == 9
    assert pose.estimator.batches == [4, 4, 1]
    assert pose(dot(50, 50), np.zeros((0, 4))) == []


def test_published_weights(tmp_path: Path) -> None:
    shape = {"joints": 16, "stages": 1, "channels": 16, "depth": 1}
    network = Hourglass(**shape)
    torch.save(to_published(network), tmp_path / "w.pth")
    model = {"_target_": "featherpose.models.hourglass.Hourglass", **shape}
    protocol = {"name": "raw", "flip": False, "shift": False, "decoder": "argmax"}
    pose = Pose.from_weights(
        tmp_path / "w.pth", model, {"skeleton": "mpii", "aspect": 0.75}, protocol, device="cpu"
    )
    assert pose.description.input_size == (256, 192)
    (person,) = pose(dot(50, 70))
    assert person.keypoints.shape == (16, 2)
    with pytest.raises(PoseError, match="of another shape"):
        Pose.from_weights(
            tmp_path / "w.pth", {**model, "channels": 20}, {"skeleton": "mpii"}, protocol
        )
