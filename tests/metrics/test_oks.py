"""OKS AP against pycocotools (and faster-coco-eval) on real and on random people: ties, crowds, empty pictures."""

from __future__ import annotations

import contextlib
import copy
import gzip
import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO as Annotations
from pycocotools.cocoeval import COCOeval

from featherpose.crop import centre_and_scale
from featherpose.errors import PoseError
from featherpose.metrics.average_precision import NAMES, average_precision
from featherpose.metrics.oks import OKS, truth_of_persons
from featherpose.metrics.similarity import (
    Detections,
    GroundTruth,
    extent_area,
    may_reach,
    similarity,
)
from featherpose.person import Person, Persons
from featherpose.skeletons import COCO


def random_set(seed, pictures, persons, detections, ties):
    """An annotation and a result file in COCO's form. Ties: few scores, doubled people, exact hits, id 0."""
    rng = np.random.default_rng(seed)
    annotations = []
    for n in range(persons):
        if ties and n % 5 == 4:
            annotations.append({**copy.deepcopy(annotations[-1]), "id": n})
            continue
        box = np.r_[rng.uniform(0, 400, 2), rng.uniform(8, 300, 2)].round(2)
        table = np.zeros((17, 3))
        table[:, :2] = (box[:2] + rng.random((17, 2)) * box[2:]).round()
        table[:, 2] = rng.integers(0, 3, 17) * (rng.random() > 0.15)
        table[table[:, 2] == 0] = 0
        annotations.append(
            {
                "id": n + (not ties),
                "image_id": int(rng.integers(1, pictures + 1)),
                "category_id": 1,
                "iscrowd": int(rng.random() < 0.1),
                "keypoints": table.ravel().tolist(),
                "num_keypoints": int((table[:, 2] > 0).sum()),
                "bbox": box.tolist(),
                "area": float(box[2] * box[3] * 0.6),
            }
        )
    results = []
    for _ in range(detections):
        if rng.random() < 0.7:
            person = annotations[rng.integers(persons)]
            points = np.array(person["keypoints"]).reshape(17, 3)[:, :2]
            if not ties or rng.random() < 0.5:
                points = points + rng.normal(0, rng.choice([0.5, 2, 8, 30]), (17, 2))
            picture = person["image_id"]
        else:
            points = rng.uniform(0, 400, 2) + rng.random((17, 2)) * rng.uniform(5, 300, 2)
            picture = int(rng.integers(1, pictures + 1))
        score = float(rng.integers(1, 5)) / 4 if ties else float(rng.random())
        keypoints = np.c_[points, np.ones(17)].ravel().tolist()
        results.append(
            {"image_id": picture, "category_id": 1, "keypoints": keypoints, "score": score}
        )
    images = [{"id": n + 1, "width": 640, "height": 480} for n in range(pictures)]
    return {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person"}],
        "info": {},
    }, results


def arrays(dataset, results):
    persons = dataset["annotations"]
    table = np.array([p["keypoints"] for p in persons], np.float64).reshape(-1, 17, 3)
    crowd = np.array([p["iscrowd"] for p in persons], bool)
    truth = GroundTruth(
        image_id=np.array([p["image_id"] for p in persons]),
        keypoints=table[..., :2],
        visible=table[..., 2],
        box=np.array([p["bbox"] for p in persons], np.float64),
        area=np.array([p["area"] for p in persons], np.float64),
        crowd=crowd,
        ignore=crowd | np.array([p["num_keypoints"] == 0 for p in persons]),
        person_id=np.array([p["id"] for p in persons]),
        images=np.array([image["id"] for image in dataset["images"]]),
    )
    points = np.array([r["keypoints"] for r in results], np.float64).reshape(-1, 17, 3)[..., :2]
    image_id = np.array([r["image_id"] for r in results], np.int64)
    area = extent_area(points) if len(points) else np.zeros(0)
    return truth, Detections(
        image_id, points, np.array([r["score"] for r in results], np.float64), area
    )


