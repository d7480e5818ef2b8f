"""Annotation and result files that are broken or made to harm: `evaluate` says in one sentence what is wrong where."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from .hostile import (
    MPII_PERSON,
    MPII_TRUTH,
    Change,
    coco_example,
    coco_result,
    entry,
    twice,
    whole,
    write_coco,
)
from .trying import refused, run

HUGE = 10**30  # beyond 64 bits


def image_id(value: Any) -> Change:
    """Of the picture, and of the person in it."""

    def change(content: dict[str, Any]) -> None:
        content["images"][0]["id"] = content["annotations"][0]["image_id"] = value

    return change


def first(key: str, index: int, value: Any) -> Change:
    """One number of a person's list."""

    def change(content: dict[str, Any]) -> None:
        content["annotations"][0][key][index] = value

    return change


COCO: dict[str, tuple[Change, str]] = {
    "h_coco_traversal": (
        entry("images", file_name="../../../../etc/passwd"),
        r"record image 7: the picture .* leads out of",
    ),
    "h_coco_absolute": (
        entry("images", file_name="/etc/passwd"),
        r"record image 7: the picture '/etc/passwd' leads out of",
    ),
    "h_coco_nan": (
        first("keypoints", 0, float("nan")),
        r"record 1: keypoints holds a NaN or an infinity",
    ),
    "h_coco_infbox": (first("bbox", 2, float("inf")), r"record 1: bbox holds a NaN or an infinity"),
    "h_coco_hugebox": (
        entry("annotations", bbox=[1e308] * 4),
        r"record 1: bbox is far outside any picture",
    ),
    "h_coco_hugeid": (entry("annotations", id=HUGE), r"id should be a whole number of 64 bits"),
    "h_coco_hugeimgid": (
        image_id(HUGE),
        r"record of a picture: id should be a whole number of 64 bits",
    ),
    "h_coco_strimgid": (
        image_id("abc"),
        r"pred\.json: 1 of 1 records are in pictures that .* do not list, e\.g\. 7",
    ),
    "h_coco_listid": (
        entry("images", id=[1]),
        r"record of a picture: id should be a whole number .* is \[1\]",
    ),
    "h_coco_noimages": (
        whole("images", []),
        r"no person to use \(1 annotation without a picture\)",
    ),
    "h_coco_noann": (whole("annotations", []), r"The split val has no person to use"),
    "h_coco_annint": (whole("annotations", [1, 2]), r"an entry of 'annotations' is no object"),
    "h_coco_imgstr": (whole("images", ["a"]), r"an entry of 'images' is no object"),
    "h_coco_catint": (whole("categories", [3]), r"an entry of 'categories' is no object"),
    "h_coco_catnoid": (
        whole("categories", [{"name": "person"}]),
        r"the category 'person' has no id",
    ),
    "h_coco_catkpint": (
        entry("categories", keypoints=[1, 2]),
        r"has the keypoints 1, 2, but data\.skeleton has nose",
    ),
    "h_coco_catkp7": (
        entry("categories", keypoints=7),
        r"has the keypoints 7, but data\.skeleton has nose",
    ),
    "h_coco_nobbox": (
        lambda content: content["annotations"][0].pop("bbox"),
        r"record 1: bbox has 0 numbers instead of x, y, width, height",
    ),
    "h_coco_bboxstr": (
        entry("annotations", bbox="x"),
        r"record 1: bbox is not a list of numbers: 'x'",
    ),
    "coco_bboxshort": (entry("annotations", bbox=[1, 2]), r"record 1: bbox has 2 numbers"),
    "h_coco_shortkp": (
        entry("annotations", keypoints=[1.0] * 50),
        r"record 1: 50 keypoint numbers instead of 17",
    ),
    "h_coco_dictkp": (
        entry("annotations", keypoints={"a": 1}),
        r"record 1: keypoints is not a list of numbers",
    ),
    "coco_kphuge": (
        entry("annotations", keypoints=[10**400] * 51),
        r"record 1: keypoints is not a list of numbers",
    ),
    "coco_noid": (entry("annotations", id=None), r"id should be a whole number .* is None"),
    "h_coco_negarea": (entry("annotations", area=-5), r"no person to use \(1 box without size\)"),
    "coco_hugearea": (entry("annotations", area=10**400), r"record 1: area should be a number"),
    "h_coco_negwidth": (entry("images", width=-5), r"no person to use \(1 box without size\)"),
}
TEXTS = {
    "h_coco_deep": ("[" * 200_000 + "]" * 200_000, r"nests its brackets too deeply"),
    "h_coco_deep2": (
        '{"images":' + "[" * 100_000 + "]" * 100_000 + ',"annotations":[]}',
        r"nests its brackets too deeply",
    ),
    "h_coco_bignum": ('{"images":[{"id":' + "9" * 1_000_000 + "}]}", r"is not valid JSON"),
    "h_coco_bigexp": (
        json.dumps(coco_example()).replace('"area": ', '"area": 1e999, "z": '),
        r"record 1: area should be a number and is inf",
    ),
    "h_coco_notjson": ("\x00\xff", r"is not valid JSON"),
    "h_coco_empty": ("", r"is not valid JSON"),
    "h_coco_null": ("null", r"has no list 'images'"),
}
RESULTS: dict[str, tuple[Any, str]] = {
    "h_coco_pred_emptylist": ([], r"holds no prediction at all"),
    "h_coco_pred_dict": ({}, r"is not a list of records"),
    "h_coco_pred_scorestr": (
        [coco_result(score="1")],
        r"record 0: its score or a keypoint is not a number",
    ),
    "h_coco_pred_scorenan": (
        [coco_result(score=float("nan"))],
        r"1 of 1 records hold a NaN or an infinity, the first in picture 7",
    ),
    "h_coco_pred_imgstr": ([coco_result(image_id="x")], r"do not list, e\.g\. x"),
    "h_coco_pred_imghuge": (
        [coco_result(image_id=HUGE)],
        r"record 0: image_id should be a whole number of 64 bits",
    ),
    "h_coco_pred_foreign": ([coco_result(image_id=99999)], r"do not list, e\.g\. 99999"),
    "h_coco_pred_kpshort": (
        [coco_result(keypoints=[1, 2])],
        r"record 0: 2 keypoint numbers instead of 17",
    ),
    "h_coco_pred_bboxstr": (
        [coco_result(bbox="abcd")],
        r"record 0: bbox is not a list of numbers: 'abcd'",
    ),
    "h_coco_pred_bboxshort": (
        [coco_result(bbox=[1, 2])],
        r"record 0: its bbox is not x, y, width, height",
    ),
    "h_coco_pred_othercat": (
        [coco_result(category_id=3)],
        r"holds no person: all its records are of other categories",
    ),
    "h_coco_pred_kphuge": (
        [coco_result(keypoints=[10**400] * 51)],
        r"a keypoint or a score is beyond all numbers",
    ),
    "h_coco_pred_floatimg": (
        [coco_result(image_id=7.7)],
        r"record 0: image_id should be a whole number .* is 7\.7",
    ),
    "h_coco_pred_mixbox": (
        [coco_result(bbox=[1, 2, 3, 4]), coco_result()],
        r"record 1: its bbox is not .* All records have one, or none",
    ),
}


