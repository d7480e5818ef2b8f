"""Regions in packs: what is written is read again, damage is said, a part of the packs is a set too."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from featherpose.data.packs import (
    Columns,
    address,
    join,
    pack_path,
    pixels,
    present,
    read_index,
    region,
    write_index,
    write_packs,
)
from featherpose.errors import PoseError

from ..small_sets import smooth_picture


def encoded(seed: int, size: tuple[int, int]) -> bytes:
    return cv2.imencode(".webp", smooth_picture(seed, size)[..., ::-1])[1].tobytes()


def painted_set(folder, people: int = 6, most: int = 10**6) -> Columns:
    """People of 60 x 80 and 48 x 64 in turn; every third is to validate."""
    sizes = [(60, 80) if i % 2 == 0 else (48, 64) for i in range(people)]
    regions = [encoded(i, size) for i, size in enumerate(sizes)]
    joints = np.random.default_rng(0).uniform(5, 40, (people, 17, 2)).astype(np.float32)
    origin = np.tile(np.array([1] * 12 + [2] * 5, np.uint8), (people, 1))
    columns = Columns(
        source=np.array(["lspet", "mpii"] * people)[:people],
        split=np.array(["train", "train", "val"] * people)[:people],
        picture=np.array([f"{i}.jpg" for i in range(people)]),
        person=np.arange(people),
        pack=np.zeros(people, np.int16),
        offset=np.zeros(people, np.int64),
        length=np.zeros(people, np.int32),
        size=np.array(sizes, np.int16),
        zoom=np.ones((people, 2), np.float32),
        shift=np.zeros((people, 2), np.float32),
        centre=np.array(sizes, np.float32) / 2,
        scale=np.array(sizes, np.float32) / 250,
        box=np.array([(0, 0, *size) for size in sizes], np.float32),
        area=np.full(people, 900, np.float32),
        joints=joints,
        visible=np.full((people, 17), 2, np.uint8),
        origin=origin,
        confidence=np.linspace(0.1, 0.9, people * 17).reshape(people, 17).astype(np.float16),
    )
    columns = columns.placed(write_packs(folder, regions, most))
    write_index(folder, columns)
    return columns


def test_index_and_regions_come_back(tmp_path):
    written = painted_set(tmp_path)
    found = read_index(tmp_path)
    np.testing.assert_array_equal(found.joints, written.joints)
    assert found.source.tolist() == written.source.tolist()
    picture = region(address(tmp_path, found, 3))
    assert picture.shape == (64, 48, 3)
    assert (
        np.abs(picture.astype(int) - smooth_picture(3, (48, 64))).mean() < 6
    )  # WebP loses a little


def test_all_regions_in_memory_equal_each_alone(tmp_path):
    columns = painted_set(tmp_path)
    canvas = pixels(tmp_path, columns.rows(np.array([1, 2])), threads=2)
    assert canvas.shape == (2, 80, 60, 3)
    np.testing.assert_array_equal(canvas[0, :64, :48], region(address(tmp_path, columns, 1)))
    assert not canvas[0, 64:].any()
    assert not canvas[0, :, 48:].any()
    np.testing.assert_array_equal(canvas[1], region(address(tmp_path, columns, 2)))


def test_packs_hold_so_much_at_most_and_may_be_missing(tmp_path):
    length = len(encoded(0, (60, 80)))
    columns = painted_set(tmp_path, most=3 * length)
    assert columns.pack.max() >= 1
    assert all(path.stat().st_size <= 3 * length for path in tmp_path.glob("pack_*.bin"))
    pack_path(tmp_path, 0).unlink()
    np.testing.assert_array_equal(present(tmp_path, columns), columns.pack != 0)


def test_two_indices_joined(tmp_path):
    columns = painted_set(tmp_path)
    both = join([columns, columns.rows(columns.source == "mpii")])
    assert len(both) == 9
    assert both.person.tolist() == [0, 1, 2, 3, 4, 5, 1, 3, 5]


def test_damage_is_said(tmp_path):
    columns = painted_set(tmp_path)
    path = pack_path(tmp_path, 0)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(PoseError, match="shorter than"):
        present(tmp_path, columns)
    moved = replace(columns, offset=columns.offset + 7)
    with pytest.raises(PoseError, match="holds no picture"):
        region(address(tmp_path, moved, 0))
    with pytest.raises(PoseError, match="can't be read"):
        region(str(tmp_path / "nothing.bin@0+4"))
    (tmp_path / "index.npz").write_bytes(b"junk")
    with pytest.raises(PoseError, match="no index of packs"):
        read_index(tmp_path)
