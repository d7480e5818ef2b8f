"""Writes a bundle: an exported network with its card, its licence, and a picture of somebody whose pose it gives."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from featherpose import image
from featherpose.errors import PoseError
from featherpose.files import refuse_strangers, replacing
from featherpose.inference.bundle import (
    CARD,
    FILES,
    INDEX,
    LICENCE,
    NETWORK,
    PICTURE,
    index_of,
)
from featherpose.inference.pose import Pose


def write_bundle(
    target: Path, file: Path, card: str, picture: np.ndarray, box: np.ndarray
) -> list[Path]:
    """Writes `target`, a folder or a .zip, and gives what was written.

    The pose is what the network gives on this machine, right or wrong: it says whether another machine gives the same.
    """
    packed_into_one = target.suffix == ".zip"
    if not packed_into_one and target.exists() and not target.is_dir():
        raise PoseError(f"bundle={target} is a file; name a folder, or a file that ends in .zip.")
    refuse_strangers("bundle", target, INDEX)
    if file.suffix.lower() != ".onnx":
        raise PoseError(f"A bundle holds an .onnx file, not {file}.")
    with tempfile.TemporaryDirectory() as place:
        made = _fill(Path(place), file, card, picture, box)
        if not packed_into_one:
            for path in made:
                with replacing(target / path.name) as beside:
                    shutil.copyfile(path, beside)
            return [target / path.name for path in made]
        with (
            replacing(target) as beside,
            zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED) as packed,
        ):
            for path in made:
                packed.write(path, path.name)
    return [target]


def _fill(folder: Path, file: Path, card: str, picture: np.ndarray, box: np.ndarray) -> list[Path]:
    shutil.copyfile(file, folder / NETWORK)
    image.write(folder / PICTURE, picture)
    (folder / CARD).write_text(card, encoding="utf-8")
    licence = file.with_suffix(".LICENSE")
    if licence.is_file():
        shutil.copyfile(licence, folder / LICENCE)
    pose = Pose(folder / NETWORK)  # not `file`: what lies beside that does not come along
    found = pose(image.read(folder / PICTURE), box[None])[0]
    (folder / INDEX).write_text(index_of(folder, box, found), encoding="utf-8")
    return [folder / name for name in FILES if (folder / name).is_file()]
