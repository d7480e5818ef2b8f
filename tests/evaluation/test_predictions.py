"""Keypoints from files: axis orders, kinds of files, and a sentence for everything that can be wrong with them."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import scipy.io

from featherpose.errors import PoseError
from featherpose.evaluation.predictions import Predictions, read_keypoints, write_mpii
from featherpose.person import People, Person
from featherpose.runs.predictions import keep_predictions


@pytest.fixture
def people():
    rng = np.random.default_rng(0)
    persons = []
    for n in range(9):
        centre = np.array([400.0 * n + 200, 300])
        joints = centre + rng.uniform(-90, 90, (16, 2))
        box = np.r_[centre - 100, 200, 200]
        persons.append(
            Person(
                f"{n}.jpg", joints, np.full(16, 2, np.uint8), centre, np.full(2, 1.25), box, n, n
            )
        )
    return People(persons)


@pytest.fixture
def keypoints(people):
    return np.array([person.joints for person in people.persons])


@pytest.mark.parametrize(
    "order", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
)
def test_any_axis_order_is_recognised(order, people, keypoints, tmp_path):
    np.save(tmp_path / "preds.npy", keypoints.transpose(order))
    found = read_keypoints(tmp_path / "preds.npy", people, 16, first_pixel=0)
    np.testing.assert_array_equal(found.keypoints[0], keypoints)
    assert found.index.tolist() == list(range(9))


@pytest.mark.parametrize("suffix", ["mat", "h5", "npz", "npy"])
def test_any_kind_of_file_is_read(suffix, people, keypoints, tmp_path):
    path, with_confidence = (
        tmp_path / f"p.{suffix}",
        np.dstack([keypoints + 1, np.full((9, 16), 0.25)]),
    )
    if suffix == "mat":
        scipy.io.savemat(path, {"preds": with_confidence, "note": "anything"})
    elif suffix == "h5":
        with h5py.File(path, "w") as file:
            file["preds"] = with_confidence
    elif suffix == "npz":
        np.savez(path, preds=with_confidence, other=np.zeros(3))
    else:
        np.save(path, with_confidence)
    found = read_keypoints(path, people, 16, first_pixel=1)
    np.testing.assert_allclose(found.keypoints[0], keypoints)
    assert (found.confidence == 0.25).all()


def test_what_is_written_is_read_back(people, keypoints, tmp_path):
    write_mpii(tmp_path / "pred.mat", keypoints)
    np.testing.assert_allclose(
        read_keypoints(tmp_path / "pred.mat", people, 16, first_pixel=1).keypoints[0], keypoints
    )
    path = tmp_path / "predictions" / "val.npz"
    run = Predictions(
        np.array([2, 5]), keypoints[None, [2, 5]].repeat(3, axis=0), np.ones((3, 2, 16))
    )
    keep_predictions(path, run.index, run.keypoints, run.confidence, people.persons)
    found = read_keypoints(path, people, 16, first_pixel=1)
    np.testing.assert_array_equal(
        found.keypoints, run.keypoints
    )  # a run's file counts from 0 whatever the dataset
    assert found.index.tolist() == [2, 5]


def nan(keypoints):
    keypoints[3, 4, 0] = np.nan
    return keypoints


def two_exchanged(keypoints):
    """As few of MPII's people lie far off where its order is another."""
    return keypoints[[1, 0, *range(2, 9)]]


BAD = {
    "one person less": (lambda k: k[:-1], "8 x 16 x 2, but this split has 9 persons of 16 joints"),
    "other joints": (lambda k: k[:, :14], "9 x 14 x 2, but this split has 9 persons of 16 joints"),
    "not a number": (nan, "1 of 9 persons have a NaN or an infinity, the first is person 3"),
    "another order": (lambda k: k[::-1], "Their order is not that of the annotations"),
    "two exchanged": (two_exchanged, "22% of the predictions lie far .* Their order is not that"),
}


