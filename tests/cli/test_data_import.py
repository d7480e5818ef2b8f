"""`featherpose data import`: from a tool's own files to a set that can be trained on."""

from __future__ import annotations

import csv
import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from featherpose import image
from featherpose.cli import data_import
from featherpose.errors import PoseError, UsageError
from tests.small_sets import SIZE, random_joints, write_picture

HAND = ["Wrist_L", "Wrist_R", "shoulderLeft", "RShoulder", "head"]
SPELLED = ["left_wrist", "right_wrist", "left_shoulder", "right_shoulder", "head"]
COUNT = 10


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """People stand in a folder of their own."""
    here = tmp_path / "mine and yours"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.delenv("FEATHERPOSE_ROOT", raising=False)
    return here


def joints_of(person: int) -> np.ndarray:
    return random_joints(len(HAND), person)


def as_cvat(folder: Path, split: str = "default") -> Path:
    """annotations/person_keypoints_default.json and images/, without boxes."""
    annotations = []
    for i in range(COUNT):
        write_picture(folder / f"images/{split}_{i}.jpg", i)
        table = np.column_stack([joints_of(i), [2, 2, 1, 2, 2]])
        table[4] = 0
        annotations.append(
            {"id": i, "image_id": f"p{i}", "category_id": 7, "keypoints": table.ravel().tolist()}
        )
    content = {
        "images": [
            {"id": f"p{i}", "file_name": f"{split}_{i}.jpg", "width": SIZE[0], "height": SIZE[1]}
            for i in range(COUNT)
        ],
        "annotations": annotations,
        "categories": [
            {"id": 7, "name": "dancer", "keypoints": HAND, "skeleton": [[1, 3], [3, 4]]}
        ],
    }
    path = folder / "annotations" / f"person_keypoints_{split}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return folder


def changed_cvat(folder: Path, change) -> Path:
    path = as_cvat(folder) / "annotations/person_keypoints_default.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return folder


def as_yolo(folder: Path) -> Path:
    for i in range(COUNT):
        split = "val" if i < 3 else "train"
        write_picture(folder / f"images/{split}/{i}.png", i)
        joints = joints_of(i) / SIZE
        numbers = [0, 0.5, 0.5, 0.5, 0.8, *np.column_stack([joints, [2] * 5]).ravel()]
        path = folder / f"labels/{split}/{i}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(" ".join(f"{n:.6f}" for n in numbers) + "\n")
    described = {
        "kpt_shape": [5, 3],
        "names": {0: "dancer"},
        "flip_idx": [1, 0, 3, 2, 4],
        "train": "images/train",
    }
    (folder / "data.yaml").write_text(yaml.safe_dump(described))
    return folder


def as_table(folder: Path, kind: str) -> Path:
    for i in range(COUNT):
        write_picture(folder / f"{i}.jpg", i)
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        if kind == "wide":
            writer.writerow(["image", *(f"{j}_{axis}" for j in HAND for axis in "xy")])
            writer.writerows([f"{i}.jpg", *joints_of(i).ravel()] for i in range(COUNT))
        else:
            writer.writerow(["image", "joint", "x", "y"])
            writer.writerows(
                [f"{i}.jpg", j, *xy]
                for i in range(COUNT)
                for j, xy in zip(HAND, joints_of(i), strict=True)
            )
    return folder


def imported(*words: str) -> tuple[int, dict[str, dict]]:
    """The exit code, and what was written for each split."""
    code = data_import.main([*map(str, words), "--out", "data/dance", "--yes"])
    found = {
        p.stem: json.loads(p.read_text()) for p in Path("data/dance/annotations").glob("*.json")
    }
    return code, found


def table_of(found: dict[str, dict]) -> dict[str, np.ndarray]:
    """(K, 3) by picture, over all splits."""
    tables = {}
    for content in found.values():
        names = {p["id"]: Path(p["file_name"]).stem.rpartition("_")[2] for p in content["images"]}
        for person in content["annotations"]:
            tables[names[person["image_id"]]] = np.reshape(person["keypoints"], (-1, 3))
    return tables