def evaluation(root: Path, out: Path) -> tuple[str, ...]:
    return (
        "data=coco",
        f"data.root={root}",
        f"predictions={root / 'pred.json'}",
        f"out={out}",
        "worst=0",
    )


@pytest.mark.parametrize("name", COCO)
def test_a_wrong_annotation(name: str, tmp_path: Path) -> None:
    change, says = COCO[name]
    content = coco_example()
    change(content)
    root = write_coco(tmp_path / "coco", content, [coco_result()])
    refused("evaluate", evaluation(root, tmp_path / "out"), says, tmp_path)


@pytest.mark.parametrize("name", TEXTS)
def test_an_annotation_file_made_to_harm(name: str, tmp_path: Path) -> None:
    text, says = TEXTS[name]
    root = write_coco(tmp_path / "coco", text, [coco_result()])
    refused("evaluate", evaluation(root, tmp_path / "out"), says, tmp_path)


@pytest.mark.parametrize("name", RESULTS)
def test_a_wrong_result_file(name: str, tmp_path: Path) -> None:
    results, says = RESULTS[name]
    root = write_coco(tmp_path / "coco", coco_example(), results)
    refused("evaluate", evaluation(root, tmp_path / "out"), says, tmp_path)


def with_a_crowd_without_a_box(content: dict[str, Any]) -> None:
    crowd = {"id": 5, "category_id": 1, "image_id": 7, "iscrowd": 1, "keypoints": [0] * 51}
    content["annotations"].append(crowd)


SCORED: dict[str, Change] = {
    "h_coco_good": lambda content: None,
    "h_coco_crowdnobox": with_a_crowd_without_a_box,
    "h_coco_dupimg": twice("images"),
    "h_coco_hugewidth": entry("images", width=10**18),
}


@pytest.mark.parametrize("name", SCORED)
def test_an_annotation_file_that_can_be_scored(name: str, tmp_path: Path) -> None:
    content = coco_example()
    SCORED[name](content)
    root = write_coco(tmp_path / "coco", content, [coco_result()])
    assert run("evaluate", *evaluation(root, tmp_path / "out")) == pytest.approx(100)


# LSP Extended: joints.mat


def joints(fill: Callable[[], np.ndarray]) -> Callable[[], Any]:
    """All people's, each joint visible."""
    return lambda: {"joints": np.concatenate([fill(), np.ones((14, 1, 4500))], axis=1)}


