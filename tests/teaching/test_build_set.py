"""The whole way on a handful of painted people: what is kept, where it goes, what is counted, how it goes on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from featherpose.data.packs import address, pixels, read_index, region
from featherpose.data.readers import people17
from featherpose.errors import PoseError
from featherpose.image import read as read_image
from featherpose.skeletons import COCO
from featherpose.synthetic import painted
from featherpose.teaching import build_set as room
from featherpose.teaching import prepare, sources
from featherpose.teaching.listing import Listing, of_boxes, of_persons
from featherpose.teaching.sieve import Rules
from featherpose.teaching.sources import Places
from featherpose.teaching.teacher import Teacher, Views, teach

from .test_snapshots import write_snapshot
from .test_teacher import write_teacher


def paint(folder: Path, first: int, count: int) -> list:
    """Painted people in picture files."""
    from featherpose.synthetic.formats import save_picture

    folder.mkdir(parents=True, exist_ok=True)
    persons = []
    for person in painted.read(people=count, skeleton="coco", start=first).persons:
        path = folder / f"{person.image_id}.jpg"
        save_picture(path, person)
        persons.append(replace(person, image=str(path)))
    return persons


@pytest.fixture
def world(tmp_path, monkeypatch) -> tuple[Places, dict[str, Listing], list[str]]:
    """mpii: six people whose face nobody has labelled; ccp: four whom only the teacher knows; one picture held out."""
    labelled, unlabelled = paint(tmp_path / "a", 0, 6), paint(tmp_path / "b", 6, 4)
    faceless = [
        replace(p, visible=np.where(np.arange(17) < 5, 0, p.visible).astype(np.uint8))
        for p in labelled
    ]
    boxes = [p.box for p in unlabelled]
    listings = {
        "mpii": of_persons("mpii", faceless, np.array([p.box for p in faceless])),
        "ccp": of_boxes("ccp", [p.image for p in unlabelled], [(0, 0)] * 4, boxes),
    }
    held = [labelled[0].image]
    monkeypatch.setattr(sources, "listing", lambda name, places: listings[name])
    monkeypatch.setattr(sources, "held_out", lambda places: held)
    for repository in ("DomChey/ORIU_Project", "bearpaw/clothing-co-parsing"):
        write_snapshot(tmp_path, repository, {"photos/1.jpg": b"one"})
    monkeypatch.setattr(room, "DEV", {"mpii": 2})
    monkeypatch.setattr(prepare, "Teacher", lambda path: None)
    monkeypatch.setattr(prepare, "teach", sure_teacher)
    return Places(tmp_path, tmp_path, tmp_path / "out" / "work"), listings, held


def sure_teacher(teacher, regions, boxes, zoom, shift) -> Views:
    """Says every joint is in the box's middle; of the last person its views disagree."""
    middle = (boxes[:, :2] + boxes[:, 2:] / 2) * zoom + shift
    points = np.tile(middle[:, None, None], (1, 2, 17, 1))
    if len(boxes) == 4:
        points[-1, 1] += 500
    return Views(points, np.full((len(boxes), 2, 17), 0.8))


def test_the_whole_way(world, tmp_path):
    places, _, held = world
    said: list[str] = []
    about = room.build(tmp_path / "out", places, ["mpii", "ccp"], Rules(), said.append)
    assert about["people"]["mpii"] == {
        "found": 6,
        "like a held-out picture": 1,
        "train": 3,
        "val": 2,
    }
    assert about["people"]["ccp"] == {
        "found": 4,
        "the teacher's views disagree": 1,
        "train": 3,
        "val": 0,
    }
    columns = read_index(tmp_path / "out")
    assert columns.source.tolist() == ["mpii"] * 5 + ["ccp"] * 3
    assert columns.split.tolist() == ["val"] * 2 + ["train"] * 6  # the dev split comes first
    assert Path(held[0]).name not in columns.picture.tolist()
    mpii = columns.source == "mpii"
    assert (columns.origin[mpii, :5] == 2).all()
    assert (columns.origin[~mpii] == 2).all()
    assert about["teacher"]["mpii"]["joints"] > 0
    assert 0 <= about["teacher"]["mpii"]["right"] < 1  # everything in the middle is seldom right
    written = json.loads((tmp_path / "out" / "about.json").read_text())
    assert written["packs"]["pack_0.bin"]["people"] == 8
    assert written["rules"]["least_joints"] == 8
    assert any("mpii: people in" in line for line in said)


