"""Every kind of damage shows in the report; a good set passes; the script's exit code says which."""

from __future__ import annotations

import json
from functools import partial

import cv2
import numpy as np
import pytest

from featherpose import image
from featherpose.cli import data_check
from featherpose.data.augment import Augment
from featherpose.data.datamodule import PoseDataModule
from featherpose.data.doctor import checks
from featherpose.data.doctor.sheets import write_sheets
from featherpose.data.doctor.targets import refuse_nothing
from featherpose.data.readers import coco, lsp
from featherpose.errors import PoseError, UsageError
from featherpose.metrics.oks import OKS
from featherpose.metrics.pck import PCK, PCKh
from featherpose.skeletons import COCO


def module(root, **changes) -> PoseDataModule:
    keys = {
        "name": "mine",
        "skeleton": "coco",
        "read": coco.read,
        "load": image.load,
        "metric": OKS,
        "root": root,
    }
    return PoseDataModule(**(keys | {"aspect": 0.75, "input_size": (128, 96)} | changes))


def found(results, split="train") -> dict[str, checks.Finding]:
    (result,) = [r for r in results if r.split == split]
    return {finding.what: finding for finding in result.findings if finding.level != "note"}


def edit(root, change, split="train"):
    path = root / f"annotations/person_keypoints_{split}2017.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.fixture
def sound(tiny_coco):
    """Tiny COCO whose people stand upright and whose splits share no picture."""
    pose = np.array(
        [
            (80, 20), (83, 18), (77, 18), (86, 19), (74, 19), (92, 35), (68, 35), (98, 50), (62, 50), (100, 65),
            (60, 65), (88, 65), (72, 65), (88, 82), (72, 82), (88, 99), (72, 99),
        ],
        float,
    )  # fmt: skip

    def stand(content):
        for i, annotation in enumerate(content["annotations"]):
            table = np.concatenate([pose + i, np.full((17, 1), 2)], axis=1)
            annotation["keypoints"] = table.ravel().tolist()

    for split in ("train", "val"):
        edit(tiny_coco, stand, split)
    for i in range(6):
        small = np.random.default_rng(100 + i).integers(0, 256, (12, 16, 3), dtype=np.uint8)
        cv2.imwrite(str(tiny_coco / f"val2017/{i + 1:012d}.jpg"), cv2.resize(small, (160, 120)))
    return tiny_coco


def test_sound_set_is_sound(sound):
    results = checks.examine(module(sound))
    assert found(results) == {}
    assert found(results, "val") == {}
    assert checks.healthy(results)


@pytest.mark.parametrize(
    ("metric", "skeleton", "main"),
    [
        (OKS, "coco", "AP"),
        (PCK, "coco", "PCK@0.2"),
        (PCK, {"name": "bare", "joints": COCO.joints}, "PCKbox@0.1"),
        (OKS, {"name": "bare", "joints": COCO.joints}, "AP(sigma 0.067)"),
    ],
)
def test_the_measure_is_named(sound, metric, skeleton, main):
    read = partial(coco.read, skeleton=skeleton)
    results = checks.examine(module(sound, metric=metric, skeleton=skeleton, read=read), quick=True)
    assert [f.what for f in results[1].findings if "scored" in f.what] == [f"scored by {main}"]
    assert checks.healthy(results)


def test_a_measure_that_the_annotations_do_not_feed_is_an_error(sound):
    results = checks.examine(module(sound, metric=PCKh), quick=True)
    assert "need" in found(results, "val")["nobody can be scored"].examples[0]
    assert not checks.healthy(results)


def test_pictures(sound):
    (sound / "train2017/000000000001.jpg").unlink()
    path = sound / "train2017/000000000002.jpg"
    path.write_bytes(path.read_bytes()[:-300])
    cv2.imwrite(str(sound / "train2017/000000000003.jpg"), np.zeros((120, 160, 3), np.uint8))
    cv2.imwrite(str(sound / "train2017/000000000004.jpg"), np.full((60, 80, 3), 9, np.uint8))
    results = checks.examine(module(sound))
    what = found(results)
    assert what["pictures missing"].examples[0].endswith("000000000001.jpg")
    assert what["pictures unreadable"].count == 2
    assert "truncated" in what["pictures unreadable"].examples[0]
    assert "80 x 60 pixels, but the annotation" in what["pictures unreadable"].examples[1]
    assert what["pictures of one colour"].count == 1
    assert not checks.healthy(results)
    assert set(found(checks.examine(module(sound), quick=True))) == {"pictures missing"}


def test_people(sound):
    def change(content):
        a = content["annotations"]
        a[1]["id"] = a[0]["id"]  # twice the same id
        a[2].update(image_id=4, keypoints=list(a[3]["keypoints"]))  # twice the same person
        a[2]["keypoints"][:3], a[3]["keypoints"][:3] = (
            [7, 7, 0],
            [0, 0, 0],
        )  # its nose is not annotated
        table = np.array(a[0]["keypoints"]).reshape(17, 3)
        order = [COCO.index(n) for n in ("left_hip", "right_hip")]
        table[order] = table[order[::-1]]  # hips exchanged
        a[0]["keypoints"] = table.ravel().tolist()
        table = np.array(a[4]["keypoints"]).reshape(17, 3)
        table[COCO.index("left_wrist"), :2] = (900, 20)  # outside the picture
        a[4]["keypoints"] = table.ravel().tolist()
        a[5]["keypoints"] = [50, 50, 2] * 17

    edit(sound, change)
    what = found(checks.examine(module(sound)))
    assert what["person ids that occur twice"].examples == ["id 100"]
    assert what["people annotated twice"].count == 1
    assert what["joints outside the picture"].count == 1
    assert what["all joints in one place"].count == 1
    assert any(name.startswith("left and right may be mixed up") for name in what)
    assert what["a limb longer than the rest of the person"].count == 1


