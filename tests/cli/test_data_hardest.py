"""`featherpose data hardest`: a sheet, a table and labels to correct, of the pictures that are doubted most."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from featherpose import image
from featherpose.cli import data_hardest
from featherpose.errors import PoseError, UsageError
from tests.small_sets import write_picture


def test_the_doubtful_pictures_come_out_ready_to_be_labelled(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    shutil.copyfile(root / "docs/images/astronaut_pose.jpg", photos / "clear.jpg")
    for number in range(2):
        write_picture(photos / f"blobs{number}.png", number)
    (photos / "broken.png").write_bytes(b"nothing")
    words = [str(photos), "--count", "2", "--out", str(out), "--labels", "coco,yolo"]
    assert data_hardest.main(words) == 0
    said = capsys.readouterr().out
    assert "left out: The picture" in said
    assert "3 pictures. Doubt: half of them below" in said
    with (out / "hardest.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {Path(row["file"]).name for row in rows} == {"blobs0.png", "blobs1.png"}
    assert float(rows[0]["doubt"]) >= float(rows[1]["doubt"]) > 0.5
    assert image.read(out / "hardest.png").std() > 10
    content = json.loads((out / "labels_coco/annotations/predicted.json").read_text())
    assert {each["file_name"] for each in content["images"]} == {"blobs0.png", "blobs1.png"}
    assert (out / "labels_yolo").is_dir()
    with pytest.raises(UsageError, match=r"labels_coco is there already.*--out FOLDER"):
        data_hardest.main(words)


def test_what_cannot_be_ranked_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PoseError, match="There is no picture, folder or video"):
        data_hardest.main([str(tmp_path / "nowhere")])
    with pytest.raises(UsageError, match="--count is 0"):
        data_hardest.main([str(tmp_path), "--count", "0"])
    with pytest.raises(UsageError, match="--threshold is 2"):
        data_hardest.main([str(tmp_path), "--threshold", "2"])
    with pytest.raises(UsageError, match="--every is 0"):
        data_hardest.main([str(tmp_path), "--every", "0"])


def test_a_videos_doubtful_frames_become_pictures(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clear = cv2.imread(str(root / "docs/images/astronaut_pose.jpg"))
    clear = cv2.resize(clear, (160, 160))
    write_picture(tmp_path / "blobs.png", 0, (160, 160))
    blobs = cv2.imread(str(tmp_path / "blobs.png"))
    video = tmp_path / "a walk.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (160, 160))
    for picture in [clear] * 6 + [blobs] * 6:
        writer.write(picture)
    writer.release()
    out = tmp_path / "out"
    with pytest.raises(PoseError, match="was judged: it is short; lower --every"):
        data_hardest.main([str(video), "--every", "40"])
    words = [str(video), "--every", "3", "--count", "2", "--out", str(out)]
    assert data_hardest.main(words) == 0
    # frames 3, 6 and 9: the first and the last frame have no two neighbours
    assert "3 frames. Doubt: half of them below" in capsys.readouterr().out
    with (out / "hardest.csv").open() as file:
        names = [Path(row["file"]).name for row in csv.DictReader(file)]
    assert len(set(names)) == 2
    assert names[0] in ("a_walk_000006.png", "a_walk_000009.png")
    for name in names:
        frame = cv2.imread(str(out / "frames" / name))
        true = clear if name.endswith("3.png") else blobs
        assert np.abs(frame.astype(int) - true).mean() < 12  # JPEG's loss
    content = json.loads((out / "labels_coco/annotations/predicted.json").read_text())
    assert {each["file_name"] for each in content["images"]} == set(names)


def test_a_files_boxes_are_of_every_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video, boxes = tmp_path / "walk.avi", tmp_path / "boxes.json"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (160, 160))
    for number in range(4):
        write_picture(tmp_path / "blobs.png", number, (160, 160))
        writer.write(cv2.imread(str(tmp_path / "blobs.png")))
    writer.release()
    places = [[10 * number, 10, 60, 90] for number in range(4)]
    records = [{"image_id": number, "bbox": box} for number, box in enumerate(places)]
    boxes.write_text(json.dumps(records))
    rows = []
    monkeypatch.setattr(data_hardest, "write_table", lambda path, found, alike: rows.extend(found))
    words = [str(video), "--every", "1", "--boxes", str(boxes), "--out", str(tmp_path / "out")]
    assert data_hardest.main(words) == 0
    assert {row.frame: row.people[0].box.tolist() for row in rows} == {1: places[1], 2: places[2]}