def by_pycocotools(dataset, results):
    with contextlib.redirect_stdout(io.StringIO()):
        annotations = Annotations()
        annotations.dataset = copy.deepcopy(dataset)
        annotations.createIndex()
        evaluation = COCOeval(annotations, annotations.loadRes(copy.deepcopy(results)), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def assert_equal(dataset, results):
    ours = average_precision(*arrays(dataset, results), COCO.sigmas)
    theirs = by_pycocotools(dataset, results).stats
    assert list(ours) == list(NAMES)
    np.testing.assert_allclose(list(ours.values()), theirs, rtol=0, atol=1e-9)
    return ours


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(
    ("pictures", "persons", "detections"), [(30, 80, 500), (3, 60, 400), (200, 90, 60), (1, 1, 1)]
)
def test_random_sets_score_as_with_pycocotools(pictures, persons, detections, ties):
    for seed in range(3):
        assert_equal(*random_set(seed, pictures, persons, detections, ties))


def test_similarities_are_those_of_pycocotools_to_the_bit():
    dataset, results = random_set(5, 6, 40, 90, ties=False)
    evaluation = by_pycocotools(dataset, results)
    truth, found = arrays(dataset, results)
    compared = 0
    for (picture, _), theirs in evaluation.ious.items():
        persons, detections = (
            np.flatnonzero(truth.image_id == picture),
            np.flatnonzero(found.image_id == picture),
        )
        if not len(theirs):
            continue
        detections = detections[np.argsort(-found.score[detections], kind="stable")][:20]
        at, of = (grid.ravel() for grid in np.meshgrid(detections, persons, indexing="ij"))
        ours = similarity(truth, found.keypoints, of, at, evaluation.params.kpt_oks_sigmas)
        np.testing.assert_array_equal(ours.reshape(theirs.shape), theirs)
        compared += theirs.size
    assert compared > 200


@pytest.mark.parametrize("least", [0.3, 0.5, 0.9])
def test_pairs_that_are_ruled_out_are_below(least):
    truth, found = arrays(*random_set(3, 6, 60, 200, ties=True))
    truth.visible[0] = 0  # nobody's distance is that to the box
    at, of = (grid.ravel() for grid in np.meshgrid(np.arange(200), np.arange(60)))
    kept = may_reach(least, truth, found.keypoints, of, at, np.array(COCO.sigmas))
    reaches = similarity(truth, found.keypoints, of, at, np.array(COCO.sigmas)) >= least
    assert set(np.flatnonzero(reaches)) <= set(kept)
    assert len(kept) < 0.7 * len(of)


def test_predictions_are_not_copied():
    persons = people()
    points = np.array([p.joints for p in persons])
    metric = OKS(persons, COCO)
    metric.update(
        torch.arange(len(persons)), torch.from_numpy(points), torch.ones(len(persons), 17)
    )
    assert np.shares_memory(metric.collected()[1], points)
    assert metric.people(metric.collected()[0]) is metric.persons
    metric.reset()
    for half in (slice(0, 5), slice(5, 12)):
        metric.update(
            torch.arange(12)[half], torch.from_numpy(points[half]), torch.ones(12, 17)[half]
        )
    np.testing.assert_array_equal(metric.collected()[1], points)
    assert np.shares_memory(metric.collected()[1], metric.collected()[1])  # pieces are joined once


def test_nothing_found_and_nothing_to_find():
    dataset, results = random_set(7, 10, 20, 30, ties=False)
    truth, found = arrays(dataset, results)
    none = average_precision(truth, found[np.zeros(0, int)], COCO.sigmas)
    assert none["AP"] == none["AR"] == 0  # pycocotools' loadRes refuses an empty list
    for person in dataset["annotations"]:
        person.update(iscrowd=1)
    assert set(assert_equal(dataset, results).values()) == {-1.0}


def test_detections_in_pictures_without_people_are_wrong():
    dataset, results = random_set(8, 4, 12, 40, ties=False)
    before = assert_equal(dataset, results)["AP"]
    dataset["images"].append({"id": 99})
    results += [{**copy.deepcopy(r), "image_id": 99, "score": 2.0} for r in results]
    assert assert_equal(dataset, results)["AP"] < before


def test_real_people_score_as_with_pycocotools_and_faster_coco_eval(real_data):
    path = real_data / "coco_eval" / "person_keypoints_val2017_reconstructed.json.gz"
    with gzip.open(path) as file:
        dataset = json.load(file)
    keep = {image["id"] for image in dataset["images"][::6]}
    dataset["images"] = [image for image in dataset["images"] if image["id"] in keep]
    dataset["annotations"] = [p for p in dataset["annotations"] if p["image_id"] in keep]
    rng = np.random.default_rng(0)
    results = []
    for person in dataset["annotations"] * 2:
        table = np.array(person["keypoints"], np.float64).reshape(17, 3)
        table[:, :2] += rng.normal(0, rng.choice([0.02, 0.06]) * person["area"] ** 0.5, (17, 2))
        score = float(rng.random())
        results.append(
            {
                "image_id": person["image_id"],
                "category_id": 1,
                "keypoints": table.ravel().tolist(),
                "score": score,
            }
        )
    ours = assert_equal(dataset, results)
    assert 0.2 < ours["AP"] < 0.95
    faster = pytest.importorskip("faster_coco_eval")
    truth = faster.COCO(copy.deepcopy(dataset))
    evaluation = faster.COCOeval_faster(truth, truth.loadRes(copy.deepcopy(results)), "keypoints")
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    np.testing.assert_allclose(
        list(ours.values()), np.array(evaluation.stats)[:10], rtol=0, atol=1e-9
    )


def test_the_example_of_the_data_folder(real_data):
    dataset = json.loads((real_data / "coco_eval" / "example_coco_val.json").read_text())
    results = json.loads((real_data / "coco_eval" / "example_coco_preds.json").read_text())
    assert assert_equal(dataset, results)["AP"] == pytest.approx(0.861, abs=5e-4)


def people(count=12, seed=0):
    rng = np.random.default_rng(seed)
    persons = []
    for n in range(count):
        size = rng.uniform(60, 200)
        joints = rng.uniform(0, 300, 2) + rng.random((17, 2)) * size
        visible = rng.integers(0, 3, 17).astype(np.uint8)
        visible[0] = 2
        box = np.r_[joints.min(axis=0), np.ptp(joints, axis=0)]
        centre, scale = box[:2] + box[2:] / 2, np.full(2, size / 160)
        persons.append(
            Person("none", joints, visible, centre, scale, box, n // 3, n, area=size**2 / 2)
        )
    return persons


def update(metric, persons, noise=0.0, confidence=1.0):
    points = (
        np.array([p.joints for p in persons])
        + np.random.default_rng(1).normal(0, 1, (len(persons), 17, 2)) * noise
    )
    metric.update(
        torch.arange(len(persons)),
        torch.from_numpy(points),
        torch.full((len(persons), 17), confidence),
    )
    return metric


def test_exact_predictions_are_perfect_and_worse_ones_worse():
    persons = people()
    perfect = update(OKS(persons, COCO), persons).compute()
    assert perfect["AP"] == pytest.approx(100)
    assert perfect["joint/wrist"] == pytest.approx(100)
    noisy = update(OKS(persons, COCO), persons, noise=8).compute()
    assert noisy["AP"] < 100
    assert next(iter(noisy)) == OKS(persons, COCO).main == "AP"


def test_joints_of_low_confidence_do_not_raise_the_score():
    persons = people()
    metric = update(OKS(persons, COCO, suppression="none"), persons, confidence=0.1)
    assert not metric.results()[3].any()
    metric = update(
        OKS(persons, COCO, suppression="none", rescoring=False), persons, confidence=0.1
    )
    assert metric.results()[3].tolist() == [1.0] * len(persons)


def test_truth_is_read_when_needed_and_all_its_pictures_count():
    persons = people()
    truth = truth_of_persons(Persons.of(persons))
    with_empty = GroundTruth(**{**truth.__dict__, "images": np.append(truth.images, 500)})
    read = []

    def reader():
        read.append(True)
        return with_empty

    metric = OKS(persons, COCO, truth=reader)
    assert not read
    update(metric, persons)
    assert metric.compute()["AP"] == pytest.approx(100)
    metric.reset()
    metric.update(
        torch.arange(3),
        torch.from_numpy(np.array([p.joints for p in persons[:3]])),
        torch.ones(3, 17),
    )
    assert metric.compute()["AP"] == pytest.approx(
        100
    )  # a part of the persons is scored on its own pictures
    assert len(read) == 1


def test_a_skeleton_without_sigmas_has_one_for_all_and_a_score_of_another_name():
    persons = people()
    bare = replace(COCO, sigmas=None)
    noisy = update(OKS(persons, bare), persons, noise=8)
    same = update(OKS(persons, replace(COCO, sigmas=(0.067,) * 17)), persons, noise=8)
    assert np.mean(COCO.sigmas) == pytest.approx(0.067, abs=5e-4)
    found = noisy.compute()
    assert noisy.main == next(iter(found)) == "AP(sigma 0.067)"
    assert same.main == noisy.main, "the same measure, whoever says it"
    assert found[noisy.main] == pytest.approx(same.compute()[same.main], abs=1e-12)
    assert "AP" not in found


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"suppression": "nms"}, "known: hard, soft, none"),
        ({"threshold": 2}, r"data\.metric\.threshold is 2; it has to be a number from 0 to 1"),
        ({"rescoring": "maybe"}, r"data\.metric\.rescoring is maybe"),
    ],
)
def test_a_wrong_setting_is_refused_in_one_sentence(wrong, sentence):
    with pytest.raises(PoseError, match=sentence):
        OKS([], COCO, **wrong)


