"""A teacher who is asked once: what it said of plain crops follows every augmentation."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from featherpose import crop
from featherpose.data.augment import Augment
from featherpose.data.datamodule import PoseDataModule
from featherpose.errors import PoseError
from featherpose.heatmaps import decode, encode
from featherpose.metrics.pck import PCK
from featherpose.skeletons import COCO
from featherpose.synthetic import painted
from featherpose.training.taught_once import taught_once
from featherpose.training.teachers import Teacher

SIZE = (64, 48)
PEOPLE = {"train": 6, "val": 2, "test": 2}


def some_people(folder: Path, **keys) -> PoseDataModule:
    return PoseDataModule(
        name="painted",
        skeleton="coco",
        read=lambda root, split: painted.read(split=split, people=PEOPLE, skeleton=COCO),
        load=painted.load,
        metric=PCK,
        input_size=SIZE,
        workers=0,
        cache_folder=folder,
        **keys,
    )


class Knows:
    """A teacher who knows the labels, in the order in which it is asked."""

    def __init__(self, data: PoseDataModule) -> None:
        self.plain = data.dataset(data.train_people)
        self.asked = 0

    def __call__(self, images: Tensor) -> Tensor:
        rows = [self.plain[self.asked + i]["joints"] for i in range(len(images))]
        self.asked += len(images)
        joints = torch.stack(rows) / 4
        return encode(joints, torch.ones(joints.shape[:2]), (16, 12), 1.5, False, None)[0]


def test_what_was_kept_lies_where_each_augmented_crop_has_its_joints(tmp_path: Path) -> None:
    data = some_people(tmp_path)
    knows = Knows(data)
    kept = taught_once(Teacher(knows, COCO, COCO.joints, SIZE), "abc", data)
    assert kept.maps.shape == (6, 17, 16, 12) and kept.path.parent == tmp_path
    augment = Augment(scale=(0.8, 1.2), rotation=40, flip=0.5)
    seen, mirrored = data.dataset(data.train_people, augment), set()
    for epoch in range(4):
        rows = [seen[epoch, i] for i in range(6)]
        index = torch.tensor([row["index"] for row in rows])
        matrix = torch.stack([row["matrix"] for row in rows])
        joints = torch.stack([row["joints"] for row in rows])
        maps, peaks = kept(index, matrix, (16, 12), 4)
        points, _ = decode(maps, "argmax")
        clear = peaks > 0.6  # the others lie outside one of both crops
        assert clear.float().mean() > 0.5
        away = (points * 4 - joints).norm(dim=-1)[clear]
        assert away.mean() < 2.5 and away.max() < 6  # a pixel of these heatmaps is 4
        mirrored |= set((np.linalg.det(matrix[:, :, :2]) < 0).tolist())
    assert mirrored == {True, False}
    # the next run reads the file
    asked = knows.asked
    taught_once(Teacher(knows, COCO, COCO.joints, SIZE), "abc", data)
    assert knows.asked == asked == 6
    taught_once(Teacher(Knows(data), COCO, COCO.joints, SIZE), "another teacher", data)
    assert len(list(tmp_path.glob("taught-*.npy"))) == 2


def test_who_is_shown_more_often_is_asked_about_once(tmp_path: Path) -> None:
    """And the file serves whatever the weights of the sources are."""
    once = some_people(tmp_path)
    kept = taught_once(Teacher(Knows(once), COCO, COCO.joints, SIZE), "abc", once)
    often = some_people(tmp_path)
    people = often.train_people
    often.__dict__["train_people"] = replace(
        people, persons=people.persons[[0, 0, 1, 2, 2, 2, 3, 4, 5]]
    )
    knows = Knows(often)
    again = taught_once(Teacher(knows, COCO, COCO.joints, SIZE), "abc", often)
    assert knows.asked == 0 and again.path == kept.path
    matrix = again.frames.float()
    maps, _ = again(torch.arange(9), matrix, (16, 12), 4)
    plain, _ = kept(torch.arange(6), kept.frames.float(), (16, 12), 4)
    torch.testing.assert_close(maps, plain[[0, 0, 1, 2, 2, 2, 3, 4, 5]])


def test_a_student_of_another_size_reads_the_same_file(tmp_path: Path) -> None:
    data = some_people(tmp_path)
    kept = taught_once(Teacher(Knows(data), COCO, COCO.joints, SIZE), "abc", data)
    person = data.train_people.persons[0]
    matrix = torch.from_numpy(crop.crop_matrix(person.centre, person.scale, (96, 128)))[None]
    maps, _ = kept(torch.tensor([0]), matrix, (32, 24), 4)
    wanted = torch.from_numpy(np.array(kept.maps[0])).float()
    torch.testing.assert_close(maps[0, :, ::2, ::2], wanted, atol=1e-3, rtol=1e-3)


def test_of_two_who_come_together_one_asks(tmp_path: Path) -> None:
    data = some_people(tmp_path)
    knows = [Knows(data), Knows(data)]
    teachers = [Teacher(each, COCO, COCO.joints, SIZE) for each in knows]
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda teacher: taught_once(teacher, "abc", data), teachers)
    np.testing.assert_array_equal(first.maps, second.maps)
    assert sorted(each.asked for each in knows) == [0, len(data.train_people.persons)]


class GoneAway(Knows):
    """Interrupted before its third batch."""

    def __call__(self, images: Tensor) -> Tensor:
        if self.asked >= 4:
            raise KeyboardInterrupt
        return super().__call__(images)


@pytest.mark.parametrize("torn", [0, 100])
def test_an_interrupted_teacher_is_asked_about_the_rest(
    torn: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a kill left half a row at the end."""
    monkeypatch.setattr("featherpose.training.taught_once.AT_ONCE", 2)
    data = some_people(tmp_path / "whole")
    whole = taught_once(Teacher(Knows(data), COCO, COCO.joints, SIZE), "abc", data)
    data = some_people(tmp_path / "half")
    with pytest.raises(KeyboardInterrupt):
        taught_once(Teacher(GoneAway(data), COCO, COCO.joints, SIZE), "abc", data)
    assert not list(tmp_path.glob("half/*.npy"))
    (part,) = tmp_path.glob("half/*.part")
    os.truncate(part, part.stat().st_size - torn)
    knows = Knows(data)
    first = knows.asked = 3 if torn else 4
    kept = taught_once(Teacher(knows, COCO, COCO.joints, SIZE), "abc", data)
    assert knows.asked == len(data.train_people.persons) > first
    np.testing.assert_array_equal(kept.maps, whole.maps)
    assert not part.exists()


def test_a_beginning_that_cannot_be_read_is_begun_anew(tmp_path: Path) -> None:
    data = some_people(tmp_path)
    kept = taught_once(Teacher(Knows(data), COCO, COCO.joints, SIZE), "abc", data)
    said = np.array(kept.maps)
    kept.path.unlink()
    kept.path.with_suffix(".part").write_bytes(b"\x93NUM")
    again = taught_once(Teacher(Knows(data), COCO, COCO.joints, SIZE), "abc", data)
    np.testing.assert_array_equal(again.maps, said)


def test_no_room_for_what_a_teacher_says_is_told_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        free = 1000

    monkeypatch.setattr("shutil.disk_usage", lambda path: Full)
    data = some_people(tmp_path)
    with pytest.raises(PoseError, match="MB are free"):
        taught_once(Teacher(Knows(data), COCO, COCO.joints, SIZE), "abc", data)
