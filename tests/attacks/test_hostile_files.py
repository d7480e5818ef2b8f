"""Checkpoints, weights, arrays, pictures, boxes and exported files that are broken or made to harm."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from .hostile import ARRAYS, CHECKPOINTS, DEEP, PICTURES
from .trying import refused, run

# checkpoints: what `predict` says of each
CHECKPOINT = {
    "h_ck_b.ckpt": r"not a checkpoint that can be read safely.* holds more than numbers",
    "h_ck_bz.ckpt": r"not a checkpoint that can be read safely.* holds more than numbers",
    "h_ck_dict.ckpt": r"does not say which network it is of",
    "h_ck_list.ckpt": r"is no checkpoint: it holds a list",
    "h_ck_tensor.ckpt": r"is no checkpoint: it holds a Tensor",
    "h_ck_nostate.ckpt": r"does not say which network it is of",
    "h_ck_trunc.ckpt": r"not a checkpoint that can be read safely.* is cut short",
    "h_ck_zero.ckpt": r"not a checkpoint that can be read safely.* is cut short",
    "h_ck_nan.ckpt": r"The network gives NaN or infinite heatmaps",
}


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    PICTURES["p.jpg"](tmp_path / "p.jpg")
    return tmp_path / "p.jpg"


@pytest.mark.parametrize("name", CHECKPOINT)
def test_a_checkpoint(name: str, tmp_path: Path, checkpoint: Path, picture: Path) -> None:
    path = tmp_path / name
    CHECKPOINTS[name.removeprefix("h_ck_").removesuffix(".ckpt")](path, checkpoint)
    words = (f"checkpoint={path}", f"source={picture}", f"out={tmp_path / 'out'}")
    refused("predict", words, CHECKPOINT[name], tmp_path)


WEIGHTS = {  # the file's name, and what makes it
    "h_w_b.pth": ("b.pth", "b", r"not a weights file that can be read safely"),
    "h_w_b.tar": ("b.tar", "b", r"not a weights file that can be read safely"),
    "h_w_bz.pth": ("bz.pth", "bz", r"not a weights file that can be read safely"),
    "h_w_bl.pth": ("bl.pth", "bl", r"not a weights file that can be read safely"),
    "h_w_tensor.ckpt": ("tensor.ckpt", "tensor", r"holds no state dict"),
    "h_w_zero.ckpt": ("zero.ckpt", "zero", r"not a weights file that can be read safely"),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights(name: str, tmp_path: Path, checkpoint: Path, picture: Path) -> None:
    file, kind, says = WEIGHTS[name]
    CHECKPOINTS[kind](tmp_path / file, checkpoint)
    words = (f"weights={tmp_path / file}", "model=lapx", "data=mpii", "model.channels=16")
    refused("predict", (*words, f"source={picture}", f"out={tmp_path / 'out'}"), says, tmp_path)


PREDICTIONS = {
    "h_pred_b.npy": r"can't be read",
    "h_pred_b.npz": r"can't be read \(Object arrays cannot be loaded",
    "h_pred_raw.npy": r"can't be read",
    "h_pred_raw.npz": r"can't be read \(File is not a zip file",
    "h_pred_raw.mat": r"can't be read",
    "h_pred_obj.mat": r"has no three-dimensional array 'preds'; it holds preds",
    "h_pred_o.h5": r"has no three-dimensional array 'preds'; it holds preds",
    "h_pred_ext.h5": r"'preds' lies in another file",
    "h_pred_huge.h5": r"unpacks to 160\.0 GB",
    "h_pred_link.h5": r"'preds' lies in another file",
    "h_pred_wrong.npy": r"holds an array 8 x 15 x 2, but this split has 8 persons of 16",
    "h_pred_nan.npy": r"8 of 8 persons have a NaN or an infinity",
    "h_pred_cplx.npy": r"'preds' holds complex128, not real numbers",
    "h_pred_run.npz": r"its index names a person below 0 or a person twice",
    "h_pred_run2.npz": r"its confidences are \(3, 3\), not \(1, 8, 16\)",
    "h_pred_run3.npz": r"its index is not the list of the persons",
    "h_pred_run4.npz": r"its index is not the list of the persons",
}


@pytest.mark.parametrize("name", PREDICTIONS)
def test_an_array_of_predictions(name: str, tmp_path: Path) -> None:
    path = tmp_path / name.removeprefix("h_pred_")
    ARRAYS[path.name](path)
    words = (
        "data=synthetic",
        "data.people.val=8",
        "workers=0",
        f"predictions={path}",
        f"out={tmp_path / 'out'}",
    )
    refused("evaluate", words, PREDICTIONS[name], tmp_path)


REFUSED_PICTURES = {
    "h_pic_trunc.jpg": r"trunc\.jpg is truncated",
    "h_pic_zero.jpg": r"zero\.jpg is an empty file",
    "h_pic_text.jpg": r"text\.jpg is no picture that can be decoded",
    "h_pic_bomb.jpg": r"claims 16,000 x 16,000 pixels, more than 100,000,000",
    "h_pic_bomb65.jpg": r"claims 65,500 x 65,500 pixels, more than 100,000,000",
    "h_pic_bomb.png": r"claims 20,000 x 20,000 pixels, more than 100,000,000",
    "h_pic_bomb2.png": r"claims 200,000 x 200,000 pixels, more than 100,000,000",
}
UNUSUAL_PICTURES = [f"h_pic_{name}" for name in PICTURES if f"h_pic_{name}" not in REFUSED_PICTURES]


def of_picture(exported: Path, name: str, tmp_path: Path) -> tuple[str, ...]:
    path = tmp_path / name.removeprefix("h_pic_")
    PICTURES[path.name](path)
    return (f"onnx={exported}", f"source={path}", f"out={tmp_path / 'out'}")


@pytest.mark.parametrize("name", REFUSED_PICTURES)
def test_a_picture_that_is_none(name: str, exported: Path, tmp_path: Path) -> None:
    refused("predict", of_picture(exported, name, tmp_path), REFUSED_PICTURES[name], tmp_path)


@pytest.mark.parametrize("name", UNUSUAL_PICTURES)
def test_an_unusual_picture(name: str, exported: Path, tmp_path: Path) -> None:
    run("predict", *of_picture(exported, name, tmp_path))
    assert json.loads((tmp_path / "out" / "keypoints.json").read_text())


BOX = [1, 2, 30, 40]
BOXES: dict[str, tuple[Any, str]] = {
    "h_box_scorestr": (
        [{"file_name": "p.jpg", "bbox": BOX, "score": "x"}],
        r"record 0: its score is 'x', not a number",
    ),
    "h_box_int": (3, r"holds no boxes"),
    "h_box_recint": ([3], r"record 0: its bbox is not x, y, width, height"),
    "h_box_noname": (
        {"images": [{"id": 1}], "annotations": [{"image_id": 1, "bbox": BOX}]},
        r"each of its images needs an id and a file_name",
    ),
    "h_box_imgid": (
        [{"image_id": "abc", "bbox": BOX}],
        r"record 0: it has neither a file_name nor",
    ),
    "h_box_deep": (DEEP, r"is not a json file of boxes"),
    "h_box_nanscore": (
        '[{"file_name":"p.jpg","bbox":[1,2,30,40],"score":NaN}]',
        r"record 0: its score is nan, not a number",
    ),
    "h_box_namelist": (
        [{"file_name": ["a"], "bbox": BOX}],
        r"record 0: it has neither a file_name nor",
    ),
    "h_box_huge": (
        [{"file_name": "p.jpg", "bbox": [1e300, 1, 1e300, 1e300]}],
        r"record 0: its bbox is not x, y, width, height in pixels",
    ),
    "h_box_far": (
        [{"file_name": "p.jpg", "bbox": [10**7, 10**6, 5, 5]}],
        r"record 0: its bbox is not x, y, width, height in pixels",
    ),
}


@pytest.mark.parametrize("name", BOXES)
def test_a_file_of_boxes(name: str, exported: Path, picture: Path, tmp_path: Path) -> None:
    content, says = BOXES[name]
    path = tmp_path / "boxes.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    words = (f"onnx={exported}", f"source={picture}", f"boxes={path}", f"out={tmp_path / 'out'}")
    refused("predict", words, says, tmp_path)


def told(**values: Any) -> Callable[[str], str]:
    """The metadata with other values."""
    return lambda text: json.dumps({**json.loads(text), **values})


def skeleton_of_two(text: str) -> str:
    description = json.loads(text)
    description["skeleton"]["joints"] = ["a", "b"]
    return json.dumps(description)


METADATA: dict[str, tuple[Callable[[str], str], str]] = {
    "h_onnx_notjson": (lambda _: "{", r"is damaged \(Expecting property name"),
    "h_onnx_list": (lambda _: "[]", r"is damaged"),
    "h_onnx_null": (lambda _: "null", r"is damaged"),
    "h_onnx_str": (lambda _: '"abc"', r"is damaged"),
    "h_onnx_deep": (lambda _: DEEP, r"is damaged \(maximum recursion depth"),
    "h_onnx_size": (
        told(input_size=[10**5, 10**5]),
        r"is damaged \(input_size is 100000; it has to be a whole number from 1 to 4096",
    ),
    "h_onnx_sizeneg": (told(input_size=[-64, 64]), r"is damaged \(input_size is -64"),
    "h_onnx_size32": (
        told(input_size=[32, 32]),
        r"takes images of 64 x 64, its featherpose metadata says 32 x 32",
    ),
    "h_onnx_size0": (told(input_size=[0, 0]), r"is damaged \(input_size is 0"),
    "h_onnx_stride0": (told(stride=0), r"is damaged \(stride is 0"),
    "h_onnx_stridestr": (told(stride="x"), r"is damaged \(stride is x"),
    "h_onnx_mean": (
        told(mean=[1]),
        r"is damaged \(mean is \[1\]; it has to be a list of 3 numbers",
    ),
    "h_onnx_meanstr": (told(mean="abc"), r"is damaged \(mean is abc"),
    "h_onnx_dev0": (told(deviation=[0, 0, 0]), r"is damaged \(deviation\[0\] is 0"),
    "h_onnx_proto": (
        told(protocol=3),
        r"is damaged \(The protocol of .* has to say flip and decoder",
    ),
    "h_onnx_proto2": (
        told(protocol={"flip": False, "decoder": "zzz", "shift": False}),
        r"is damaged \(There is no protocol\.decoder=zzz",
    ),
    "h_onnx_proto3": (
        told(protocol={}),
        r"is damaged \(The protocol of .* has to say flip and decoder",
    ),
    "h_onnx_skel2": (told(skeleton=5), r"is damaged"),
    "h_onnx_skel3": (skeleton_of_two, r"is damaged \(The skeleton in the config is incomplete"),
    "h_onnx_extra": (told(unknown=1), r"is damaged .*unknown"),
}


@pytest.mark.parametrize("name", METADATA)
def test_what_an_exported_file_says_of_itself(
    name: str, described: Callable[..., Path], picture: Path, tmp_path: Path
) -> None:
    change, says = METADATA[name]
    words = (f"onnx={described(change)}", f"source={picture}", f"out={tmp_path / 'out'}")
    refused("predict", words, says, tmp_path)


def test_joints_of_any_name(described: Callable[..., Path], picture: Path, tmp_path: Path) -> None:
    """h_onnx_skel"""
    skeleton = {"name": "a", "joints": ["<script>alert(1)</script>"] * 16}
    words = (f"onnx={described(told(skeleton=skeleton))}", f"source={picture}")
    run("predict", *words, f"out={tmp_path / 'out'}")


def test_weights_of_a_network_that_is_named(
    checkpoint: Path, picture: Path, tmp_path: Path
) -> None:
    words = (f"weights={checkpoint}", "model=lapx", "data=mpii", "model.channels=16")
    small = ("model.stages=1", "data.input_size=[64,64]", "decoder=argmax")
    run("predict", *words, *small, f"source={picture}", f"out={tmp_path / 'out'}")
    assert json.loads((tmp_path / "out" / "keypoints.json").read_text())


ELSEWHERE = {
    "h_onnx_external": (
        "../../../../../../etc/passwd",
        "onnxruntime",
        r"not an ONNX file that can be run: .*escapes model directory",
    ),
    "h_onnx_external_abs": (
        "/etc/passwd",
        "onnxruntime",
        r"not an ONNX file that can be run: .*Absolute path not allowed",
    ),
    "h_onnx_ov_external": ("/etc/passwd", "openvino", r"not a file that OpenVINO can read: \w"),
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_weights_that_lie_in_another_file(
    name: str, exported: Path, picture: Path, tmp_path: Path
) -> None:
    where, runtime, says = ELSEWHERE[name]
    model = onnx.load(exported)
    tensor = model.graph.initializer[0]
    for key, value in (("location", where), ("offset", "0"), ("length", str(len(tensor.raw_data)))):
        tensor.external_data.add(key=key, value=value)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    path = tmp_path / "external.onnx"
    path.write_bytes(model.SerializeToString())
    words = (f"onnx={path}", f"runtime={runtime}", f"source={picture}", f"out={tmp_path / 'out'}")
    refused("predict", words, says, tmp_path)


def test_a_file_that_is_no_onnx(picture: Path, tmp_path: Path) -> None:
    """h_onnx_junk"""
    (tmp_path / "junk.onnx").write_bytes(b"\0" * 50)
    words = (f"onnx={tmp_path / 'junk.onnx'}", f"source={picture}", f"out={tmp_path / 'out'}")
    refused("predict", words, r"not an ONNX file that can be run", tmp_path)