@pytest.mark.parametrize("tool", ["cvat", "yolo", "wide", "long"])
def test_every_tool_gives_the_same_people(
    tool: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    makers = {"cvat": as_cvat, "yolo": as_yolo}
    source = makers[tool](tmp_path / "in") if tool in makers else as_table(tmp_path / "in", tool)
    words = ["--joints", ",".join(HAND)] if tool == "yolo" else []
    code, found = imported(source, *words)
    printed = capsys.readouterr().out
    assert code == 0, printed
    tables = table_of(found)
    assert len(tables) == COUNT
    for i in range(COUNT):
        seen = slice(None, 4) if tool == "cvat" else slice(None)
        np.testing.assert_allclose(tables[str(i)][seen, :2], joints_of(i)[seen], atol=1e-3)
    if tool == "yolo":  # its own split; 3 of 10, where a share would take 2
        assert len(found["val"]["annotations"]) == 3
    else:
        assert len(found["val"]["annotations"]) == 2
    config = yaml.safe_load(Path("conf/data/dance.yaml").read_text())
    names = config["skeleton"]["joints"]
    assert names == SPELLED
    assert "Training can start." in printed
    assert Path("data/dance/check/samples.png").is_file()


def test_labels_that_are_missing_and_hidden(tmp_path: Path) -> None:
    _, found = imported(as_cvat(tmp_path / "in"))
    flags = {name: table[:, 2].tolist() for name, table in table_of(found).items()}
    assert set(map(tuple, flags.values())) == {(2, 2, 1, 2, 0)}
    person = found["train"]["annotations"][0]
    x, y, width, height = person["bbox"]
    table = np.reshape(person["keypoints"], (-1, 3))[:4, :2]
    extent = np.ptp(table, axis=0)
    assert [width, height] == pytest.approx((1.2 * extent).tolist(), abs=0.01)
    assert [x, y] == pytest.approx((table.min(axis=0) - 0.1 * extent).tolist(), abs=0.01)


def test_a_side_without_the_other(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    imported(as_cvat(tmp_path / "in"), "--joints", "head,neck,left_hand,waist,tail")
    assert "train with augment.flip=0" in " ".join(capsys.readouterr().out.split())
    config = yaml.safe_load(Path("conf/data/dance.yaml").read_text())
    assert config["skeleton"]["joints"] == ["head", "neck", "hand_left", "waist", "tail"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("鼻,左手,右手,左足,右足", ["鼻", "左手", "右手", "左足", "右足"]),
        ("Нос,Левая рука,b,c,नाक", ["нос", "левая_рука", "b", "c", "नाक"]),
        ("Hüfte links,♥,b,c,d", ["hüfte_links", "joint_2", "b", "c", "d"]),
    ],
)
def test_names_of_any_language_stay(
    given: str, kept: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    def names(content: dict) -> None:
        content["categories"][0]["keypoints"] = given.split(",")

    code, _ = imported(changed_cvat(tmp_path / "in", names))
    said = " ".join(capsys.readouterr().out.split())
    assert code == 0
    assert "have no names" not in said
    assert "No joint is a left or a right one" in said
    assert "train with augment.flip=0" in said
    assert ("The name '♥' has no letter: the joint is called joint_2." in said) == ("♥" in given)
    config = yaml.safe_load(Path("conf/data/dance.yaml").read_text(encoding="utf-8"))
    assert config["skeleton"]["joints"] == kept


def test_names_without_a_letter_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    def names(content: dict) -> None:
        content["categories"][0]["keypoints"] = ["♥", "♦", "♣", "♠", "[/]"]

    imported(changed_cvat(tmp_path / "in", names))
    said = " ".join(capsys.readouterr().out.split())
    assert "The joints have no names with a letter (♥, ♦, ♣, ♠, [/])" in said


def test_a_zip_stays_and_gives_the_same(tmp_path: Path) -> None:
    folder = as_cvat(tmp_path / "in")
    archive = tmp_path / "export.zip"
    with zipfile.ZipFile(archive, "w") as out:
        for path in folder.rglob("*.*"):
            out.write(path, path.relative_to(folder))
    code, found = imported(archive)
    assert code == 0
    assert len(table_of(found)) == COUNT
    assert archive.is_file()
    assert not [p for p in Path("data").iterdir() if p.name != "dance"]


def test_a_damaged_zip_stays(tmp_path: Path) -> None:
    archive = tmp_path / "export.zip"
    archive.write_bytes(b"PK\x03\x04 not a zip")
    with pytest.raises(PoseError, match="is no zip archive"):
        imported(archive)
    assert archive.is_file()


def test_the_set_is_found_where_people_stand(tmp_path: Path) -> None:
    imported(as_cvat(tmp_path / "in"))
    from featherpose.cli.data_check import build

    data, _, _ = build(["data=dance"])
    assert data.skeleton.pairs == ((0, 1), (2, 3))
    assert len(data.val_people.persons) == 2


def test_nobody_stands_on_both_sides(tmp_path: Path) -> None:
    _, found = imported(
        as_cvat(tmp_path / "in"), "--by", "subject", "--subject", r"_(\d)", "--val", "0.5"
    )
    sides = [{p["file_name"] for p in content["images"]} for content in found.values()]
    assert not sides[0] & sides[1]
    assert len(sides[0]) == len(sides[1]) == 5


def test_the_pictures_are_linked_or_copied(tmp_path: Path) -> None:
    source = as_cvat(tmp_path / "in")
    imported(source)
    kept = next(Path("data/dance/images").glob("*.jpg"))
    assert kept.samefile(source / "images" / kept.name)
    imported(source, "--force", "--copy")
    assert kept.read_bytes() == (source / "images" / kept.name).read_bytes()


def test_a_link_of_a_picture_becomes_the_picture(tmp_path: Path) -> None:
    """As DVC and git-annex keep them: `images/0.jpg -> ../store/0.jpg`."""
    source = as_cvat(tmp_path / "in")
    (source / "images").rename(source / "store")
    for path in (source / "store").iterdir():
        link = source / "images" / path.name
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(Path("..", "store", path.name))
    code, _ = imported(source)
    kept = next(Path("data/dance/images").glob("*.jpg"))
    assert code == 0
    assert not kept.is_symlink()
    assert kept.samefile(source / "store" / kept.name)


def telephone(source: Path, orientation: int) -> list[np.ndarray]:
    """Its pictures turned by EXIF; gives them as viewers show them."""
    exif, shown = Image.Exif(), []
    exif[0x0112] = orientation
    for i in range(COUNT):
        path = source / f"images/default_{i}.jpg"
        with Image.open(path) as picture:
            picture.save(path, exif=exif, quality=95)
        shown.append(image.read(path, obey_exif=True))
    return shown


@pytest.mark.parametrize("orientation", [2, 3, 4])
def test_pictures_whose_turn_no_size_tells_are_trained_on_as_viewers_show_them(
    orientation: int, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    source = as_cvat(tmp_path / "in")
    shown = telephone(source, orientation)
    before = (source / "images/default_0.jpg").read_bytes()
    code, _ = imported(source)
    assert code == 0
    assert "10 pictures are turned or mirrored by their EXIF" in capsys.readouterr().out
    assert (source / "images/default_0.jpg").read_bytes() == before
    from featherpose.cli.data_check import build

    data, _, _ = build(["data=dance"])
    for person in data.val_people.persons:
        upright = shown[int(Path(person.image).stem.rpartition("_")[2])]
        off = data.load(person).astype(int) - upright
        assert np.abs(off).mean() < 2, "the labels' pixels, a JPEG's loss apart"


def test_a_turn_that_the_size_tells_needs_no_second_file(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    source = as_cvat(tmp_path / "in")
    shown = telephone(source, 6)
    labels = source / "annotations/person_keypoints_default.json"
    content = json.loads(labels.read_text())
    for each in content["images"]:
        each["width"], each["height"] = SIZE[::-1]
    labels.write_text(json.dumps(content))
    imported(source)
    assert "EXIF" not in capsys.readouterr().out
    kept = Path("data/dance/images/default_0.jpg")
    assert kept.samefile(source / "images/default_0.jpg")
    from featherpose.cli.data_check import build

    data, _, _ = build(["data=dance"])
    person = data.val_people.persons[0]
    upright = shown[int(Path(person.image).stem.rpartition("_")[2])]
    np.testing.assert_array_equal(data.load(person), upright)


def test_a_picture_is_not_written_over_by_its_upright_one(tmp_path: Path) -> None:
    source = as_cvat(Path("data/dance"))
    telephone(source, 3)
    before = (source / "images/default_0.jpg").read_bytes()
    with pytest.raises(PoseError, match=r"default_0\.jpg would be written over"):
        imported(source, "--force")
    assert (source / "images/default_0.jpg").read_bytes() == before


def test_pictures_of_one_name_in_two_folders_stay_two(tmp_path: Path) -> None:
    for folder in ("monday", "tuesday"):
        as_cvat(tmp_path / "in" / folder)
        made = tmp_path / "in" / folder / "annotations" / "person_keypoints_default.json"
        pictures = tmp_path / "in" / folder / "images"
        made.rename(pictures / f"{folder}.json")
    write_picture(tmp_path / "in/tuesday/images/default_0.jpg", 77)
    _, found = imported(tmp_path / "in")
    listed = [p["file_name"] for content in found.values() for p in content["images"]]
    assert len(set(listed)) == len(listed) == 2 * COUNT
    for name in listed:
        assert Path("data/dance/images", name).samefile(tmp_path / "in" / name)


@pytest.mark.parametrize("tool", ["cvat", "wide", "zip"])
@pytest.mark.parametrize("whole", [False, True])
def test_a_label_takes_no_file_from_outside(tool: str, whole: bool, tmp_path: Path) -> None:
    """Neither by `..` nor by its whole path, unless --pictures allows it."""
    outside = tmp_path / "secret.jpg"
    write_picture(outside, 5)
    folder, name = tmp_path / "in", str(outside) if whole else "../images/../../secret.jpg"
    if tool == "wide":
        labels = as_table(folder, "wide") / "labels.csv"
        name = name.removeprefix("../images/../")
        labels.write_text(labels.read_text().replace("0.jpg", name))
    else:
        changed_cvat(folder, lambda content: content["images"][0].update(file_name=name))
    source = folder
    if tool == "zip":
        source = tmp_path / "export.zip"
        with zipfile.ZipFile(source, "w") as out:
            for path in folder.rglob("*.*"):
                out.write(path, path.relative_to(folder))
    with pytest.raises(PoseError, match=r"1 of 10 pictures are not in .*secret\.jpg.*--pictures"):
        imported(source)
    assert not list(Path("data").rglob("secret*"))
    if tool != "zip":
        code, _ = imported(source, "--pictures", tmp_path)
        assert code == 0


def test_a_label_names_pictures_upwards_within_its_folder_and_of_another_machine(
    tmp_path: Path,
) -> None:
    def names(content: dict) -> None:
        for i, each in enumerate(content["images"]):
            start = ("../images/", "C:\\photos\\", "/nowhere/photos/")[i % 3]
            each["file_name"] = start + each["file_name"]

    code, _ = imported(changed_cvat(tmp_path / "in", names))
    assert code == 0


def replaced(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("header", "row", "sentence"),
    [
        (("Wrist_L_y", "wrist_l_z"), (), "row 1: there is Wrist_L_x, but no Wrist_L_y"),
        (("head_x,", "head.x,"), (), "row 1: there is head.x, but no head.y"),
        (("head_x", "Wrist_L_x"), (), "row 1: the column Wrist_L_x stands twice"),
        ((), ("3.jpg", "3.jpg,7"), "row 5: 12 cells, but the first row names 11 columns"),
    ],
)
def test_a_table_whose_columns_are_wrong_is_refused(
    header: tuple, row: tuple, sentence: str, tmp_path: Path
) -> None:
    labels = as_table(tmp_path / "in", "wide") / "labels.csv"
    for change in (header, row):
        if change:
            replaced(labels, *change)
    with pytest.raises(PoseError, match=rf"labels\.csv, {sentence}"):
        imported(labels)


def test_a_row_may_end_early_or_with_a_separator(tmp_path: Path) -> None:
    labels = as_table(tmp_path / "in", "wide") / "labels.csv"
    lines = labels.read_text().splitlines()
    lines[1] = lines[1].rpartition(",")[0]
    lines[2] += ","
    labels.write_text("\n".join(lines))
    _, found = imported(labels)
    assert table_of(found)["0"][4, 2] == 0
    assert table_of(found)["1"][4, 2] == 2


@pytest.mark.parametrize(
    ("what", "value", "sentence"),
    [
        ("flip_idx", [0, 2, 5], r"flip_idx is \[0, 2, 5\]; it has to be 5 places from 0 to 4"),
        ("flip_idx", [1, 2, 0, 3, 4], "each joint's partner"),
        ("kpt_names", {0: ["a", "b"]}, r"kpt_names is \['a', 'b'\].* list of 5 names"),
    ],
)
def test_a_description_that_fits_no_joints_is_refused(
    what: str, value: object, sentence: str, tmp_path: Path
) -> None:
    described = as_yolo(tmp_path / "in") / "data.yaml"
    content = yaml.safe_load(described.read_text())
    described.write_text(yaml.safe_dump({**content, what: value}))
    with pytest.raises(PoseError, match=sentence):
        imported(tmp_path / "in")


@pytest.mark.parametrize("all_of_them", [False, True])
def test_a_yolo_label_without_its_picture_is_refused(all_of_them: bool, tmp_path: Path) -> None:
    source = as_yolo(tmp_path / "in")
    (source / "labels/train/classes.txt").write_text("dancer\n")
    for path in source.rglob("*.png" if all_of_them else "7.png"):
        path.unlink()
    lost = "10 of 10" if all_of_them else r"1 of 10 .*train/7\.txt"
    with pytest.raises(PoseError, match=rf"{lost}.* below images/"):
        imported(source)


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("x", "line 1: word 2 is 'x', not a number"),
        ("nan", "line 1: word 2 is 'nan', not a number"),
        ("160", "line 1: 160 is far outside of the picture.* these look like pixels"),
        ("0.5 1", "line 1: 21 words instead of 20 numbers"),
    ],
)
def test_a_line_of_yolo_that_is_wrong_is_told(word: str, sentence: str, tmp_path: Path) -> None:
    replaced(as_yolo(tmp_path / "in") / "labels/val/1.txt", "0.500000", word)
    with pytest.raises(PoseError, match=rf"val/1\.txt, {sentence}"):
        imported(tmp_path / "in")


def test_two_pictures_of_one_id_are_refused_and_one_listed_twice_is_one(tmp_path: Path) -> None:
    def other(content: dict) -> None:
        content["images"][1]["id"] = "p0"

    def same(content: dict) -> None:
        content["images"].append(content["images"][0])

    with pytest.raises(PoseError, match=r"id p0, default_0\.jpg and default_1\.jpg"):
        imported(changed_cvat(tmp_path / "other", other))
    _, found = imported(changed_cvat(tmp_path / "same", same))
    assert sum(len(content["images"]) for content in found.values()) == COUNT


@pytest.mark.parametrize(
    "what",
    [{"keypoints": [float("nan"), 5, 2] * 5}, {"bbox": [float("nan"), 1, 5, 5]}],
)
def test_a_nan_is_told_of_ones_own_file_and_record(what: dict, tmp_path: Path) -> None:
    source = changed_cvat(tmp_path / "in", lambda content: content["annotations"][7].update(what))
    with pytest.raises(PoseError, match=r"person_keypoints_default\.json, record 7: .* a NaN"):
        imported(source)
    assert not Path("data").exists()


def test_a_nan_that_is_not_labelled_is_none(tmp_path: Path) -> None:
    def unlabelled(content: dict) -> None:
        content["annotations"][7]["keypoints"][-3:] = [None, None, 0]

    code, _ = imported(changed_cvat(tmp_path / "in", unlabelled))
    assert code == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--val", "2"], "is a share between 0 and 1"),
        (["--by", "subject", "--subject", "("], "no regular expression"),
        (["--by", "subject", "--subject", "nobody"], "finds nothing in"),
        (["--by", "video"], "don't say whose video"),
        (["--joints", "a,b"], "names 2 joints, the labels have 5"),
        (["--joints", "a,a,b,c,d"], "Several joints are called a"),
        (["--category", "cat"], "No category is called cat; with keypoints there are: dancer"),
        (["--pictures", "."], "Say where they lie with --pictures"),
    ],
)
def test_a_mistake_is_one_sentence_and_writes_nothing(
    words: list[str], sentence: str, tmp_path: Path
) -> None:
    source = as_cvat(tmp_path / "in")
    if "--pictures" in words:
        (source / "images").rename(tmp_path / "elsewhere")
    with pytest.raises(PoseError, match=sentence):
        imported(source, *words)
    assert not Path("data/dance").exists()
    assert not Path("conf").exists()