@pytest.mark.parametrize("case", BAD)
def test_wrong_predictions_are_told(case, people, keypoints, tmp_path):
    change, sentence = BAD[case]
    np.save(tmp_path / "p.npy", change(keypoints))
    with pytest.raises(PoseError, match=sentence) as caught:
        read_keypoints(tmp_path / "p.npy", people, 16, first_pixel=0)
    assert "p.npy" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_predictions_are_told(people, tmp_path):
    (tmp_path / "empty.mat").touch()
    (tmp_path / "broken.h5").write_bytes(b"no such format")
    (tmp_path / "text.csv").write_text("1,2,3")
    np.savez(tmp_path / "two.npz", a=np.zeros((2, 3, 4)), b=np.zeros((2, 3, 4)))
    sentences = {
        "missing.mat": "There is no prediction file",
        "empty.mat": "is empty",
        "broken.h5": "can't be read",
        "text.csv": "predictions are .mat, .h5, .npy or .npz",
        "two.npz": "it holds a, b",
    }
    for name, sentence in sentences.items():
        with pytest.raises(PoseError, match=sentence):
            read_keypoints(tmp_path / name, people, 16, first_pixel=0)


RUN = {
    "negative": ({"index": np.arange(9) - 5}, "below 0 or a person twice"),
    "twice": ({"index": np.zeros(9, int)}, "below 0 or a person twice"),
    "surplus": ({"index": np.arange(9) + 1}, "predicts person 9, but this split has 9"),
    "names": ({"index": np.array(["a"] * 9)}, "its index is not the list of the persons"),
    "shares": ({"index": np.arange(9) + 0.7}, "its index is not the list of the persons"),
    "nobody": ({"index": np.zeros(0, int)}, "its index is not the list of the persons"),
    "no stage": ({"keypoints": np.zeros((0, 9, 16, 2))}, "not stages x 9 x 16 x 2"),
    "few confidences": ({"confidence": np.ones((3, 3))}, r"its confidences are \(3, 3\)"),
    "NaN": ({"keypoints": np.full((1, 9, 16, 2), np.nan)}, "not all finite real numbers"),
    "complex": ({"keypoints": np.ones((1, 9, 16, 2), complex)}, "not all finite real numbers"),
}


@pytest.mark.parametrize("case", RUN)
def test_wrong_predictions_of_a_run_are_told(case, people, keypoints, tmp_path):
    change, sentence = RUN[case]
    good = {
        "index": np.arange(9),
        "keypoints": keypoints[None],
        "confidence": np.ones((1, 9, 16)),
    }
    np.savez(tmp_path / "val.npz", **{**good, **change})
    with pytest.raises(PoseError, match=sentence):
        read_keypoints(tmp_path / "val.npz", people, 16, first_pixel=0)


def test_files_that_point_elsewhere_or_promise_too_much_are_refused(people, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"\0" * (9 * 16 * 2 * 8))

    def outside(file):
        where = [(str(secret), 0, h5py.h5f.UNLIMITED)]
        file.create_dataset("preds", (9, 16, 2), "f8", external=where)

    def virtual(file):
        layout = h5py.VirtualLayout((9, 16, 2), "f8")
        layout[:] = h5py.VirtualSource("other.h5", "preds", (9, 16, 2))
        file.create_virtual_dataset("preds", layout)

    makers = {
        "external": (outside, "lies in another file"),
        "virtual": (virtual, "lies in another file"),
        "link": (lambda f: f.__setitem__("preds", h5py.ExternalLink("o.h5", "x")), "another file"),
        "huge": (
            lambda f: f.create_dataset("preds", (10**6, 10**4, 2), "f8", chunks=(1000, 100, 2)),
            r"unpacks to 160\.0 GB",
        ),
    }
    for name, (make, sentence) in makers.items():
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            make(file)
        with pytest.raises(PoseError, match=sentence):
            read_keypoints(tmp_path / f"{name}.h5", people, 16, first_pixel=0)
    np.save(tmp_path / "complex.npy", np.zeros((9, 16, 2), complex))
    with pytest.raises(PoseError, match="complex128, not real numbers"):
        read_keypoints(tmp_path / "complex.npy", people, 16, first_pixel=0)


def test_a_packed_file_is_measured_before_it_is_unpacked(people, tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "zeros.npz", preds=np.zeros((9, 16, 2000)))
    monkeypatch.setattr("featherpose.evaluation.predictions.LARGEST", 10**6)
    with pytest.raises(PoseError, match="more than predictions can take"):
        read_keypoints(tmp_path / "zeros.npz", people, 16, first_pixel=0)
