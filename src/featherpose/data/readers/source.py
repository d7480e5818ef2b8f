"""What all readers share: files with their checksums, picture paths that stay inside, and clear sentences."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import numpy as np
import scipy.io

from featherpose.errors import PoseError
from featherpose.person import Persons
from featherpose.place import command

LARGEST = 1e300  # of a number: what is beyond it overflows as soon as it is squared


def check(dataset: str) -> str:
    return command(f"data check data={dataset}")


def folder(
    root: str | Path | None, dataset: str, page: str, contents: str, built_by: str | None = None
) -> Path:
    """The dataset's folder; if it is missing, the error says what to fetch, from where, and what to do then.

    `built_by` is the command that makes it, of one that lies on no page.
    """
    path = Path(root).expanduser() if root is not None else None
    if path is None or not path.is_dir():
        where = "data.root is not set" if path is None else f"{path} is not there"
        get = f"{_how_to_get(dataset)} {page} and unpack it so that this folder holds {contents}"
        if built_by:
            get = f"Build it with: {built_by}"
        raise PoseError(
            f"The {dataset} data is missing ({where}). {get}; or set data.root=FOLDER. "
            f"Then check it with: {check(dataset)}"
        )
    return path


def _how_to_get(dataset: str) -> str:
    script = {"coco": "coco", "mpii": "mpii", "lsp": "lsp", "lspet": "lsp"}.get(dataset)
    if script is None:
        return "Download it from"
    return f"Fetch it with: {command(f'data get {script}')}; or download it from"


def first_of(root: Path, names: Sequence[str], dataset: str, page: str) -> Path:
    """The first of these files that is there."""
    for name in names:
        if (root / name).is_file():
            return root / name
    raise PoseError(
        f"{root} holds none of {', '.join(names)}. Download the annotations from {page}, unpack them there, then check "
        f"with: {check(dataset)}"
    )


def checksum(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_bytes(path: Path) -> bytes:
    """What the file holds, unpacked."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:
            return file.read()
    except FileNotFoundError as error:
        raise PoseError(f"There is no file {path}.") from error
    except (OSError, EOFError, zlib.error) as error:
        raise PoseError(f"{path} can't be read ({error}): fetch it again.") from error


def read_json(path: Path) -> Any:
    data = read_bytes(path)
    try:
        return msgspec.json.decode(data)
    except (ValueError, RecursionError):  # what it refuses is read, or said, as Python's json does
        pass
    try:
        return json.loads(data)
    except RecursionError as error:
        raise PoseError(f"{path} nests its brackets too deeply to be annotations.") from error
    except ValueError as error:  # bad JSON or bad UTF-8
        raise PoseError(
            f"{path} is not valid JSON ({error}): it may be truncated, fetch it again."
        ) from error


def read_mat(path: Path, **options: Any) -> dict[str, Any]:
    try:
        return scipy.io.loadmat(path, **options)
    except Exception as error:  # scipy raises whatever its parser meets
        raise PoseError(
            f"{path} can't be read as a MATLAB file ({error}): fetch it again."
        ) from error


def finite(values: Any, what: str, path: Path, record: object) -> np.ndarray:
    """Numbers as float64; anything else is an error that names file and record."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise PoseError(
            f"{path}, record {record}: {what} is not a list of numbers: {values!r:.80}."
        ) from error
    if not np.isfinite(array).all():
        raise PoseError(
            f"{path}, record {record}: {what} holds a NaN or an infinity; mend or remove this record."
        )
    return array


def number(
    record: dict[str, Any], key: str, path: Path, name: object, default: float | None = None
) -> float:
    value = record.get(key, default)
    if type(value) not in (int, float) or not abs(value) < LARGEST:  # NaN too
        raise PoseError(f"{path}, record {name}: {key} should be a number and is {value!r:.80}.")
    return float(value)


def whole(record: dict[str, Any], key: str, path: Path, name: object) -> int:
    """A whole number that fits 64 bits, as ids have to."""
    value = record.get(key)
    if type(value) is not int or not -(2**63) <= value < 2**63:
        raise PoseError(
            f"{path}, record {name}: {key} should be a whole number of 64 bits and is {value!r:.80}."
        )
    return value


def picture_path(pictures: Path, name: Any, path: Path, record: object) -> str:
    """The picture's path; a name that leads out of its folder is refused."""
    if not isinstance(name, str) or not name:
        raise PoseError(f"{path}, record {record}: its picture's name is {name!r:.80}.")
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or (len(name) > 1 and name[1] == ":"):
        raise PoseError(
            f"{path}, record {record}: the picture {name!r} leads out of {pictures}; it has to stay inside."
        )
    return str(pictures / parts)


def with_pictures(persons: Persons, pictures: str, skipped: Counter, dataset: str) -> Persons:
    """The people whose picture is there; `pictures` is require (an error), skip or ignore (don't look)."""
    if pictures == "ignore":
        return persons
    if pictures not in ("require", "skip"):
        raise PoseError(f"data.read.pictures is {pictures!r}; it can be require, skip or ignore.")
    wanted = np.unique(persons.picture)
    images = list(persons.pictures)
    present: dict[str, set[str]] = {}
    missing: list[int] = []
    for place in wanted.tolist():
        parent, name = os.path.split(images[place])
        if parent not in present:
            present[parent] = set(os.listdir(parent)) if os.path.isdir(parent) else set()
        if name not in present[parent]:
            missing.append(place)
    if missing and pictures == "require":
        example = min(images[place] for place in missing)
        raise PoseError(
            f"{len(missing)} of {len(wanted)} annotated pictures are missing, e.g. {example}. Unpack the pictures "
            f"there, or leave their people out with +data.read.pictures=skip; see them all with: "
            f"{check(dataset)}"
        )
    gone = np.isin(persons.picture, missing)
    if missing:
        skipped["picture missing"] += int(gone.sum())
        persons = persons[~gone]
    return persons
