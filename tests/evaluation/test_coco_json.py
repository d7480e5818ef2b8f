"""COCO's files: results are read as pycocotools takes them, and what is wrong with them is told."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
from PIL import Image

from featherpose.data.readers import coco
from featherpose.errors import PoseError
from featherpose.evaluation.coco_json import (
    detected_people,
    folder_of,
    official_scores,
    read_results,
    write_results,
)
from featherpose.image import load
from featherpose.metrics.average_precision import average_precision
from featherpose.skeletons import COCO
from featherpose.synthetic.formats import write


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("coco")
    write("coco", folder, 40)
    return folder


@pytest.fixture(scope="module")
def results(folder):
    rng = np.random.default_rng(0)
    found = []
    for person in coco.read(folder, "val").persons:
        for spread in (0.02, 0.1):
            points = person.joints + rng.normal(0, spread * person.area**0.5, (17, 2))
            keypoints = np.c_[points, rng.random(17)].ravel().tolist()
            score = float(rng.random())
            found.append(
                {
                    "image_id": person.image_id,
                    "category_id": 1,
                    "keypoints": keypoints,
                    "score": score,
                }
            )
    return found


@pytest.mark.parametrize("boxes", [False, True])
def test_result_files_score_as_with_pycocotools(boxes, folder, results, tmp_path):
    annotations = folder / "annotations" / "person_keypoints_val2017.json"
    if boxes:  # then pycocotools takes a detection's area from its box
        results = [{**r, "bbox": [0.0, 0.0, 60.0 + n, 70.0]} for n, r in enumerate(results)]
    path = tmp_path / "results.json"
    path.write_text(json.dumps(results))
    truth = coco.ground_truth(folder)
    found, _ = read_results(path, truth, COCO)
    ours = average_precision(truth, found, COCO.sigmas)
    theirs = official_scores(annotations, path, COCO.similarity_sigmas)
    assert 5 < theirs["AP"] < 100
    for name, value in theirs.items():
        assert (value == pytest.approx(100 * ours[name], abs=1e-9)) or (
            np.isnan(value) and ours[name] == -1
        )


def test_results_are_written_compactly_and_read_back(folder, results, tmp_path):
    truth, path = coco.ground_truth(folder), tmp_path / "r.json"
    (tmp_path / "first.json").write_text(json.dumps(results))
    found, confidence = read_results(tmp_path / "first.json", truth, COCO)
    write_results(path, found.image_id, found.keypoints.round(3), confidence, found.score)
    again, _ = read_results(path, truth, COCO)
    np.testing.assert_array_equal(again.score, found.score)
    np.testing.assert_array_equal(again.keypoints, found.keypoints.round(3))
    assert ", " not in path.read_text()
    assert path.stat().st_size < 0.6 * (tmp_path / "first.json").stat().st_size


def changed(results, **fields):
    results = copy.deepcopy(results)
    results[1].update(fields)
    return results


WRONG = {
    "empty": (lambda r: [], "holds no prediction at all"),
    "annotations": (lambda r: {"images": [], "annotations": []}, "is an annotation file"),
    "no list": (lambda r: {"a": 1}, "is not a list of records"),
    "no score": (
        lambda r: [{k: v for k, v in r[0].items() if k != "score"}],
        "record 0: it has no score",
    ),
    "too few numbers": (
        lambda r: changed(r, keypoints=[1.0] * 34),
        "record 1: 34 keypoint numbers instead of 17",
    ),
    "text": (
        lambda r: changed(r, score="high"),
        "record 1: its score or a keypoint is not a number",
    ),
    "NaN": (lambda r: changed(r, score=float("nan")), "1 of .* records hold a NaN"),
    "no picture": (lambda r: changed(r, image_id=1000.7), "record 1: image_id should be a whole"),
    "a picture beyond 64 bits": (
        lambda r: changed(r, image_id=10**30),
        "image_id should be a whole",
    ),
    "a picture's name": (lambda r: changed(r, image_id="x"), "do not list, e.g. x"),
    "text for a number": (
        lambda r: changed(r, image_id=str(r[1]["image_id"])),
        "do not list, .* image_id is text here and a number in the annotations",
    ),
    "other categories": (lambda r: [{**r[0], "category_id": 3}], "all its records are of other"),
    "beyond all numbers": (lambda r: changed(r, keypoints=[10**400] * 51), "beyond all numbers"),
    "a box of text": (lambda r: [{**r[0], "bbox": "abcd"}], "bbox is not a list of numbers"),
    "a short box": (lambda r: [{**r[0], "bbox": [1, 2]}], "bbox is not x, y, width, height"),
    "boxes for some": (
        lambda r: [{**r[0], "bbox": [1, 2, 3, 4]}, r[1]],
        "record 1: its bbox is not",
    ),
    "foreign picture": (
        lambda r: changed(r, image_id=987654),
        "1 of .* records are in pictures .* 987654",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_results_are_told(case, folder, results, tmp_path):
    change, sentence = WRONG[case]
    (tmp_path / "bad.json").write_text(json.dumps(change(results)))
    with pytest.raises(PoseError, match=sentence) as caught:
        read_results(tmp_path / "bad.json", coco.ground_truth(folder), COCO)
    assert "bad.json" in str(caught.value)


def test_an_empty_file_is_told(folder, tmp_path):
    (tmp_path / "bad.json").touch()
    with pytest.raises(PoseError, match="not valid JSON"):
        read_results(tmp_path / "bad.json", coco.ground_truth(folder), COCO)


def test_detected_boxes_in_pictures_without_anybody_count(folder, tmp_path):
    annotations = folder / "annotations" / "person_keypoints_val2017.json"
    content = json.loads(annotations.read_text())
    content["images"].append({"id": 77_000, "file_name": "nobody.jpg", "width": 10, "height": 10})
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    picture = content["images"][0]["id"]
    boxes = [
        {"image_id": picture, "category_id": 1, "bbox": [1, 2, 30, 60], "score": 0.9},
        {"image_id": 77_000, "category_id": 1, "bbox": [1, 2, 30, 60], "score": 0.8},
        {"image_id": picture, "category_id": 3, "bbox": [1, 2, 30, 60], "score": 0.9},
        {"image_id": 123_456, "category_id": 1, "bbox": [1, 2, 30, 60], "score": 0.9},
        {"image_id": picture, "category_id": 1, "bbox": [1, 2, 0, 60], "score": 0.9},
        {"image_id": picture, "category_id": 1, "bbox": [1, 2, 60], "score": 0.9},
        {"image_id": picture, "category_id": 1, "bbox": ["1", 2, 30, 60], "score": 0.9},
        {"image_id": picture, "category_id": 1, "score": 0.9},
    ]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    people = detected_people(
        tmp_path / "boxes.json", tmp_path / "annotations.json", folder / "val2017", 17
    )
    assert [person.image_id for person in people.persons] == [picture, 77_000]
    assert [person.score for person in people.persons] == [0.9, 0.8]
    assert people.skipped == {"of other categories": 1, "in other pictures": 1, "without size": 4}
    (tmp_path / "boxes.json").write_text(json.dumps(boxes[3:]))
    with pytest.raises(PoseError, match="no box to use"):
        detected_people(
            tmp_path / "boxes.json", tmp_path / "annotations.json", folder / "val2017", 17
        )


def test_pictures_with_names_for_ids_are_scored_and_written(folder, results, tmp_path):
    """Result files of people's own data say the annotations' ids, also where those are text."""
    content = json.loads((folder / "annotations" / "person_keypoints_val2017.json").read_text())
    for record in content["images"]:
        record["id"] = f"picture {record['id']}"
    for record in content["annotations"]:
        record["image_id"] = f"picture {record['image_id']}"
    annotations = tmp_path / "annotations" / "person_keypoints_val2017.json"
    annotations.parent.mkdir()
    annotations.write_text(json.dumps(content))
    named = [{**record, "image_id": f"picture {record['image_id']}"} for record in results]
    path, again = tmp_path / "results.json", tmp_path / "again.json"
    path.write_text(json.dumps(named))
    truth = coco.ground_truth(tmp_path)
    found, confidence = read_results(path, truth, COCO)
    plain = json.dumps(results)
    (tmp_path / "plain.json").write_text(plain)
    expected = coco.ground_truth(folder)
    numbers, _ = read_results(tmp_path / "plain.json", expected, COCO)
    with pytest.raises(PoseError, match="image_id is a number here and text in the annotations"):
        read_results(tmp_path / "plain.json", truth, COCO)
    assert average_precision(truth, found, COCO.sigmas) == average_precision(
        expected, numbers, COCO.sigmas
    )
    write_results(again, found.image_id, found.keypoints, confidence, found.score, truth.names)
    assert {r["image_id"] for r in json.loads(again.read_text())} == {r["image_id"] for r in named}
    boxes = [{"image_id": named[0]["image_id"], "category_id": 1, "bbox": [1, 2, 30, 60]}]
    (tmp_path / "boxes.json").write_text(json.dumps([{**boxes[0], "score": 0.9}]))
    (person,) = detected_people(tmp_path / "boxes.json", annotations, folder, 17).persons
    assert person.image_name == named[0]["image_id"]
    assert truth.names[person.image_id] == person.image_name


def test_pictures_of_detected_boxes_are_those_of_the_annotations(tmp_path):
    """People's own sets: folders in the names, and a telephone's picture that its EXIF turns."""
    name = "monday/turned.jpg"
    path = tmp_path / "images" / name
    path.parent.mkdir(parents=True)
    picture = np.zeros((60, 100, 3), np.uint8)
    picture[:, :50] = 255
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(picture).save(path, exif=turned)
    annotations = {
        "images": [{"id": 1, "file_name": name, "width": 60, "height": 100}],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 1,
                "keypoints": [30, 50, 2] * 17,
                "bbox": [5, 5, 50, 90],
                "area": 4500,
            }
        ],
        "categories": [{"id": 1, "name": "person", "keypoints": list(COCO.joints)}],
    }
    (tmp_path / "val.json").write_text(json.dumps(annotations))
    box = {"image_id": 1, "category_id": 1, "bbox": [5, 5, 50, 90], "score": 0.9}
    (tmp_path / "boxes.json").write_text(json.dumps([box]))
    annotated = coco.read(tmp_path, "val", annotations="{split}.json", images="images").persons
    files = tmp_path / "boxes.json", tmp_path / "val.json"
    (person,) = detected_people(*files, folder_of(annotated[0], files[1]), 17).persons
    assert person.image == annotated[0].image
    assert load(person).shape == load(annotated[0]).shape == (100, 60, 3)
