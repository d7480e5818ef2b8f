"""The crop cache: the same pixels, never stale, safe under several processes and after a kill."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import pickle
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from featherpose import image
from featherpose.data import cache
from featherpose.data.augment import Augment
from featherpose.data.dataset import CropDataset
from featherpose.data.readers import coco
from featherpose.errors import PoseError
from featherpose.person import People
from featherpose.skeletons import COCO

SIZE = (96, 72)
WILD = {"scale": (0.65, 1.35), "rotation": 60.0, "flip": 0.5, "half_body": 0.5}


def small_people(root):
    """People small enough that their regions are parts of the picture."""
    people = coco.read(root, "train")
    for i, person in enumerate(people.persons):
        person.scale[:] *= 0.3
        person.centre[:] += 2 * i
        person.joints[:] = person.joints * 0.3 + 50
    return people


def planned(root, augment=None):
    return cache.plan(small_people(root), image.load, COCO, (SIZE[1], SIZE[0]), augment)


def opened(root, folder, augment=None):
    plan = planned(root, augment)
    return cache.open_crops(plan, folder, image.load)


@pytest.mark.parametrize("augment", [None, Augment(**WILD)])
def test_same_pixels(tiny_coco, tmp_path, augment):
    people = small_people(tiny_coco)
    plain = CropDataset(people, image.load, COCO, SIZE, augment)
    crops = opened(tiny_coco, tmp_path / "cache", augment)
    assert (crops.plan.regions[:, 0] > 0).any()
    assert (crops.plan.regions[:, 2] < 160).any()
    cached = CropDataset(
        people, _refuse, COCO, SIZE, augment, cache=pickle.loads(pickle.dumps(crops))
    )
    for epoch in range(40 if augment else 1):
        for index in range(len(people.persons)):
            a, b = plain[(epoch, index)], cached[(epoch, index)]
            assert all(torch.equal(torch.as_tensor(a[key]), torch.as_tensor(b[key])) for key in a)


def _refuse(person):
    raise AssertionError(f"{person.image} was decoded")


def test_same_pixels_on_real_pictures(real_data, tmp_path):
    augment = Augment(**WILD)
    people = coco.read(real_data / "coco", "val")
    people = People(people.persons[:60])
    plan = cache.plan(people, image.load, COCO, (192, 256), augment)
    crops = cache.open_crops(plan, tmp_path, image.load)
    plain = CropDataset(people, image.load, COCO, (256, 192), augment)
    cached = CropDataset(people, _refuse, COCO, (256, 192), augment, cache=crops)
    for index in range(60):
        assert torch.equal(plain[(7, index)]["image"], cached[(7, index)]["image"])


def test_size_is_told_beforehand(tiny_coco, tmp_path, capsys):
    plan = planned(tiny_coco)
    crops = cache.open_crops(plan, tmp_path / "cache", image.load)
    assert (crops.folder / "pixels.bin").stat().st_size == plan.size
    assert cache.gigabytes(plan.size) in capsys.readouterr().err
    cache.open_crops(plan, tmp_path / "cache", image.load)
    assert capsys.readouterr().err == ""  # made once


def test_people_of_one_picture_share_a_region(tiny_coco):
    path = tiny_coco / "annotations/person_keypoints_train2017.json"
    content = json.loads(path.read_text())
    for annotation in content["annotations"]:
        annotation["image_id"] = 1
    path.write_text(json.dumps(content))
    plan = cache.plan(
        coco.read(tiny_coco, "train"), image.load, COCO, (SIZE[1], SIZE[0]), Augment(**WILD)
    )
    assert len(plan.regions) == 1
    assert plan.region_of.tolist() == [0] * 6


def test_anything_that_matters_gives_another_key(tiny_coco):
    first = planned(tiny_coco).key
    assert planned(tiny_coco).key == first
    assert planned(tiny_coco, Augment(**WILD)).key != first
    os.utime(tiny_coco / "train2017/000000000001.jpg", (1, 1))
    touched = planned(tiny_coco).key
    assert touched != first
    path = tiny_coco / "annotations/person_keypoints_train2017.json"
    path.write_text(
        path.read_text().replace("[40.0, 10.0, 80.0, 100.0]", "[41.0, 10.0, 80.0, 100.0]", 1)
    )
    assert planned(tiny_coco).key not in (first, touched)


def test_person_outside_the_picture(tiny_coco, tmp_path):
    people = coco.read(tiny_coco, "train")
    people.persons[0].centre[:] = (-900, 5000)
    plan = cache.plan(people, image.load, COCO, (SIZE[1], SIZE[0]))
    cached = CropDataset(
        people, _refuse, COCO, SIZE, cache=cache.open_crops(plan, tmp_path, image.load)
    )
    assert not cached[0]["image"].any()


def test_no_room(tiny_coco, tmp_path, monkeypatch):
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(
        PoseError,
        match=r"only 0\.0 MB are free there\. Choose another disk with data\.cache_folder",
    ):
        opened(tiny_coco, tmp_path / "cache")


def test_a_folder_that_nothing_can_be_written_into(tiny_coco, tmp_path, monkeypatch):
    """The writer is patched: root may write into any folder."""
    folder = tmp_path / "cache"
    kept = opened(tiny_coco, folder)
    plain = Path.open

    def read_only(path, mode="r", *rest, **more):
        if set(mode) & set("wax+") and folder in path.parents:
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return plain(path, mode, *rest, **more)

    monkeypatch.setattr(Path, "open", read_only)
    assert len(opened(tiny_coco, folder).plan.regions) == len(kept.plan.regions)  # made before
    with pytest.raises(PoseError, match=r"can't be made in .*cache .*set data\.cache_folder"):
        opened(tiny_coco, folder, Augment(**WILD))


def test_broken_picture_leaves_nothing_behind(tiny_coco, tmp_path):
    path = tiny_coco / "train2017/000000000005.jpg"
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(PoseError, match=r"000000000005\.jpg is truncated"):
        opened(tiny_coco, tmp_path / "cache")
    assert not [p for p in (tmp_path / "cache").iterdir() if p.is_dir()]


def build_slowly(root: Path, folder: Path, pause: float, answers) -> None:
    """In a process of its own: how many pictures it decoded, and one region's sum."""
    decoded = []

    def slow(person):
        decoded.append(person.image)
        time.sleep(pause)
        return image.load(person)

    plan = cache.plan(coco.read(root, "train"), slow, COCO, (SIZE[1], SIZE[0]))
    crops = cache.open_crops(plan, folder, slow)
    answers.put((len(decoded), int(crops[3][0].sum(dtype=np.int64))))


