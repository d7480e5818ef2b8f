"""`predict` as people type it, with the network that ships: what it writes, says and refuses."""

from __future__ import annotations

import csv
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from featherpose.inference.predicting import Result, predict
from featherpose.person import Person
from featherpose.synthetic import painted


@pytest.fixture(scope="module")
def persons() -> list[Person]:
    return painted.read(split="val", people=3, skeleton="coco").persons


@pytest.fixture
def pictures(persons: list[Person], tmp_path: Path) -> Path:
    """Three painted people, and where they are, as COCO's records."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    boxes = []
    for n, person in enumerate(persons):
        assert cv2.imwrite(str(folder / f"{n}.png"), painted.load(person)[..., ::-1])
        seen = person.joints[person.visible > 0]
        low, high = seen.min(axis=0) - 8, seen.max(axis=0) + 8
        box = [*low, *(high - low)]
        boxes += [{"file_name": f"{n}.png", "bbox": box, "score": score} for score in (0.9, 0.3)]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    return folder


def video(path: Path, still: np.ndarray, frames: int = 4) -> None:
    """Of a picture that moves to the right."""
    size = still.shape[1], still.shape[0]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, size)
    for step in range(frames):
        writer.write(np.roll(still, 2 * step, axis=1))
    writer.release()


def test_pictures_and_a_file_of_boxes(typed, pictures: Path, persons: list[Person]) -> None:
    """Half of the boxes are below `box_threshold`."""
    answer = typed("predict source=pictures boxes=boxes.json flip=true decoder=dark out=found")
    assert answer.code == 0, answer.text
    assert "3 pictures, 3 poses" in answer.out and "light, which ships" in answer.out
    left = "boxes: boxes.json: of its 6 records 3 are left out for their score, size or category"
    assert f"{left}\n" in answer.out
    folder = pictures.parent / "found"
    names = ["0.jpg", "1.jpg", "2.jpg", "keypoints.csv", "keypoints.json"]
    assert sorted(path.name for path in folder.iterdir()) == names
    near = []
    for record, person in zip(
        json.loads((folder / "keypoints.json").read_text()), persons, strict=True
    ):
        points = np.reshape(record["keypoints"], (17, 3))[:, :2]
        size = np.sqrt(np.ptp(person.joints, axis=0).prod())
        near.append((np.linalg.norm(points - person.joints, axis=1) < 0.2 * size).mean())
    assert np.mean(near) > 0.4, "painted people are not what it was trained on"
    assert len(list(csv.DictReader((folder / "keypoints.csv").open()))) == 3
    drawn = cv2.imread(str(folder / "0.jpg")).astype(int)
    plain = cv2.imread(str(pictures / "0.png")).astype(int)
    assert drawn.shape == plain.shape and np.abs(drawn - plain).max() > 100


def test_everybody_without_pictures_until_a_limit(typed, pictures: Path) -> None:
    (pictures.parent / "found").mkdir()
    (pictures.parent / "found" / "my.txt").touch()
    line = "predict source=pictures boxes=boxes.json box_threshold=0 oks_threshold=null"
    answer = typed(f"{line} pictures=false limit=2 smooth=true out=found")
    assert answer.code == 0, answer.text
    assert "2 pictures, 4 poses" in answer.out
    assert "smooth=true is for videos" in answer.out
    found = sorted(path.name for path in (pictures.parent / "found").iterdir())
    assert found == ["keypoints.csv", "keypoints.json", "my.txt"]
    assert "written to found: keypoints.csv, keypoints.json\n" in answer.out


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux alone")
def test_odd_names_lose_nothing(typed, pictures: Path) -> None:
    """One in Latin-1, one of a digit that is no number, and both of a picture that can't be read."""
    odd = os.fsdecode(b"K\xf6ln")
    (pictures / "1.png").rename(pictures / f"{odd}.png")
    (pictures / "2.png").rename(pictures / "².png")
    (pictures / f"{odd}.jpg").touch()
    answer = typed("predict source=pictures boxes=whole labels=[coco,yolo] out=found")
    assert answer.code == 0, answer.text
    found = pictures.parent / "found"
    names = [record["file_name"] for record in json.loads((found / "keypoints.json").read_text())]
    assert names == ["0.png", f"{odd}.png", "².png"]
    rows = list(csv.DictReader((found / "keypoints.csv").open(encoding="utf-8")))
    assert [row["file"] for row in rows] == ["0.png", r"K\udcf6ln.png", "².png"]
    assert (found / f"{odd}.jpg").exists() and (found / "labels_yolo").exists()
    again = typed("predict source=pictures boxes=found/keypoints.json pictures=false out=again")
    assert "3 pictures, 3 poses" in again.out


