"""Keypoints from and to files: MPII's and LSP's arrays, and the predictions that a run keeps."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io

from featherpose.crop import PIXEL_STD
from featherpose.errors import PoseError
from featherpose.person import People, Persons

KEY = "preds"
LARGEST = (
    2**31
)  # bytes of a file unpacked: COCO's 11,000 validation persons in eight stages are 50 MB
# Share of persons whose prediction lies off their crop, from which a file is of other persons. Measured on MPII's 2,958
# validation persons: the two published hourglass files 0, the annotated joints 0.1%; the same files reversed 21.2%, in
# random order 20.8% and 21.4%, shifted by one person 16.7% and 16.6%. LSPET's joints 0.8%, reversed 21.3%.
OUTSIDE = 0.1


@dataclass(frozen=True)
class Predictions:
    """Keypoints of all outputs of a network, in picture coordinates from 0."""

    index: np.ndarray  # (N,) into the people
    keypoints: np.ndarray  # (S, N, K, 2)
    confidence: np.ndarray  # (S, N, K)

    def of_joints(self, order: Sequence[int]) -> Predictions:
        return Predictions(self.index, self.keypoints[:, :, order], self.confidence[:, :, order])


def read_keypoints(path: Path, people: People, joints: int, first_pixel: int) -> Predictions:
    """An array N x K x 2 (or x 3, with confidences) under `preds` in .mat, .h5, .npy or .npz, in any axis order.

    Args:
        path: the file; `predictions/val.npz` of a run folder is understood too.
        people: the persons in the order of the predictions.
        joints: of the skeleton.
        first_pixel: how the file counts pixels, from 0 or from 1 (MPII's files).
    """
    content = _content(path)
    if {"index", "keypoints", "confidence"} <= content.keys():
        return _of_run(path, content, people, joints)
    table = _in_order(_array(path, content), len(people.persons), joints, path)
    if not np.isfinite(table).all():
        bad = ~np.isfinite(table).all(axis=(1, 2))
        raise PoseError(
            f"{path}: {bad.sum()} of {len(table)} persons have a NaN or an infinity, the first is person "
            f"{int(bad.argmax())}; a network that gives NaN has no score."
        )
    keypoints = table[..., :2] - first_pixel
    _check_order(path, keypoints, people.persons)
    confidence = table[..., 2] if table.shape[2] == 3 else np.ones(table.shape[:2])
    return Predictions(np.arange(len(table)), keypoints[None], confidence[None])


def _content(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise PoseError(f"There is no prediction file {path}.")
    if path.stat().st_size == 0:
        raise PoseError(f"{path} is empty.")
    try:
        if path.suffix == ".mat" and not h5py.is_hdf5(path):
            return {
                name: value
                for name, value in scipy.io.loadmat(path).items()
                if not name.startswith("__")
            }
        if path.suffix in (".mat", ".h5", ".hdf5"):
            return _hdf5(path)
        if path.suffix == ".npy":
            return {KEY: np.load(path, mmap_mode="r")}  # its size is the file's
        if path.suffix == ".npz":
            with zipfile.ZipFile(path) as archive:
                _check_size(path, sum(member.file_size for member in archive.infolist()))
            with np.load(path) as file:
                return {name: file[name] for name in file.files}
    except PoseError:
        raise
    except Exception as error:  # whatever the four parsers raise on a damaged file
        raise PoseError(
            f"{path} can't be read ({error}): is it whole, and of the kind its name says?"
        ) from error
    raise PoseError(
        f"{path}: predictions are .mat, .h5, .npy or .npz arrays, or a COCO result .json."
    )


def _hdf5(path: Path) -> dict[str, np.ndarray]:
    """The file's own arrays: HDF5 can point to any other file of the machine, and promise any size."""
    with h5py.File(path) as file:
        for name in file:
            link = file.get(name, getlink=True)
            value = file.get(name) if not isinstance(link, h5py.ExternalLink) else None
            if value is None or (
                isinstance(value, h5py.Dataset) and (value.external or value.is_virtual)
            ):
                raise PoseError(f"{path}: {name!r} lies in another file; save the numbers in this.")
        found = {name: each for name, each in file.items() if isinstance(each, h5py.Dataset)}
        _check_size(path, sum(each.nbytes for each in found.values()))
        return {name: each[()] for name, each in found.items()}


def _check_size(path: Path, size: int) -> None:
    if size > LARGEST:
        raise PoseError(
            f"{path} unpacks to {size / 1e9:,.1f} GB: that is more than predictions can take."
        )


def _array(path: Path, content: dict[str, Any]) -> np.ndarray:
    arrays = {
        name: value
        for name, value in content.items()
        if isinstance(value, np.ndarray) and value.ndim == 3
    }
    if KEY in arrays or len(arrays) == 1:
        name = KEY if KEY in arrays else next(iter(arrays))
        if arrays[name].dtype.kind not in "iuf":
            raise PoseError(f"{path}: {name!r} holds {arrays[name].dtype}, not real numbers.")
        return arrays[name]
    raise PoseError(
        f"{path} has no three-dimensional array {KEY!r}; it holds {', '.join(content) or 'nothing'}: save the "
        f"keypoints, persons x joints x 2, under {KEY!r}."
    )


def _in_order(array: np.ndarray, persons: int, joints: int, path: Path) -> np.ndarray:
    """The array as persons x joints x 2 or 3, float64."""
    for coordinates in (2, 3):
        for order in permutations(range(3)):
            if tuple(array.shape[axis] for axis in order) == (persons, joints, coordinates):
                return np.transpose(array, order).astype(np.float64)
    shape = " x ".join(map(str, array.shape))
    raise PoseError(
        f"{path} holds an array {shape}, but this split has {persons} persons of {joints} joints: it should be "
        f"{persons} x {joints} x 2, in the order of the annotations."
    )


def _check_order(path: Path, keypoints: np.ndarray, persons: Persons) -> None:
    """Predictions lie in the persons' crops; if most do not, the file is in another order or of another split."""
    reach = persons.scale.max(axis=1) * PIXEL_STD
    off = np.abs(np.median(keypoints, axis=1) - persons.centre).max(axis=1) > reach
    if off.mean() > OUTSIDE:
        raise PoseError(
            f"{path}: {off.mean():.0%} of the predictions lie far from the person they should belong to. Their order "
            "is not that of the annotations, or they are of another split."
        )


def _of_run(path: Path, content: dict[str, Any], people: People, joints: int) -> Predictions:
    arrays = [np.asarray(content[name]) for name in ("index", "keypoints", "confidence")]
    index, keypoints, confidence = arrays
    if index.ndim != 1 or index.dtype.kind not in "iu" or len(index) == 0:
        raise PoseError(f"{path}: its index is not the list of the persons that were predicted.")
    count = len(index)
    if keypoints.ndim != 4 or keypoints.shape[1:] != (count, joints, 2) or not len(keypoints):
        raise PoseError(
            f"{path}: its keypoints are {keypoints.shape}, not stages x {count} x {joints} x 2."
        )
    if confidence.shape != keypoints.shape[:3]:
        raise PoseError(
            f"{path}: its confidences are {confidence.shape}, not {keypoints.shape[:3]}."
        )
    for name, array in (("keypoints", keypoints), ("confidences", confidence)):
        if array.dtype.kind not in "iuf" or not np.isfinite(array).all():
            raise PoseError(f"{path}: its {name} are not all finite real numbers.")
    if index.max() >= len(people.persons):
        raise PoseError(
            f"{path} predicts person {index.max()}, but this split has {len(people.persons)}: is it of another dataset?"
        )
    if index.min() < 0 or len(np.unique(index)) != count:
        raise PoseError(f"{path}: its index names a person below 0 or a person twice.")
    index, keypoints = index.astype(np.int64), keypoints.astype(np.float64)
    _check_order(path, keypoints[-1], people.persons[index])
    return Predictions(index, keypoints, confidence.astype(np.float64))


def write_mpii(path: Path, keypoints: np.ndarray) -> None:
    """MPII's pred.mat: N x K x 2 under `preds`, pixels counted from 1."""
    scipy.io.savemat(path, {KEY: keypoints + 1.0})


def annotation_file(people: People) -> Path:
    """The annotation file that the people come from."""
    for name in people.sources:
        if Path(name).is_file():
            return Path(name)
    raise PoseError("These people come from no annotation file.")