def sum_of_the_fourth(root: Path) -> int:
    """Of the fourth person's region, cut from the picture as it was written."""
    whole = image.read(root / "train2017/000000000004.jpg")
    plan = cache.plan(coco.read(root, "train"), image.load, COCO, (SIZE[1], SIZE[0]))
    x, y, width, height = plan.regions[plan.region_of[3]]
    return int(whole[y : y + height, x : x + width].sum(dtype=np.int64))


def test_several_processes_and_a_kill(tiny_coco, tmp_path):
    folder = tmp_path / "cache"
    fork = multiprocessing.get_context("fork")
    answers = fork.Queue()

    killed = fork.Process(target=build_slowly, args=(tiny_coco, folder, 60, answers))
    killed.start()
    deadline = time.monotonic() + 60
    while not list(folder.glob(".building-*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    killed.kill()
    killed.join()
    assert list(folder.glob(".building-*"))  # what it leaves

    together = [
        fork.Process(target=build_slowly, args=(tiny_coco, folder, 0.05, answers)) for _ in range(3)
    ]
    for process in together:
        process.start()
    got = [answers.get(timeout=120) for _ in together]
    for process in together:
        process.join()
    assert sorted(decoded for decoded, _ in got) == [0, 0, 6]  # one builds, the others wait for it
    assert {total for _, total in got} == {sum_of_the_fourth(tiny_coco)}
    assert not list(folder.glob(".building-*"))


def test_who_waits_builds_when_the_builder_is_killed(tiny_coco, tmp_path):
    """Two runs on one data set: one builds, the other waits for it, and the first is killed."""
    folder = tmp_path / "cache"
    fork = multiprocessing.get_context("fork")
    answers = fork.Queue()
    builder = fork.Process(target=build_slowly, args=(tiny_coco, folder, 60, answers))
    builder.start()
    deadline = time.monotonic() + 60
    while not list(folder.glob(".building-*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    waiting = fork.Process(target=build_slowly, args=(tiny_coco, folder, 0, answers))
    waiting.start()
    waiting.join(timeout=1)
    assert waiting.is_alive(), "it reads nothing that is half built"
    builder.kill()
    builder.join()
    decoded, total = answers.get(timeout=120)
    waiting.join()
    assert decoded == 6
    assert total == sum_of_the_fourth(tiny_coco)
    assert not list(folder.glob(".building-*"))


def test_cut_off_file_is_made_again(tiny_coco, tmp_path):
    crops = opened(tiny_coco, tmp_path)
    pixels = crops.folder / "pixels.bin"
    pixels.write_bytes(pixels.read_bytes()[:-1])
    again = opened(tiny_coco, tmp_path)
    assert (again.folder / "pixels.bin").stat().st_size == again.plan.size
