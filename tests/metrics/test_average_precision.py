"""Precision, score and recall as arrays are pycocotools', on made cases; `python THIS_FILE 10000` takes so many."""

from __future__ import annotations

import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # ties, crowds and empty pictures are made there
from test_oks import arrays, by_pycocotools, random_set

from featherpose.benchmarks.evaluation import crowd
from featherpose.metrics import pairs
from featherpose.metrics.average_precision import AREAS, curves
from featherpose.skeletons import COCO

CASES = 30
LIMITS = (32.0**2, 96.0**2, 1e5**2)  # of the area ranges


def case(seed: int) -> tuple[dict, list[dict]]:
    mix = np.random.default_rng(seed)
    pictures, persons = int(mix.integers(1, 5)), int(mix.integers(1, 9))
    detections = int(mix.choice([1, 5, 20, 70]))  # 70 in few pictures: more than 20 each
    dataset, results = random_set(seed, pictures, persons, detections, bool(mix.integers(2)))
    for person in dataset["annotations"]:
        if mix.random() < 0.3:
            person["area"] = float(np.nextafter(mix.choice(LIMITS), mix.choice([0, 1e99])))
        elif mix.random() < 0.3:
            person["area"] = float(mix.choice(LIMITS))
        elif mix.random() < 0.05:
            person["area"] = float(mix.choice([0.0, -4.0, 1e300]))
    for found in results:
        if mix.random() < 0.03:
            found["keypoints"][int(mix.integers(51))] = float(mix.choice([np.inf, -np.inf, 1e200]))
        if mix.random() < 0.03:
            found["score"] = float(mix.choice([np.inf, -np.inf, -1.0, 0.0]))
    if mix.random() < 0.2:  # a picture with nobody in it, and one in which nobody is found
        dataset["images"] += [{"id": 50}, {"id": 51}]
        results[-1]["image_id"] = 50
        dataset["annotations"][-1]["image_id"] = 51
    return dataset, results


def assert_same_arrays(seed: int) -> None:
    dataset, results = case(seed)
    theirs = by_pycocotools(dataset, results).eval
    ours = curves(*arrays(dataset, results), COCO.sigmas)
    for name, mine in (("precision", ours.precision), ("scores", ours.score)):
        expected = theirs[name][:, :, 0, :, 0]  # (T, 101, A)
        np.testing.assert_array_equal(mine.transpose(1, 2, 0), expected, f"{name} of case {seed}")
    np.testing.assert_array_equal(ours.recall.T, theirs["recall"][:, 0, :, 0], f"case {seed}")


@pytest.mark.parametrize("size", [1, 1 << 14])
def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(pairs, "PAIRS", size)
    for seed in range(5):
        assert_same_arrays(seed)


def test_memory_is_that_of_a_block() -> None:
    """In bytes for each person more, beside the people and their predictions, which are 600."""
    peaks = []
    for count in (5_000, 25_000):
        truth, found = crowd(count, count, seed=0)
        tracemalloc.start()
        curves(truth, found, COCO.sigmas)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (peaks[1] - peaks[0]) / 20_000 < 140


def test_arrays_are_those_of_pycocotools() -> None:
    assert list(AREAS) == ["all", "medium", "large"]
    for seed in range(CASES):
        assert_same_arrays(seed)


def test_a_nan_is_not_found() -> None:
    """pycocotools takes it for a match at every threshold, since no comparison says that it is below."""
    dataset, results = random_set(0, 1, 1, 1, ties=False)
    results[0] |= {"image_id": 1, "keypoints": [float("nan")] * 51}
    dataset["annotations"][0] |= {"image_id": 1, "iscrowd": 0, "num_keypoints": 17}
    assert by_pycocotools(dataset, results).eval["recall"].max() == 1
    assert curves(*arrays(dataset, results), COCO.sigmas).recall.max() == 0


if __name__ == "__main__":
    for number in range(int(sys.argv[1])):
        assert_same_arrays(number)
        if number % 1000 == 999:
            print(f"{number + 1} equal so far", flush=True)
    print(f"{sys.argv[1]} cases: equal")