def test_joints_and_pixels_are_those_of_the_picture(world, tmp_path):
    places, listings, _ = world
    room.build(tmp_path / "out", places, ["mpii", "ccp"], Rules(), lambda _: None)
    columns = read_index(tmp_path / "out")
    mpii = listings["mpii"]
    for row in np.flatnonzero(columns.source == "mpii"):
        number = [Path(p).name for p in mpii.picture.tolist()].index(str(columns.picture[row]))
        back = (columns.joints[row] - columns.shift[row]) / columns.zoom[row]
        human = columns.origin[row] == 1
        np.testing.assert_allclose(back[human], mpii.joints[number][human], atol=0.01)
        joint = columns.joints[row, COCO.index("left_hip")].round().astype(int)
        place = mpii.joints[number, COCO.index("left_hip")].round().astype(int)
        if human[COCO.index("left_hip")] and columns.zoom[row].max() == 1:
            picture = read_image(str(mpii.picture[number]))
            here = region(address(tmp_path / "out", columns, int(row)))
            near = picture[place[1], place[0]].astype(int) - here[joint[1], joint[0]]
            assert np.abs(near).max() < 60  # WebP's and a pixel's rounding


def test_what_is_built_is_read(world, tmp_path):
    places, _, _ = world
    room.build(tmp_path / "out", places, ["mpii", "ccp"], Rules(), lambda _: None)
    train = people17.read(tmp_path / "out", "train")
    val = people17.read(tmp_path / "out", "val")
    assert (len(train.persons), len(val.persons)) == (6, 2)
    assert all(person.visible[:5].max() == 0 for person in val.persons)
    assert people17.load(train.persons[0]).ndim == 3
    columns = read_index(tmp_path / "out" / "tiny")
    assert len(pixels(tmp_path / "out" / "tiny", columns)) == 8  # all of them: fewer than room.TINY


def test_a_second_run_goes_on_from_what_is_there(world, tmp_path, monkeypatch):
    places, _, _ = world
    room.build(tmp_path / "out", places, ["mpii"], Rules(), lambda _: None)
    monkeypatch.setattr(prepare, "teach", None)
    monkeypatch.setattr(sources, "listing", None)
    said: list[str] = []
    room.build(tmp_path / "out", places, ["mpii"], Rules(), said.append)
    assert not any(" s" in line and " in " in line.split("{")[0] for line in said)


def test_a_killed_step_is_done_again(world, tmp_path, monkeypatch):
    places, _, _ = world

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(prepare, "teach", stop)
    with pytest.raises(KeyboardInterrupt):
        room.build(tmp_path / "out", places, ["mpii"], Rules(), lambda _: None)
    monkeypatch.setattr(prepare, "teach", sure_teacher)
    about = room.build(tmp_path / "out", places, ["mpii"], Rules(), lambda _: None)
    assert about["people"]["mpii"]["train"] == 3


def test_a_real_teachers_file_on_painted_people(world, tmp_path, monkeypatch):
    places, _, _ = world
    (tmp_path / "teachers").mkdir()
    write_teacher(tmp_path / "teachers" / "tinypose256.xml")
    monkeypatch.setattr(prepare, "Teacher", Teacher)
    monkeypatch.setattr(prepare, "teach", teach)
    room.build(tmp_path / "out", places, ["mpii"], Rules(), lambda _: None)
    confidence = read_index(tmp_path / "out").confidence
    assert np.isfinite(confidence).all()
    assert confidence.max() > 0


@pytest.mark.parametrize("source", ["stanford40", "coco_more"])
def test_a_missing_snapshot_is_said_before_the_slow_steps(world, tmp_path, source):
    places, _, _ = world
    said: list[str] = []
    with pytest.raises(PoseError, match="There is no snapshot"):
        room.build(tmp_path / "out", places, ["mpii", source], Rules(), said.append)
    assert said == []


def test_nothing_is_packed_of_nobody(world, tmp_path):
    places, listings, _ = world
    listings["ccp"] = listings["ccp"].rows(np.zeros(4, bool))
    with pytest.raises(PoseError, match="nobody"):
        room.build(tmp_path / "out", places, ["ccp"], Rules(), lambda _: None)


def test_mistaken_sides_are_not_learnt_but_stay_in_the_dev_split(world, tmp_path, monkeypatch):
    places, _, _ = world
    monkeypatch.setattr(room.sieve, "mixed_up", lambda joints, *_: np.ones(len(joints), bool))
    about = room.build(tmp_path / "out", places, ["mpii", "ccp"], Rules(), lambda _: None)
    counts = about["people"]["mpii"]
    assert counts["left and right mixed up, says the teacher"] == 3
    assert (counts["train"], counts["val"]) == (0, 2)
    assert about["people"]["ccp"]["train"] == 3  # nobody has labelled them
