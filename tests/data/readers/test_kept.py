"""Columns kept beside a large file: used where they are its own, made again where not, never in the way."""

from __future__ import annotations

import errno
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from featherpose.data.readers import coco, kept, mpii
from featherpose.person import Texts

from ...small_sets import TinyMpii


@dataclass
class Things:
    numbers: np.ndarray
    words: Texts
    names: dict[int, str]


class Maker:
    """Makes the same things each time, and counts how often."""

    def __init__(self, source: Path) -> None:
        self.source = source
        self.calls = 0

    def make(self) -> tuple[Things, dict]:
        self.calls += 1
        time.sleep(0.05)  # so that two at once would overlap
        things = Things(np.arange(12.0).reshape(3, 4), Texts.of(["ä", ""]), {7: "seven"})
        return things, {"skipped": {"crowd": 2}}

    def ask(self, **options: object) -> Things:
        things, facts, digest = kept.kept(Things, self.source, options, self.make)
        assert facts == {"skipped": {"crowd": 2}}
        assert digest == kept.checksum(self.source)
        np.testing.assert_array_equal(things.numbers, np.arange(12.0).reshape(3, 4))
        assert list(things.words) == ["ä", ""] and things.names == {7: "seven"}
        return things


@pytest.fixture
def maker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Maker:
    monkeypatch.setattr(kept, "LEAST", 0)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    source = tmp_path / "data" / "people.json"
    source.parent.mkdir()
    source.write_text("[1, 2, 3]")
    return Maker(source)


def files(maker: Maker) -> list[Path]:
    return sorted((maker.source.parent / ".featherpose").glob("*.columns"))


def test_it_is_made_once_and_then_mapped(maker: Maker) -> None:
    maker.ask()
    assert not maker.ask().numbers.flags.writeable  # the file's pages
    assert maker.calls == 1 and len(files(maker)) == 1


def test_other_options_are_other_columns(maker: Maker) -> None:
    maker.ask(category="person")
    maker.ask(category="dog")
    assert maker.calls == len(files(maker)) == 2


def test_a_source_of_another_time_is_known_by_its_hash(maker: Maker) -> None:
    maker.ask()
    os.utime(maker.source, (1, 1))
    maker.ask()
    assert maker.calls == 1
    maker.source.write_text("[1, 2, 4]")  # the same size
    maker.ask()
    assert maker.calls == 2
    maker.source.write_text("[1, 2, 4, 5]")
    maker.ask()
    assert maker.calls == 3 and len(files(maker)) == 1


@pytest.mark.parametrize("harm", ["empty", "beginning", "header", "numbers", "end"])
def test_a_damaged_file_is_made_again_and_said(maker: Maker, harm: str, capsys) -> None:
    maker.ask()
    (path,) = files(maker)
    data = bytearray(path.read_bytes())
    place = {"beginning": 3, "header": 60, "numbers": -200}.get(harm)
    if place is not None:
        data[place] ^= 1
    path.write_bytes({"empty": b"", "end": bytes(data[:-64])}.get(harm, bytes(data)))
    capsys.readouterr()
    maker.ask()
    said = capsys.readouterr().err.replace("\n", " ")
    assert said.count("is damaged") >= 1 and "is made again from" in said
    maker.ask()
    assert maker.calls == 2 and not capsys.readouterr().err


def test_jobs_that_start_at_once_do_the_work_once(maker: Maker) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: maker.ask(), range(4)))
    assert maker.calls == 1


def test_a_folder_that_takes_no_file(maker: Maker, tmp_path: Path) -> None:
    (maker.source.parent / ".featherpose").write_text("in the way, as a read-only folder would be")
    maker.ask()
    maker.ask()
    assert maker.calls == 1  # it lies in the user's cache
    assert (
        len(list((tmp_path / "home" / ".cache" / "featherpose" / "columns").glob("*.columns"))) == 1
    )


def test_nowhere_to_write(maker: Maker, tmp_path: Path) -> None:
    (maker.source.parent / ".featherpose").touch()
    (tmp_path / "home").touch()
    maker.ask()
    maker.ask()
    assert maker.calls == 2


def test_a_full_disk(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def full(path: Path):
        raise OSError(errno.ENOSPC, "No space left on device")
        yield

    monkeypatch.setattr(kept, "replacing", full)
    maker.ask()
    assert maker.calls == 1 and not files(maker)


def test_people_and_truth_of_a_kept_file_are_those_of_the_first_start(
    tiny_coco: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, truth = coco.read(tiny_coco, "val"), coco.ground_truth(tiny_coco)
    monkeypatch.setattr(kept, "LEAST", 0)
    for _ in range(2):
        again, same = coco.read(tiny_coco, "val"), coco.ground_truth(tiny_coco)
        for name in ("joints", "visible", "centre", "scale", "box", "area", "person_id"):
            np.testing.assert_array_equal(
                getattr(again.persons, name), getattr(first.persons, name)
            )
        assert again.persons.images() == first.persons.images()
        assert (again.skipped, again.sources) == (first.skipped, first.sources)
        np.testing.assert_array_equal(same.keypoints, truth.keypoints)
        assert (same.names, len(same)) == (truth.names, len(truth))
    (folder,) = tiny_coco.rglob(".featherpose")
    assert len(list(folder.glob("*.columns"))) == 2


@pytest.mark.parametrize("form", ["mpii_annotations.json", "mpii_human_pose_v1_u12_1.mat"])
def test_mpii_is_kept_by_its_file_and_its_ground_truth(
    tiny_mpii: TinyMpii, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    tiny_mpii.write_flat()
    tiny_mpii.write_official()
    read = partial(mpii.read, tiny_mpii.root, "val", annotations=form, published=False)
    first = read()
    monkeypatch.setattr(kept, "LEAST", 0)
    read()
    monkeypatch.setattr(mpii, "_read_truth", None)  # nothing is parsed again
    again = read()
    assert (again.skipped, again.sources) == (first.skipped, first.sources)
    np.testing.assert_array_equal(again.persons.head_size, first.persons.head_size)
    assert again.persons.images() == first.persons.images()
    monkeypatch.undo()
    monkeypatch.setattr(kept, "LEAST", 0)
    for person in tiny_mpii.persons:
        person["head"] = person["head"] * 2
    tiny_mpii.write_truth()
    if form.endswith(".mat"):
        tiny_mpii.write_official()
    assert read().persons.head_size[0] == pytest.approx(2 * first.persons.head_size[0])


def test_pictures_that_went_since_are_missed(
    tiny_coco: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "LEAST", 0)
    found = coco.read(tiny_coco, "val")
    gone = Path(found.persons[0].image)
    gone.unlink()
    left = coco.read(tiny_coco, "val", pictures="skip")
    assert str(gone) not in left.persons.images()
    assert left.skipped["picture missing"] == len(found.persons) - len(left.persons)


def test_the_header_is_plain_text(maker: Maker) -> None:
    maker.ask()
    _, _, rest = files(maker)[0].read_bytes().split(b"\n", 2)
    assert json.JSONDecoder().raw_decode(rest.decode("latin-1"))[0]["facts"]
