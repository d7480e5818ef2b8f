"""SLEAP and DeepLabCut through sleap-io, on files that sleap-io itself writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from featherpose.cli import data_import
from featherpose.importing import tracked
from featherpose.importing.labels import named
from tests.small_sets import random_joints, write_picture

NODES = ["head", "legL", "legR", "tail"]


def sleap(folder: Path, frames: int = 6):
    """Labels of one fly in picture files; its last leg is missing in each second frame."""
    sio = pytest.importorskip("sleap_io")
    skeleton = sio.Skeleton(nodes=NODES, edges=[("head", "tail")], symmetries=[("legL", "legR")])
    files = [folder / "fly one" / f"img{i:03d}.png" for i in range(frames)]
    for i, file in enumerate(files):
        write_picture(file, i)
    video = sio.Video.from_filename([str(file) for file in files])
    made = []
    for i in range(frames):
        points = random_joints(len(NODES), i)
        if i % 2:
            points[2] = np.nan
        instance = sio.Instance.from_numpy(points, skeleton=skeleton)
        made.append(sio.LabeledFrame(video=video, frame_idx=i, instances=[instance]))
    return sio, sio.Labels(made)


def test_sleap(tmp_path: Path) -> None:
    sio, labels = sleap(tmp_path)
    sio.save_file(labels, str(tmp_path / "fly.slp"))
    read = tracked.read(tmp_path / "fly.slp")
    assert read is not None
    read = named(read, None)
    assert read.joints == ["head", "left_leg", "right_leg", "tail"]
    assert read.limbs == [(0, 3)]
    assert [p.path is not None for p in read.pictures] == [True] * 6
    assert [p.group for p in read.pictures] == ["fly one"] * 6
    for i, person in enumerate(read.people):
        assert person.visible.tolist() == [2, 2, 0 if i % 2 else 2, 2]
        seen = person.visible > 0
        np.testing.assert_allclose(person.joints[seen], random_joints(len(NODES), i)[seen])


def test_a_project_of_deeplabcut(tmp_path: Path) -> None:
    pytest.importorskip("sleap_io")
    folder = tmp_path / "labeled-data" / "fly"
    lines = [
        "scorer,," + ",me" * 8,
        "bodyparts,,," + ",".join(f"{n},{n}" for n in NODES),
        "coords,,,x,y,x,y,x,y,x,y",
    ]
    for i in range(5):
        write_picture(folder / f"img{i:03d}.png", i)
        cells = [f"{value}" for value in random_joints(len(NODES), i).ravel()]
        lines.append(f"labeled-data,fly,img{i:03d}.png," + ",".join(cells))
    (folder / "CollectedData_me.csv").write_text("\n".join(lines) + "\n")
    read = tracked.read(tmp_path)
    assert read is not None
    assert read.tool == "DeepLabCut"
    assert len(read.people) == 5
    for i, person in enumerate(read.people):
        np.testing.assert_allclose(person.joints, random_joints(len(NODES), i))


def test_a_video_stands_on_one_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sio, labels = sleap(tmp_path)
    sio.save_file(labels, str(tmp_path / "fly.slp"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Exception, match="All pictures are one video"):
        data_import.main([str(tmp_path / "fly.slp"), "--out", "data/fly", "--yes"])
    assert (
        data_import.main(
            [str(tmp_path / "fly.slp"), "--out", "data/fly", "--yes", "--by", "picture"]
        )
        == 0
    )