# What HRNet's `oks_nms` and `soft_oks_nms` (lib/nms/nms.py, in_vis_thre None) keep of `crowd()`, in their order, with
# the areas that its COCO class and `validate` give: np.prod(scale * 200) of the padded box fitted to 3:4.
HRNET_KEEPS = {
    "hard": [15, 3, 2, 1, 17, 13, 29, 16, 22, 25, 26, 31],
    "soft": [15, 3, 17, 29, 1, 13, 18, 2, 25, 10, 20, 4, 30, 11, 16, 6, 27, 14, 22, 7],
}


def crowd(people: int = 4, each: int = 8) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes, keypoints and scores: some people of one picture, each found several times, more or less alike."""
    rng = np.random.default_rng(0)
    boxes = rng.uniform((0, 0, 20, 60), (300, 300, 120, 240), (people, 4)).repeat(each, axis=0)
    pose = rng.random((people, 17, 2)).repeat(each, axis=0)
    size = np.sqrt(boxes[:, 2] * boxes[:, 3])[:, None, None]
    spread = rng.uniform(0.01, 0.06, (people * each, 1, 1)) * size
    keypoints = (
        boxes[:, None, :2] + pose * boxes[:, None, 2:] + rng.normal(size=pose.shape) * spread
    )
    return boxes, keypoints, rng.random(people * each)


@pytest.mark.parametrize("suppression", HRNET_KEEPS)
def test_suppression_takes_the_areas_that_hrnet_takes(suppression):
    boxes, keypoints, scores = crowd()
    persons = []
    for n, (box, score) in enumerate(zip(boxes, scores, strict=True)):
        centre, scale = centre_and_scale(box)
        none = {"joints": np.zeros((17, 2)), "visible": np.zeros(17, np.uint8)}
        keys = {"centre": centre, "scale": scale, "box": box, "score": score}
        persons.append(Person(image="x", image_id=1, person_id=n, **none, **keys))
    metric = OKS(persons, COCO, suppression=suppression, rescoring=False, aspect=0.75)
    metric.update(
        torch.arange(len(boxes)), torch.from_numpy(keypoints), torch.ones(keypoints.shape[:2])
    )
    assert metric.results()[0].tolist() == HRNET_KEEPS[suppression]


def off_by(similarity, area, joint):
    """How many pixels a joint has to be off for that similarity: exp(-d² / (2 area (2 sigma)²))."""
    return 2 * COCO.sigmas[joint] * np.sqrt(2 * area * np.log(1 / similarity))


def test_joints_and_persons_by_hand():
    nose, left, right = (COCO.index(name) for name in ("nose", "left_wrist", "right_wrist"))
    persons = people(3)
    visible = np.full((3, 17), 2, np.uint8)
    visible[0, right] = visible[1, 1:] = visible[2] = 0
    persons = [replace(p, visible=v, area=900.0) for p, v in zip(persons, visible, strict=True)]
    points = np.array([p.joints for p in persons])
    points[0, left, 0] += off_by(0.5, 900, left)
    points[0, right] += 500  # not annotated
    points[1, nose, 1] -= off_by(0.25, 900, nose)
    metric = OKS(persons, COCO)
    metric.update(torch.arange(3), torch.from_numpy(points), torch.ones(3, 17))

    percentages, counts = metric.by_joint()
    assert [counts[j] for j in (nose, left, right)] == [2, 1, 0]
    assert [percentages[j] for j in (nose, left)] == pytest.approx([62.5, 50])
    assert np.isnan(percentages[right])
    assert percentages[COCO.index("left_hip")] == pytest.approx(100)
    index, errors = metric.by_person()
    assert index.tolist() == [0, 1]
    assert errors == pytest.approx([0.5 / 16, 0.75])
    assert metric.compute()["joint/wrist"] == pytest.approx(50)


def twins(*shifts):
    """One person of a box of 200 x 200, found several times, each time so many pixels to the right."""
    first = people(1)[0]
    persons = [
        replace(first, person_id=n, scale=np.ones(2), score=1 - n / 100) for n in range(len(shifts))
    ]
    points = np.array([first.joints + np.array([shift, 0]) for shift in shifts])
    return persons, points


@pytest.mark.parametrize(("oks", "left"), [(0.91, [0]), (0.89, [0, 1])])
def test_who_is_found_twice_a_few_pixels_apart_counts_once(oks, left):
    """Above 0.9, of the box's 40,000 square pixels; the shift is searched for by the formula."""
    variances = (2 * np.array(COCO.sigmas)) ** 2
    shifts = np.linspace(0, 20, 20001)
    alike = np.exp(-(shifts[:, None] ** 2) / (2 * 40_000 * variances)).mean(axis=1)
    persons, points = twins(0.0, shifts[np.abs(alike - oks).argmin()])
    metric = OKS(persons, COCO)
    metric.update(torch.arange(2), torch.from_numpy(points), torch.ones(2, 17))
    assert metric.results()[0].tolist() == left