def test_torso_and_boxes(sound):
    people = coco.read(sound, "train")
    people.persons[0].box[:] = (-500, -500, 20, 20)
    people.persons[1].joints[COCO.torso[1]] = people.persons[1].joints[COCO.torso[0]] + 0.5
    what = found(checks.examine(module(sound, read=lambda root, split: people), splits=["train"]))
    assert what["boxes outside the picture"].level == "error"
    assert what["torso below 5% of the person"].count == 1


def test_same_and_nearly_the_same_pictures_across_splits(sound):
    image = cv2.imread(str(sound / "train2017/000000000002.jpg"))
    cv2.imwrite(
        str(sound / "val2017/000000000005.jpg"), cv2.convertScaleAbs(image, alpha=0.95), [1, 60]
    )
    what = found(checks.examine(module(sound)), "val")
    assert what["pictures nearly the same as one in train"].examples == [
        "000000000002.jpg ~ 000000000005.jpg"
    ]
    both = module(sound, read=lambda root, split: coco.read(root, "train"))
    assert found(checks.examine(both), "val")["pictures that are in train too"].count == 6


def test_annotations_that_can_not_be_read_and_published_counts(sound, tiny_lsp):
    (sound / "annotations/person_keypoints_val2017.json").write_text("{")
    results = checks.examine(module(sound, name="coco"))
    assert found(results)["another number of people than published"].examples == [
        "6 instead of 149813"
    ]
    assert "not valid JSON" in found(results, "val")["the annotations can't be read"].examples[0]
    missing = found(checks.examine(module(tiny_lsp, name="lsp", skeleton="lsp", read=lsp.read)))
    assert missing["pictures missing"].count == 996


def test_sheets(sound, tmp_path):
    edit(sound, lambda c: c["annotations"][5].update(keypoints=[50, 50, 2] * 17))
    data = module(sound)
    results = checks.examine(data)
    paths = write_sheets(data, results, Augment(rotation=30.0), tmp_path / "out")
    assert [p.name for p in paths] == ["samples.png", "suspects.png"]
    sheet = cv2.imread(str(paths[0]))
    assert sheet.shape[0] > 4 * 128
    assert sheet.std() > 20


def test_verb(tiny_lspet, tmp_path, capsys):
    words = [
        "data=lspet",
        f"data.root={tiny_lspet}",
        "data.read.train=[1,7]",
        "data.read.val=[8,10]",
    ]
    words += ["data.read.least_cosine=-1", "data.read.copies=[]", "--out", str(tmp_path / "out")]

    assert data_check.main(words) == 0
    assert "left out by the reader: fewer than 6 joints (1)" in capsys.readouterr().out
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["val"]["people"] == 3
    assert (tmp_path / "out/samples.png").is_file()

    (tiny_lspet / "images/im00002.jpg").unlink()
    assert data_check.main([*words, "--quick"]) == 1
    assert "im00002.jpg" in capsys.readouterr().out

    with pytest.raises(UsageError, match="lspett"):
        data_check.main(["data=lspett"])


def test_of_very_many_pictures_equal_ones_are_found(monkeypatch):
    """Each with the first of its like: the work grows as the number of pictures does."""
    monkeypatch.setattr(checks, "MANY", 4)
    clear, other = 0x0F0F0F0F0F0F0F0F, 0x00FF00FF00FF00FF
    first = {"a": clear, "b": other, "c": clear, "d": clear ^ 1, "e": clear, "dark": 1, "night": 1}
    assert checks.near_duplicates(first) == [("a", "c"), ("a", "e")]
    second = {"x": other, "y": clear, "z": clear ^ 2, "dark too": 1}
    assert checks.near_duplicates(first, second) == [("b", "x"), ("a", "y")]
    monkeypatch.undo()
    assert ("a", "d") in checks.near_duplicates(first)


def test_joints_that_no_crop_holds(sound):
    people = coco.read(sound, "train")
    nose, eye = COCO.index("nose"), COCO.index("left_eye")
    people.persons.visible[:, nose] = 0
    people.persons.joints[:, eye] = (155, 5)  # in the picture, outside of the crop around 40..120
    what = found(checks.examine(module(sound, read=lambda root, split: people), splits=["train"]))
    assert what["joints that nobody has: they are never learned"].examples == ["nose"]
    assert what["joints that no crop holds: they are never learned"].examples == ["left_eye"]
    (lost,) = [each for name, each in what.items() if "outside of their crop" in name]
    assert lost.what.endswith("(6 joints, 6.2%: left_eye 6)")
    assert lost.level == "warning"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda p: p.visible.fill(0), "none of the 6 people has an annotated joint"),
        (lambda p: p.centre.__imul__(1000), "joints lie outside of their people's crops"),
    ],
)
def test_a_set_that_teaches_nothing_is_an_error_and_refused(sound, change, why):
    people = coco.read(sound, "train")
    change(people.persons)
    results = checks.examine(module(sound, read=lambda root, split: people), quick=True)
    assert why in found(results)["nothing to learn"].examples[0]
    assert not checks.healthy(results)
    with pytest.raises(PoseError, match=f"There is nothing to learn: .*{why}"):
        refuse_nothing(people.persons, (96, 128))
