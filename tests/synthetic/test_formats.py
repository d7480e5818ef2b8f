"""Synthetic people on disk: the official layouts, read back by the readers to the same people."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from featherpose import image
from featherpose.data.readers import coco, lsp, mpii
from featherpose.errors import PoseError
from featherpose.person import Person
from featherpose.skeletons import LSP
from featherpose.synthetic import formats, painted

PEOPLE = 10


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("formats")
    for kind in ("coco", "mpii", "lsp", "lspet"):
        formats.write(kind, folder / kind, PEOPLE, seed=3)
    return {path.name: path for path in folder.iterdir()}


def same_joints(ours: Person, drawn: Person, tolerance: float = 1e-6) -> None:
    there = drawn.visible > 0
    np.testing.assert_array_equal(ours.visible > 0, there)
    np.testing.assert_allclose(ours.joints[there], drawn.joints[there], atol=tolerance)


def same_picture(ours: Person, drawn: Person) -> None:
    """JPEG changes single values, but not what is drawn where."""
    theirs, own = image.load(ours).astype(int), painted.load(drawn).astype(int)
    assert theirs.shape == own.shape
    assert np.abs(theirs - own).mean() < 8


@pytest.mark.parametrize(("split", "count"), [("train", 8), ("val", 2)])
def test_coco_reads_back(written: dict[str, Path], split: str, count: int) -> None:
    drawn = {p.person_id + 1: p for p in painted.read(None, split, count, 3, "coco").persons}
    ours = {p.person_id: p for p in coco.read(written["coco"], split).persons}
    assert set(drawn) <= set(ours)  # the bystanders are annotated besides
    for number, person in drawn.items():
        same_joints(ours[number], person)
        np.testing.assert_array_equal(ours[number].visible, person.visible)
        assert ours[number].area == person.area
        assert ours[number].picture_size == person.picture_size
        np.testing.assert_allclose(
            ours[number].box, person.box, atol=2.1
        )  # HRNet's clipping takes a pixel off
    same_picture(ours[min(drawn)], drawn[min(drawn)])


def test_coco_file_is_as_pycocotools_wants_it(written: dict[str, Path]) -> None:
    from pycocotools.coco import COCO

    data = COCO(str(written["coco"] / "annotations" / "person_keypoints_val2017.json"))
    for record in data.loadAnns(data.getAnnIds(catIds=data.getCatIds(["person"]))):
        mask = data.annToMask(record)
        # Only what shows is outlined, and the polygons run along pixel centres.
        assert mask.sum() == pytest.approx(record["area"], rel=0.35)
        x, y, width, height = record["bbox"]
        rows, columns = np.nonzero(mask)
        assert columns.min() >= x - 2
        assert columns.max() <= x + width + 2
        assert rows.min() >= y - 2
        assert rows.max() <= y + height + 2
        assert record["num_keypoints"] == sum(flag > 0 for flag in record["keypoints"][2::3])
    (category,) = data.loadCats(data.getCatIds())
    assert category["skeleton"][0] == [16, 14]
    assert category["skeleton"][-1] == [5, 7]


@pytest.mark.parametrize(
    "annotations",
    [
        "annot/{split}.json",
        "mpii_annotations.json",
        "mpii_human_pose_v1_u12_2/mpii_human_pose_v1_u12_1.mat",
    ],
)
@pytest.mark.parametrize(("split", "count"), [("train", 8), ("val", 2)])
def test_mpii_reads_back_in_all_forms(
    written: dict[str, Path], annotations: str, split: str, count: int
) -> None:
    drawn = painted.read(None, split, count, 3, "mpii").persons
    file = annotations.format(split="train" if split == "train" else "valid")
    ours = mpii.read(written["mpii"], split, annotations=file).persons
    first = {
        person.image_id: person for person in reversed(ours)
    }  # the main person is the first of its picture
    assert set(first) == {person.image_id + 1 for person in drawn}
    for person in drawn:
        found = first[person.image_id + 1]
        same_joints(found, person, tolerance=1e-3)
        np.testing.assert_allclose(
            found.centre, person.centre, atol=0.51
        )  # whole pixels, as in the official files
        np.testing.assert_allclose(found.scale, person.scale, rtol=1e-5)
        if split == "val":
            assert found.head_size == pytest.approx(person.head_size, abs=2e-3)
    same_picture(first[drawn[0].image_id + 1], drawn[0])


def test_mpii_forms_hold_the_same_people(written: dict[str, Path]) -> None:
    hashes = set()
    for file in (
        "annot/train.json",
        "mpii_annotations.json",
        "mpii_human_pose_v1_u12_2/mpii_human_pose_v1_u12_1.mat",
    ):
        people = mpii.read(written["mpii"], "train", annotations=file, published=False)
        hashes |= {digest for name, digest in people.sources.items() if "split" in name}
    assert len(hashes) == 1


def test_gt_valid_has_the_usual_fields(written: dict[str, Path], real_data: Path) -> None:
    official = scipy.io.loadmat(real_data / "mpii" / "detections_our_format.mat")
    ours = scipy.io.loadmat(written["mpii"] / "annot" / "gt_valid.mat")
    for key in ("jnt_missing", "pos_gt_src", "headboxes_src"):
        assert ours[key].shape[:-1] == official[key].shape[:-1]
        assert ours[key].dtype == official[key].dtype
    names = [[str(name[0]) for name in mat["dataset_joints"][0]] for mat in (ours, official)]
    assert names[0] == names[1]


def test_mpii_entries_have_the_usual_keys(written: dict[str, Path], real_data: Path) -> None:
    from featherpose.data.readers.source import read_json

    theirs = read_json(real_data / "mpii" / "mpii_annotations.json.gz")
    ours = json.loads((written["mpii"] / "mpii_annotations.json").read_text())
    assert all(list(entry) == list(theirs[0]) for entry in ours)
    assert {0, 1} <= {entry["numOtherPeople"] for entry in ours}
    for entry in ours:  # one other person stands without a list around it, none as MATLAB's empty array; there as here
        example = next(e for e in theirs if e["numOtherPeople"] == entry["numOtherPeople"])
        for key in ("joint_others", "scale_provided_other", "objpos_other"):
            assert type(entry[key]) is type(example[key])
            if entry["numOtherPeople"]:
                assert np.shape(entry[key]) == np.shape(example[key])
            else:
                assert entry[key] == example[key]


def test_lsp_and_lspet_keep_their_axes_and_flags(written: dict[str, Path]) -> None:
    table = scipy.io.loadmat(written["lsp"] / "joints.mat")["joints"]
    assert table.shape == (3, 14, PEOPLE)
    assert table.dtype == np.float64
    drawn = [
        p
        for split in ("train", "val")
        for p in painted.read(None, split, PEOPLE // 2, 3, "lsp").persons
    ]
    for number, person in enumerate(drawn):
        np.testing.assert_allclose(table[:2, :, number].T, person.joints)
        np.testing.assert_array_equal(
            table[2, :, number] == 1, person.visible < 2
        )  # here 1 says occluded
    assert sorted(os.listdir(written["lsp"] / "images"))[0] == "im0001.jpg"

    table = scipy.io.loadmat(written["lspet"] / "joints.mat")["joints"]
    assert table.shape == (len(LSP), 3, PEOPLE)
    drawn = painted.read(None, "train", PEOPLE, 3, "lsp", start=1_000_000).persons
    ours = lsp.read_extended(
        written["lspet"], "train", train=(1, PEOPLE), least_joints=1, least_torso=0.0
    ).persons
    assert len(ours) == PEOPLE
    for found, person in zip(ours, drawn, strict=True):
        same_joints(found, person)  # here 1 says annotated
        np.testing.assert_array_equal(table[:, 2, found.person_id - 1] == 1, person.visible > 0)
    same_picture(ours[0], drawn[0])


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(formats, "save_picture", full)
    with pytest.raises(PoseError, match=r"disk of .* is full"):
        formats.write("lsp", tmp_path, 4)


def script(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / "scripts" / "make_synthetic.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_script_refuses_what_it_must(root: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    done = script(root, "--format", "lspet", "--people", "1", "--out", str(tmp_path))
    assert done.returncode == 1
    assert "not empty" in done.stderr
    assert "--force" in done.stderr
    assert os.listdir(tmp_path) == ["mine.txt"]
    (tmp_path / "file").write_text("")
    done = script(
        root, "--format", "lspet", "--people", "1", "--out", str(tmp_path / "file" / "below")
    )
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_the_script_writes(root: Path, tmp_path: Path) -> None:
    done = script(root, "--format", "lspet", "--people", "3", "--out", str(tmp_path / "new"))
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "new" / "images").iterdir())) == 3