LSPET: dict[str, tuple[Callable[[], Any], str]] = {
    "h_lspet_shape": (
        lambda: {"joints": np.zeros((14, 3))},
        r"has no three-dimensional matrix 'joints'",
    ),
    "h_lspet_swap": (
        lambda: {"joints": np.zeros((3, 14, 4500))},
        r"'joints' is \(3, 14, 4500\); is this the file of the other LSP set",
    ),
    "h_lspet_small": (
        lambda: {"joints": np.zeros((14, 3, 10))},
        r"has pictures 1 to 10; data\.read\.val is \[3501, 4500\]",
    ),
    "h_lspet_cell": (
        lambda: {"joints": np.full((14, 3, 2), "x", object)},
        r"'joints' does not hold numbers",
    ),
    "h_lspet_struct": (lambda: {"joints": {"a": 1}}, r"has no three-dimensional matrix 'joints'"),
    "h_lspet_nan": (
        lambda: {"joints": np.full((14, 3, 4500), np.nan)},
        r"no person to use \(1000 fewer than 6 joints\)",
    ),
    "h_lspet_junk": (
        lambda: b"MATLAB 5.0 MAT-file" + b"\0" * 200,
        r"can't be read as a MATLAB file",
    ),
    "h_lspet_inf": (
        joints(lambda: np.full((14, 2, 4500), np.inf)),
        r"record 3501: a joint is NaN or infinite",
    ),
    "h_lspet_huge": (
        joints(lambda: np.linspace(1e299, 1e300, 126_000).reshape(14, 2, 4500)),
        r"PCK can measure nobody: no person has the size that it is in",
    ),
}


@pytest.mark.parametrize("name", LSPET)
def test_wrong_joints(name: str, tmp_path: Path) -> None:
    make, says = LSPET[name]
    content, root = make(), tmp_path / "lspet"
    (root / "images").mkdir(parents=True)
    if isinstance(content, bytes):
        (root / "joints.mat").write_bytes(content)
    else:
        scipy.io.savemat(root / "joints.mat", content)
    np.save(tmp_path / "p.npy", np.zeros((8, 14, 2)))
    words = (
        "data=lspet",
        f"data.root={root}",
        f"predictions={tmp_path / 'p.npy'}",
        f"out={tmp_path / 'out'}",
    )
    refused("evaluate", words, says, tmp_path)


# MPII

MPII: dict[str, tuple[list[Any], dict[str, Any] | None, str]] = {
    "h_mpii_empty": ([], MPII_TRUTH, r"is no list of MPII persons"),
    "h_mpii_listint": ([3], MPII_TRUTH, r"is no list of MPII persons"),
    "h_mpii_matx": ([MPII_PERSON], None, r"\.mat can't be read as a MATLAB file"),
    "h_mpii_nofield": ([MPII_PERSON], {"a": 1}, r"lacks pos_gt_src, jnt_missing or headboxes_src"),
    "h_mpii_objshape": (
        [MPII_PERSON],
        {**MPII_TRUTH, "pos_gt_src": np.ones((3, 2, 1))},
        r"lacks pos_gt_src, jnt_missing or headboxes_src",
    ),
    "h_mpii_trav": (
        [{**MPII_PERSON, "img_paths": "../../x"}],
        MPII_TRUTH,
        r"record 0: the picture '\.\./\.\./x' leads out of",
    ),
    "h_mpii_nan": (
        [{**MPII_PERSON, "scale_provided": float("nan")}],
        MPII_TRUTH,
        r"record 0: scale_provided should be a number and is nan",
    ),
    "h_mpii_neg": (
        [{**MPII_PERSON, "scale_provided": -1}],
        MPII_TRUTH,
        r"record 0: its scale is -1\.0, so it has no size",
    ),
    "h_mpii_imgint": (
        [{**MPII_PERSON, "img_paths": 3}],
        MPII_TRUTH,
        r"record 0: its picture's name is 3",
    ),
    "h_mpii_mixed": ([MPII_PERSON, 3], MPII_TRUTH, r"record 1: an entry is missing or malformed"),
    "h_mpii_head0": (
        [MPII_PERSON],
        MPII_TRUTH,
        r"p\.npy holds an array 8 x 15 x 2, but this split has 1 persons",
    ),
    "h_mpii_wstr": (
        [{**MPII_PERSON, "img_width": "a"}],
        MPII_TRUTH,
        r"record 0: an entry is missing or malformed .*'a'",
    ),
}


@pytest.mark.parametrize("name", MPII)
def test_wrong_people(name: str, tmp_path: Path) -> None:
    people, truth, says = MPII[name]
    root = tmp_path / "mpii"
    (root / "images").mkdir(parents=True)
    (root / "mpii_annotations.json").write_text(json.dumps(people))
    if truth is None:
        (root / "detections_our_format.mat").write_bytes(b"x")
    else:
        scipy.io.savemat(root / "detections_our_format.mat", copy.deepcopy(truth))
    np.save(tmp_path / "p.npy", np.zeros((8, 15, 2)))
    words = (
        "data=mpii",
        f"data.root={root}",
        f"predictions={tmp_path / 'p.npy'}",
        f"out={tmp_path / 'out'}",
    )
    refused("evaluate", (*words, "+data.read.published=false"), says, tmp_path)
