"""A bundle says on any machine whether its network gives what it gave where it was written."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import onnx
import pytest

from featherpose.cli import verify as verb
from featherpose.errors import PoseError
from featherpose.export.bundle import write_bundle
from featherpose.inference.bundle import verify
from featherpose.synthetic import painted
from featherpose.zoo.shipped import file_of_name


def write(target: Path) -> list[Path]:
    file = file_of_name("light")
    assert file is not None
    (person,) = painted.read(split="val", people=1, skeleton="coco").persons
    return write_bundle(target, file, "# light\n", painted.load(person), person.box)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "light"
    write(folder)
    return folder


@pytest.fixture
def bundle(written: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(written, tmp_path / "light"))


def change(bundle: Path, **values: object) -> None:
    index = json.loads((bundle / "bundle.json").read_text())
    (bundle / "bundle.json").write_text(json.dumps(index | values))


def test_what_was_written_is_right_here(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sorted(path.name for path in bundle.iterdir()) == [
        "CARD.md",
        "LICENSE",
        "bundle.json",
        "network.onnx",
        "test.png",
    ]
    assert verb.main([str(bundle), "--threads", "1"]) == 0
    said = capsys.readouterr().out
    assert "works on this machine: 17 of 17 joints" in said and "ms a person" in said


def test_packed_it_is_one_file(tmp_path: Path) -> None:
    (packed,) = write(tmp_path / "light.zip")
    found = verify(packed, threads=1)
    assert found.right and found.farthest < 0.01 and found.milliseconds > 0


def test_another_runtime_gives_the_same(bundle: Path) -> None:
    assert verify(bundle, runtime="openvino", threads=1).right


def test_another_pose_is_said(bundle: Path) -> None:
    points = json.loads((bundle / "bundle.json").read_text())["keypoints"]
    change(bundle, keypoints=[[x + 3, y] for x, y in points])
    with pytest.raises(PoseError, match=r"gives another pose .*0 of 17 .* off by 3\.00 pixels"):
        verb.main([str(bundle), "--threads", "1"])


def test_one_joint_may_be_decided_by_the_last_bit(bundle: Path) -> None:
    points = json.loads((bundle / "bundle.json").read_text())["keypoints"]
    change(bundle, keypoints=[[points[0][0] + 40, points[0][1]], *points[1:]])
    found = verify(bundle, threads=1)
    assert found.off == 1 and found.right


@pytest.mark.parametrize("name", ["network.onnx", "test.png", "CARD.md", "LICENSE"])
def test_a_changed_file_is_named(bundle: Path, name: str) -> None:
    (bundle / name).write_bytes(b"x")
    with pytest.raises(PoseError, match=rf"{name} is missing or not as it was written"):
        verify(bundle)


@pytest.mark.parametrize(
    "changes",
    [
        {"files": {}},
        {"files": 3},
        {"box": [1, 2]},
        {"keypoints": [["x", 1]]},
        {"confidence": [float("nan")] * 17},
        {"confidence": [0.5]},
    ],
)
def test_a_damaged_index_is_one_sentence(bundle: Path, changes: dict) -> None:
    change(bundle, **changes)
    with pytest.raises(PoseError, match=r"bundle\.json is damaged"):
        verify(bundle)


def test_another_skeleton(bundle: Path) -> None:
    index = json.loads((bundle / "bundle.json").read_text())
    change(bundle, keypoints=index["keypoints"][:5], confidence=index["confidence"][:5])
    with pytest.raises(PoseError, match="knows 5 joints, its network 17"):
        verify(bundle)


def test_what_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(PoseError, match="There is no bundle"):
        verify(tmp_path / "nothing.zip")
    with pytest.raises(PoseError, match=r"has no bundle\.json"):
        verify(tmp_path)
    (tmp_path / "x.zip").write_text("x")
    with pytest.raises(PoseError, match="is no whole bundle"):
        verify(tmp_path / "x.zip")
    with zipfile.ZipFile(tmp_path / "y.zip", "w") as packed:
        packed.writestr("../bundle.json", "{}")
    with pytest.raises(PoseError, match=r"has no bundle\.json"):
        verify(tmp_path / "y.zip")
    (tmp_path / "file").write_text("x")
    with pytest.raises(PoseError, match="is a file; name a folder"):
        write(tmp_path / "file")


def test_what_would_come_without_its_weights_is_refused(tmp_path: Path) -> None:
    (person,) = painted.read(split="val", people=1, skeleton="coco").persons
    file = tmp_path / "m.xml"
    file.touch()
    with pytest.raises(PoseError, match=r"holds an \.onnx file, not .*m\.xml"):
        write_bundle(tmp_path / "x.zip", file, "", painted.load(person), person.box)
    light = file_of_name("light")
    assert light is not None
    file = tmp_path / "m.onnx"
    onnx.save(onnx.load(light), file, save_as_external_data=True, location="m.onnx.data")
    for target in ("x.zip", "x"):
        with pytest.raises(PoseError, match="is not an ONNX file that can be run"):
            write_bundle(tmp_path / target, file, "", painted.load(person), person.box)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.onnx", "m.onnx.data", "m.xml"]


def test_a_folder_of_other_files_stays_as_it_is(bundle: Path, tmp_path: Path) -> None:
    write(bundle)  # its own files may be replaced
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "LICENSE").write_text("mine")
    with pytest.raises(PoseError, match=r"bundle=.*mine holds other files, as LICENSE"):
        write(tmp_path / "mine")
    assert [path.read_text() for path in (tmp_path / "mine").iterdir()] == ["mine"]