def test_what_is_there_already_is_kept(tmp_path: Path) -> None:
    source = as_cvat(tmp_path / "in")
    imported(source)
    with pytest.raises(UsageError, match="add --force"):
        imported(source)
    with pytest.raises(UsageError, match=r"dance.yaml is there already"):
        data_import.main([str(source), "--out", "data/other", "--name", "dance", "--yes"])


@pytest.mark.parametrize("packed", [False, True])
def test_where_nothing_can_be_written_the_option_is_named(packed: bool, tmp_path: Path) -> None:
    source = as_cvat(tmp_path / "in")
    if packed:
        source = tmp_path / "in.zip"
        with zipfile.ZipFile(source, "w") as out:
            for path in (tmp_path / "in").rglob("*.*"):
                out.write(path, path.relative_to(tmp_path / "in"))
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "x"
    with pytest.raises(UsageError, match=r"--out .*file/x can't be written \(.+\): choose another"):
        data_import.main([str(source), "--out", str(place), "--yes"])


def test_a_source_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not there"):
        imported(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(PoseError, match="holds no labels that are known"):
        imported(tmp_path / "empty")


def test_without_the_library_of_sleap_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sleap_io", None)
    (tmp_path / "labels.slp").write_bytes(b"")
    with pytest.raises(PoseError, match=r"pip install 'featherpose\[sleap\]'"):
        imported(tmp_path / "labels.slp")