def test_without_suppression_everybody_stays():
    persons, points = twins(*[0.0] * 25)
    for suppression, left in (("none", 25), ("soft", 20), ("hard", 1)):
        metric = OKS(persons, COCO, suppression=suppression)
        metric.update(torch.arange(25), torch.from_numpy(points), torch.ones(25, 17))
        assert len(metric.results()[0]) == left, suppression


def test_noisy_predictions_score_as_with_pycocotools():
    persons = people(40, seed=3)
    rng = np.random.default_rng(4)
    points = np.array([p.joints for p in persons]) + rng.normal(0, 6, (40, 17, 2))
    confidence = np.repeat(rng.uniform(0.3, 1, (40, 1)), 17, axis=1)
    annotations, results = [], []
    for n, person in enumerate(persons):
        table = np.c_[person.joints, person.visible]
        entry = {"image_id": person.image_id, "category_id": 1}
        annotations.append(
            {
                **entry,
                "id": n + 1,
                "iscrowd": 0,
                "keypoints": table.ravel().tolist(),
                "num_keypoints": int((person.visible > 0).sum()),
                "bbox": person.box.tolist(),
                "area": person.area,
            }
        )
        found = np.c_[points[n], np.ones(17)].ravel().tolist()
        results.append({**entry, "keypoints": found, "score": confidence[n, 0]})
    dataset = {
        "images": [{"id": n} for n in range(14)],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person"}],
        "info": {},
    }
    metric = OKS(persons, COCO)
    metric.update(torch.arange(40), torch.from_numpy(points), torch.from_numpy(confidence))
    ours = metric.compute()
    theirs = by_pycocotools(dataset, results).stats
    assert 20 < ours["AP"] < 95
    np.testing.assert_allclose([ours[name] for name in NAMES], 100 * theirs, rtol=0, atol=1e-7)


def test_who_has_no_annotated_joint_neither_helps_nor_harms():
    persons = people(4)
    persons[0] = replace(persons[0], visible=np.zeros(17, np.uint8))
    persons[1] = replace(persons[1], visible=np.full(17, 2, np.uint8))
    persons[2] = replace(persons[2], visible=np.full(17, 2, np.uint8))
    truth = truth_of_persons(Persons.of(persons))
    assert truth.ignore.tolist() == [True, False, False, False]
    assert not truth.crowd.any()  # readers leave crowds out
    assert truth.image_id.tolist() == [0, 0, 0, 1] and truth.images.tolist() == [0, 1]