def test_boxes_that_fit_no_picture_are_counted(typed, pictures: Path) -> None:
    line = "predict source=pictures boxes=boxes.json pictures=false out=found"
    assert "boxes:" not in typed(f"{line} box_threshold=0 oks_threshold=null").out, "all are used"
    assert "boxes:" not in typed(f"{line} limit=1").out, "who knows of the others?"
    (pictures / "1.png").rename(pictures / "other.png")
    answer = typed(line)
    assert "3 pictures, 2 poses" in answer.out
    assert "of its 6 records 1 are of no picture of the source, 3 are left out for" in answer.out


def test_a_detector_beside_boxes_is_not_asked_which_is_said(typed, pictures: Path) -> None:
    line = "predict source=pictures/0.png boxes=whole pictures=false out=found"
    said = "detector=nope.onnx is not asked: boxes=whole says where people are"
    assert said in typed(f"{line} detector=nope.onnx").out
    assert "is not asked" not in typed(f"{line} detector=none").out


def test_a_video_is_followed_and_smoothed(typed, persons: list[Person], tmp_path: Path) -> None:
    video(tmp_path / "my walk.avi", painted.load(persons[0])[..., ::-1])
    line = "predict 'source=my walk.avi' smooth=true jitter=true track_threshold=0.05 out=found"
    answer = typed(line)
    assert answer.code == 0, answer.text
    assert "4 frames, 4 poses" in answer.out
    assert "jitter: no joint stood still for a second; acceleration" in answer.out
    assert "found: jitter.json, keypoints.csv, keypoints.json, mywalk.mp4\n" in answer.out
    assert json.loads((tmp_path / "found" / "jitter.json").read_text())["acceleration"] > 0
    records = json.loads((tmp_path / "found" / "keypoints.json").read_text())
    assert [record["track_id"] for record in records] == [0, 0, 0, 0]
    drawn = cv2.VideoCapture(str(tmp_path / "found" / "mywalk.mp4"))
    assert drawn.get(cv2.CAP_PROP_FRAME_COUNT) == 4


def test_a_kill_keeps_what_was_done(typed, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*how: object) -> Iterator[Result]:
        for number, result in enumerate(predict(*how)):  # ty: ignore
            if number == 2:
                os.kill(os.getpid(), signal.SIGTERM)
            yield result

    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    own = signal.getsignal(signal.SIGTERM)
    try:
        monkeypatch.setattr("featherpose.cli.predict.predict", killed)
        answer = typed("predict source=pictures boxes=whole labels=coco out=found")
        assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, before)
    assert answer.code == 130 and not heard, answer.text
    assert "stopped; what was done is written" in answer.out and "2 pictures, 2 poses" in answer.out
    records = json.loads((pictures.parent / "found" / "keypoints.json").read_text())
    assert [record["file_name"] for record in records] == ["0.png", "1.png"]


def test_labels_that_somebody_may_have_corrected_stay(typed, pictures: Path) -> None:
    line = "predict source=pictures/0.png boxes=whole out=found"
    assert typed(f"{line} labels=yolo").code == 0
    (label,) = (pictures.parent / "found" / "labels_yolo").rglob("0.txt")
    label.write_text("corrected")
    for kinds in ("yolo", "[coco,yolo]"):
        answer = typed(f"{line} labels={kinds}")
        assert answer.code == 2 and "labels_yolo is there already" in answer.err
        assert label.read_text() == "corrected"
        assert not (pictures.parent / "found" / "labels_coco").exists()
    assert typed(f"{line} labels=coco").code == 0, "these are new"
    assert "There is no labels=3" in typed(f"{line} labels=3").err


