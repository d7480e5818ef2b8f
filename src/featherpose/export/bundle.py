"""Writes a bundle: an exported network with its card, its licence, and a picture of somebody whose pose it gives."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from featherpose import image
from featherpose.errors import PoseError
from featherpose.files import replacing, write_atomically
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
    if target.suffix != ".zip":
        if target.exists() and not target.is_dir():
            raise PoseError(
                f"bundle={target} is a file; name a folder, or a file that ends in .zip."
            )
        return _fill(target, file, card, picture, box)
    with tempfile.TemporaryDirectory() as place:
        _fill(Path(place), file, card, picture, box)
        with (
            replacing(target) as beside,
            zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED) as packed,
        ):
            for name in FILES:
                if (Path(place) / name).is_file():
                    packed.write(Path(place) / name, name)
    return [target]


def _fill(folder: Path, file: Path, card: str, picture: np.ndarray, box: np.ndarray) -> list[Path]:
    pose = Pose(file)
    with replacing(folder / NETWORK) as beside:
        shutil.copyfile(file, beside)
    with replacing(folder / PICTURE) as beside:
        image.write(beside, picture)
    write_atomically(folder / CARD, card)
    licence = file.with_suffix(".LICENSE")
    if licence.is_file():
        write_atomically(folder / LICENCE, licence.read_text(encoding="utf-8"))
    found = pose(image.read(folder / PICTURE), box[None])[0]
    write_atomically(folder / INDEX, index_of(folder, box, found))
    return [folder / name for name in FILES if (folder / name).is_file()]
