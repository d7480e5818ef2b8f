"""Leeds Sports Pose (LSP) and its extended training set (LSPET): one person per picture, 14 joints, joints.mat.

The two files differ in the order of their axes and in the meaning of the third number: in LSP it is 1 where a joint is
*occluded* (all joints are annotated), in LSPET it is 1 where a joint is *annotated*.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from featherpose.crop import PADDING, centre_and_scale
from featherpose.data.readers import source
from featherpose.data.readers.plausible import sides_cosine, torso_share
from featherpose.errors import PoseError
from featherpose.image import read as read_image
from featherpose.image import size_of
from featherpose.person import People, Persons, Texts, bounds_of
from featherpose.skeletons import LSP

LSP_PAGE = "https://sam.johnson.io/research/lsp.html (lsp_dataset_original.zip or lsp_dataset.zip)"
LSPET_PAGE = "https://sam.johnson.io/research/lspet.html (lspet_dataset.zip)"


def read(
    root: str | Path | None, split: str, pictures: str = "require", extent: str = "paper"
) -> People:
    """LSP: pictures 1 to 1000 train, 1001 to 2000 test.

    As the RePose paper scales it: to train, the crop is the joints' extent; to test, centre and size are the picture's
    (`extent: joints` takes the joints' extent in both).
    """
    base = source.folder(root, "lsp", LSP_PAGE, "joints.mat and images/")
    path = source.first_of(base, ["joints.mat", "joints_original_size.mat"], "lsp", LSP_PAGE)
    table = _table(path, axes=(2, 1, 0))  # 3 x 14 x N
    chosen = range(1, 1001) if split == "train" else range(1001, 2001)
    visible = np.where(table[:, :, 2] == 1, 1, 2).astype(np.uint8)
    whole = extent == "paper" and split != "train"
    return _people(
        base / "images",
        "im{:04d}.jpg",
        table,
        visible,
        chosen,
        path,
        pictures,
        "lsp",
        whole,
        Counter(),
    )


def read_extended(
    root: str | Path | None,
    split: str,
    train: tuple[int, int] = (1, 10000),
    val: tuple[int, int] = (0, 0),
    pictures: str = "require",
    least_joints: int = 6,
    least_torso: float = 0.05,
    least_cosine: float = -1.0,
    copies: Sequence[int] = (),
) -> People:
    """LSPET: crops by the joints' extent; `train` and `val` are the first and last picture of each split.

    People are left out by rule, in both splits, and counted:

    Args:
        root: the folder.
        split: train or val.
        train, val: first and last picture.
        pictures: require, skip (people without their picture are left out and counted) or ignore.
        least_joints: with fewer annotated joints they are left out.
        least_torso: so are people whose torso is a smaller share of their extent: its PCK can't be met by anybody.
        least_cosine: and people whose shoulders and hips point opposite ways, by this cosine: left and right are
            mixed up. -1 keeps them all.
        copies: training pictures that are left out because a test picture shows the same.
    """
    base = source.folder(root, "lspet", LSPET_PAGE, "joints.mat and images/")
    path = source.first_of(base, ["joints.mat"], "lspet", LSPET_PAGE)
    table = _table(path, axes=(2, 0, 1))  # 14 x 3 x N
    first, last = train if split == "train" else val
    if not 1 <= first <= last <= len(table):
        raise PoseError(
            f"{path} has pictures 1 to {len(table)}; data.read.{split} is [{first}, {last}]."
        )
    visible = np.where(table[:, :, 2] == 1, 2, 0).astype(np.uint8)
    joints = np.where(visible[..., None] > 0, table[:, :, :2], 0.0)
    number = np.arange(1, len(table) + 1)
    rules = {
        f"fewer than {least_joints} joints": (visible > 0).sum(axis=1) < max(least_joints, 1),
        f"torso below {least_torso} of the extent": torso_share(joints, visible, LSP) < least_torso,
        "left and right mixed up": sides_cosine(joints, visible, LSP) < least_cosine,
        "copy of a test picture": np.isin(number, list(copies)) & (split == "train"),
    }
    kept = (number >= first) & (number <= last)
    skipped: Counter[str] = Counter()
    for rule, broken in rules.items():
        if (kept & broken).any():
            skipped[rule] = int((kept & broken).sum())
            kept &= ~broken
    chosen = number[kept].tolist()
    return _people(
        base / "images",
        "im{:05d}.jpg",
        table,
        visible,
        chosen,
        path,
        pictures,
        "lspet",
        False,
        skipped,
    )


def _table(path: Path, axes: tuple[int, int, int]) -> np.ndarray:
    """(N, 14, 3) from whichever order the file has."""
    content = source.read_mat(path)
    if "joints" not in content or content["joints"].ndim != 3:
        raise PoseError(f"{path} has no three-dimensional matrix 'joints'.")
    if content["joints"].dtype.kind not in "iufb":
        raise PoseError(f"{path}: 'joints' does not hold numbers.")
    table = np.transpose(content["joints"], axes).astype(np.float64)
    if table.shape[1:] != (14, 3):
        raise PoseError(
            f"{path}: 'joints' is {content['joints'].shape}; is this the file of the other LSP set?"
        )
    return table


def _people(
    folder: Path,
    pattern: str,
    table: np.ndarray,
    visible: np.ndarray,
    chosen: range | list[int],
    path: Path,
    pictures: str,
    dataset: str,
    whole_picture: bool,
    skipped: Counter,
) -> People:
    if len(chosen) and max(chosen) > len(table):
        raise PoseError(f"{path} holds {len(table)} pictures, but the split goes to {max(chosen)}.")
    number = np.array(chosen, np.int64)
    names = Texts.of(str(folder / pattern.format(n)) for n in number.tolist())
    seen = visible[number - 1] > 0
    joints = np.where(seen[..., None], table[number - 1, :, :2], 0.0)
    box = _extent(joints, seen)
    centre, scale = centre_and_scale(box, PADDING)
    persons = Persons.from_columns(
        joints=joints,
        visible=visible[number - 1],
        centre=centre,
        scale=scale,
        box=box,
        image_id=number,
        person_id=number,
        pictures=names,
        picture=np.arange(len(number)),
        area=box[:, 2] * box[:, 3],
    )
    persons = source.with_pictures(persons, pictures, skipped, dataset)
    endless = ~np.isfinite(persons.joints).all(axis=(1, 2))
    if endless.any():
        raise PoseError(
            f"{path}, record {persons.image_id[endless][0]}: a joint is NaN or infinite; mend or remove this record."
        )
    if whole_picture and pictures != "ignore":
        persons = _of_whole_pictures(persons)
    return People(persons, dict(skipped), {str(path): source.checksum(path)})


def _extent(joints: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """(N, 4) boxes around the annotated joints."""
    low, high = bounds_of(joints, seen)
    return np.concatenate([low, np.maximum(high - low, 1.0)], axis=1)


def _of_whole_pictures(persons: Persons) -> Persons:
    """The crop is the picture."""
    size = np.array([_size(image) for image in persons.images()], np.int64).reshape(-1, 2)
    centre, scale = centre_and_scale(np.concatenate([np.zeros_like(size), size], axis=1), 1.0)
    return replace(persons, centre=centre, scale=scale, picture_size=size)


def _size(image: str) -> tuple[int, int]:
    with open(image, "rb") as file:
        size = size_of(file.read(65536))
    if size is None:
        whole = read_image(image)
        size = whole.shape[1], whole.shape[0]
    return size