def test_a_person_who_fills_the_picture_does_so_in_every_frame(
    typed, persons: list[Person], tmp_path: Path
) -> None:
    video(tmp_path / "walk.avi", painted.load(persons[0])[..., ::-1])
    answer = typed("predict source=walk.avi boxes=whole track_threshold=0.05 out=found")
    assert answer.code == 0, answer.text
    records = json.loads((tmp_path / "found" / "keypoints.json").read_text())
    assert len(records) == 4 and len({tuple(record["bbox"]) for record in records}) == 1


@pytest.mark.parametrize(
    "words",
    [
        "source=pictures/0.png out=pictures",
        "source=pictures out=link",
        "'source=*/0.png' out=here/../pictures",
        "source=walk.avi out=. limit=1",
        "source=link/1.png out=",
        "source=pictures out=null",
        "source=there out=pictures",
    ],
)
def test_drawings_never_take_the_place_of_what_they_are_drawn_on(
    typed, pictures: Path, words: str
) -> None:
    place = pictures.parent
    (place / "link").symlink_to(pictures)
    (place / "there").mkdir()
    (place / "there" / "a.png").symlink_to(pictures / "0.png")
    video(place / "walk.avi", np.zeros((64, 64, 3), np.uint8))
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    answer = typed(f"predict {words}")
    assert answer.code == 2 and "out=FOLDER" in answer.err, answer.text
    after = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    assert after == before


def test_keypoints_alone_may_lie_beside_the_pictures(typed, pictures: Path) -> None:
    answer = typed("predict source=pictures/0.png boxes=whole pictures=false out=pictures")
    assert answer.code == 0, answer.text
    assert (pictures / "keypoints.csv").exists() and not (pictures / "0.jpg").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("", "Say what to predict on with source="),
        ("source=nowhere.jpg", "There is no picture, folder or video"),
        ("source=pictures checkpoint=a onnx=b", "checkpoint and onnx was given"),
        ("source=pictures weights=a.pth", "say which network they are of with model="),
        ("source=pictures boxes=none.json", "There is no file of boxes none.json"),
        ("source=pictures track_threshold=2", "track_threshold is 2"),
        ("source=pictures oks_threshold=few", "oks_threshold is few"),
        ("source=pictures decoder=sharp", "sharp"),
        ("batch_size=0", "batch_size is 0; it has to be a whole number of at least 1."),
        ("batch_size=1.5", "batch_size is 1.5"),
        ("batch_size=null", "batch_size is null"),
        ("threads=abc", "threads is abc"),
        ("threads=-1", "threads is -1"),
        ("limit=abc", "limit is abc"),
        ("limit=0", "limit is 0; it has to be a whole number of at least 1."),
        ("detect_every=-3", "detect_every is -3"),
        ("draw_threshold=2", "draw_threshold is 2; it has to be a number from 0 to 1."),
        ("box_threshold=abc", "box_threshold is abc"),
        ("box_threshold=-1", "box_threshold is -1"),
        ("smoothing.cutoff=abc", "smoothing.cutoff is abc"),
        ("smoothing.cutoff=-1", "smoothing.cutoff is -1"),
        ("model=lapx data=coco", "model=lapx goes with weights= alone: light, which predicts"),
        ("protocol=raw", "protocol=raw goes with weights= alone"),
        (
            "onnx=light.onnx protocol.flip=true",
            "protocol.flip=true goes with weights= alone: onnx=",
        ),
        ("pictures=some", "pictures is some; it has to be true or false."),
    ],
)
def test_a_mistake_costs_one_sentence(typed, pictures: Path, words: str, sentence: str) -> None:
    source = "source=pictures " if words and "source=" not in words else ""
    answer = typed(f"predict {source}{words} out=found")
    assert answer.code in (1, 2) and sentence in answer.err
    assert answer.err.count("\n") == 1 and "Traceback" not in answer.text
    assert not (pictures.parent / "found").exists()
