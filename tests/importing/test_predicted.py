"""Predictions become labels that `data import` reads back as they were."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from featherpose import image
from featherpose.errors import PoseError
from featherpose.importing import coco, tracked, yolo
from featherpose.importing.labels import Labels
from featherpose.importing.predicted import Predicted
from featherpose.skeletons import LSP
from tests.small_sets import SIZE, random_joints, write_picture


def pictures(folder: Path, *names: str) -> list[Path]:
    paths = [folder / name for name in names]
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_picture(path, number)
    return paths


def read_back(kind: str, folder: Path) -> Labels:
    found = {"coco": coco, "yolo": yolo, "sleap": tracked}[kind].read(folder)
    assert found is not None
    return found


@pytest.mark.parametrize(("kind", "close"), [("coco", 0.01), ("yolo", 0.001)])
def test_labels_come_back_with_the_joints_that_were_sure(
    tmp_path: Path, kind: str, close: float
) -> None:
    one, empty = pictures(tmp_path, "one.jpg", "empty.jpg")
    joints, confidence = random_joints(len(LSP), 0), np.full(len(LSP), 0.9)
    confidence[3] = 0.1
    gathered = Predicted(LSP, [kind], least=0.2)
    gathered.add(str(one), SIZE, [(joints, confidence), (joints, np.zeros(len(LSP)))])
    gathered.add(str(empty), SIZE, [])
    (folder,) = gathered.write(tmp_path / "out")

    found = read_back(kind, folder)
    assert found.joints == list(LSP.joints)
    assert sorted(Path(each.name).name for each in found.pictures) == ["empty.jpg", "one.jpg"]
    (person,) = found.people
    assert Path(found.pictures[person.picture].name).name == "one.jpg"
    assert person.visible.tolist() == [2, 2, 2, 0, *[2] * (len(LSP) - 4)]
    seen = person.visible > 0
    np.testing.assert_allclose(person.joints[seen], joints[seen], atol=close * max(SIZE))
    assert next(folder.rglob("one.jpg")).samefile(one), "linked, not copied"


@pytest.mark.parametrize("kind", ["coco", "yolo"])
def test_a_picture_that_lies_on_its_head_is_written_as_it_was_seen(
    tmp_path: Path, kind: str
) -> None:
    (one,) = pictures(tmp_path, "one.jpg")
    exif = Image.Exif()
    exif[0x0112] = 3
    with Image.open(one) as picture:
        picture.save(one, exif=exif, quality=95)
    gathered = Predicted(LSP, [kind], least=0.0)
    gathered.add(str(one), SIZE, [(random_joints(len(LSP), 0), np.ones(len(LSP)))])
    (folder,) = gathered.write(tmp_path / "out")
    off = image.read(next(folder.rglob("one.jpg"))).astype(int) - image.read(one, obey_exif=True)
    assert np.abs(off).mean() < 2


def test_sleap_has_predictions_and_not_labels_and_they_come_back(tmp_path: Path) -> None:
    sio = pytest.importorskip("sleap_io")
    one, empty = pictures(tmp_path, "one.jpg", "empty.jpg")
    joints, confidence = random_joints(len(LSP), 0), np.linspace(0.3, 0.95, len(LSP))
    confidence[3] = 0.1
    gathered = Predicted(LSP, ["sleap"], least=0.2)
    gathered.add(str(one), SIZE, [(joints, confidence), (joints + 5, confidence)])
    gathered.add(str(empty), SIZE, [])
    (folder,) = gathered.write(tmp_path / "out")

    content = sio.load_file(str(folder / "predicted.slp"))
    assert len(content.labeled_frames) == 2  # the picture without people is there to be labelled
    (frame,) = [each for each in content.labeled_frames if each.instances]
    assert not frame.user_instances, "nobody has looked at them"
    np.testing.assert_allclose(frame.instances[0].numpy(scores=True)[4, 2], confidence[4])
    assert Path(content.video.filename[0]).samefile(one)

    found = read_back("sleap", folder)
    assert (found.joints, found.limbs) == (list(LSP.joints), list(LSP.limbs))
    assert sorted(found.pairs) == sorted(tuple(sorted(pair)) for pair in LSP.pairs)
    assert len(found.people) == 2
    for person, shift in zip(found.people, (0, 5), strict=True):
        assert person.visible.tolist() == [2, 2, 2, 0, *[2] * (len(LSP) - 4)]
        seen = person.visible > 0
        np.testing.assert_allclose(person.joints[seen], joints[seen] + shift, atol=1e-9)


def test_without_sleap_io_nothing_is_predicted_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sleap_io", None)
    with pytest.raises(PoseError, match=r"labels=sleap is written by sleap-io, which is not"):
        Predicted(LSP, ["coco", "sleap"], least=0.2)


def test_yolo_says_what_a_flip_exchanges(tmp_path: Path) -> None:
    (one,) = pictures(tmp_path, "one.jpg")
    gathered = Predicted(LSP, ["yolo"], least=0.0)
    gathered.add(str(one), SIZE, [])
    (folder,) = gathered.write(tmp_path)
    described = yaml.safe_load((folder / "data.yaml").read_text())
    assert described["flip_idx"] == list(LSP.flip_order)
    assert (folder / described["predicted"] / "one.jpg").is_file()


def test_pictures_of_one_name_keep_their_folders(tmp_path: Path) -> None:
    paths = pictures(tmp_path, "a/1.jpg", "b/1.jpg")
    gathered = Predicted(LSP, ["coco"], least=0.0)
    for path in paths:
        gathered.add(str(path), SIZE, [])
    (folder,) = gathered.write(tmp_path / "out")
    content = json.loads(next(folder.glob("annotations/*.json")).read_text())
    assert [each["file_name"] for each in content["images"]] == ["a/1.jpg", "b/1.jpg"]
    assert (folder / "images" / "b" / "1.jpg").is_file()


def test_an_unknown_kind_is_told() -> None:
    with pytest.raises(PoseError, match="labels=cvat; known: coco, yolo, sleap"):
        Predicted(LSP, ["cvat"], least=0.0)
