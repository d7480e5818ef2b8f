"""Input made to harm, or simply broken. Whatever would run a command would run `HARM`."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import scipy.io
import torch
from PIL import Image

from featherpose.skeletons import COCO

from ..test_image import jpeg_that_claims, png_of_nothing

MARKER = "HARM_MARKER"  # the environment variable that names the file a command would make
HARM = f'touch "${MARKER}"'
PYTHON_HARM = f"__import__('os').system('touch \"${MARKER}\"')"
DEEP = "[" * 100_000

Change = Callable[[dict[str, Any]], Any]


class Bomb:
    """Runs the command when it is unpickled."""

    def __reduce__(self) -> tuple:
        return os.system, (HARM,)


def pickled() -> bytes:
    return pickle.dumps(Bomb())


# COCO


def coco_example() -> dict[str, Any]:
    """One picture with one person."""
    person = {
        "id": 1,
        "category_id": 1,
        "image_id": 7,
        "bbox": [10.0, 10.0, 40.0, 60.0],
        "area": 2400.0,
        "keypoints": [20.0, 30.0, 2.0] * 17,
        "num_keypoints": 17,
    }
    return {
        "images": [{"id": 7, "file_name": "a.jpg", "width": 100, "height": 100}],
        "annotations": [person],
        "categories": [{"id": 1, "name": "person", "keypoints": list(COCO.joints)}],
    }


# MPII: a person of the flat file, and the matrices of the truth

MPII_PERSON = {
    "isValidation": 1.0,
    "img_paths": "a.jpg",
    "objpos": [10, 10],
    "scale_provided": 1.0,
    "joint_self": [[1, 1, 1]] * 16,
    "img_width": 100,
    "img_height": 100,
}
MPII_TRUTH = {
    "pos_gt_src": np.ones((16, 2, 1)),
    "jnt_missing": np.zeros((16, 1)),
    "headboxes_src": np.ones((2, 2, 1)),
}


def coco_result(**values: Any) -> dict[str, Any]:
    """That person as a prediction."""
    right = {"image_id": 7, "category_id": 1, "keypoints": [20.0, 30.0, 2.0] * 17, "score": 0.5}
    return {**right, **values}


def text_of(content: Any) -> str:
    return content if isinstance(content, str) else json.dumps(content)


def write_coco(root: Path, annotations: Any, results: Any) -> Path:
    """A COCO folder and its result file pred.json; each content is text or becomes JSON."""
    (root / "annotations").mkdir(parents=True)
    (root / "val2017").mkdir()
    path = root / "annotations" / "person_keypoints_val2017.json"
    path.write_text(text_of(annotations))
    (root / "pred.json").write_text(text_of(results))
    return root


def entry(place: str, **values: Any) -> Change:
    """The change of a list's first record."""
    return lambda content: content[place][0].update(values)


def whole(place: str, value: Any) -> Change:
    return lambda content: content.update({place: value})


def twice(place: str) -> Change:
    return lambda content: content.update({place: content[place] * 2})


# Arrays of predictions


def objects() -> np.ndarray:
    array = np.empty((1,), object)
    array[0] = Bomb()
    return array


def of_run(count: int = 8, **others: Any) -> dict[str, Any]:
    """What predictions/val.npz of a run holds."""
    right = {
        "index": np.arange(count),
        "keypoints": np.zeros((1, count, 16, 2)),
        "confidence": np.ones((1, count, 16)),
    }
    return {**right, **others}


def hdf5(path: Path, fill: Callable[[Any], Any]) -> None:
    with h5py.File(path, "w") as file:
        fill(file)


def outside(file: Any) -> None:
    """The numbers lie in any other file of the machine."""
    where = [("/etc/passwd", 0, h5py.h5f.UNLIMITED)]
    file.create_dataset("preds", shape=(8, 16, 2), dtype="f8", external=where)


def far_too_large(file: Any) -> None:
    file.create_dataset("preds", (10**6, 10**4, 2), "f8", chunks=(1000, 100, 2))


def strings(file: Any) -> None:
    file.create_dataset("preds", data=[b"xxx"] * 4, dtype=h5py.special_dtype(vlen=bytes))


def matlab_strings(path: Path) -> None:
    cells = np.empty((2, 2), object)
    cells.fill("x")
    scipy.io.savemat(path, {"preds": cells})


ARRAYS: dict[str, Callable[[Path], Any]] = {
    "b.npy": lambda path: np.save(path, objects(), allow_pickle=True),
    "b.npz": lambda path: np.savez(path, **dict.fromkeys(of_run(), objects())),
    "raw.npy": lambda path: path.write_bytes(pickled()),
    "raw.npz": lambda path: path.write_bytes(pickled()),
    "raw.mat": lambda path: path.write_bytes(pickled()),
    "obj.mat": matlab_strings,
    "o.h5": lambda path: hdf5(path, strings),
    "ext.h5": lambda path: hdf5(path, outside),
    "huge.h5": lambda path: hdf5(path, far_too_large),
    "link.h5": lambda path: hdf5(
        path, lambda file: file.__setitem__("preds", h5py.ExternalLink("/nowhere.h5", "/x"))
    ),
    "wrong.npy": lambda path: np.save(path, np.zeros((8, 15, 2))),
    "nan.npy": lambda path: np.save(path, np.full((8, 16, 2), np.nan)),
    "cplx.npy": lambda path: np.save(path, np.zeros((8, 16, 2), complex)),
    "run.npz": lambda path: np.savez(path, **of_run(9, index=np.arange(9) - 5)),
    "run2.npz": lambda path: np.savez(path, **of_run(confidence=np.ones((3, 3)))),
    "run3.npz": lambda path: np.savez(path, **of_run(1, index=np.array(["a"]))),
    "run4.npz": lambda path: np.savez(path, **of_run(0, index=np.zeros(0))),
}

# Pictures


def photo() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (120, 100, 3), dtype=np.uint8)


def encoded(kind: str, picture: np.ndarray) -> bytes:
    done, data = cv2.imencode(kind, picture)
    assert done
    return data.tobytes()


def flat(*shape: int, value: int = 128, kind: Any = np.uint8) -> bytes:
    return encoded(".png", np.full(shape, value, kind))


def animation(path: Path) -> None:
    frames = [Image.fromarray(np.full((120, 100, 3), 40 * i, np.uint8)) for i in range(5)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def claims(width: int, height: int) -> Callable[[Path], Any]:
    return lambda path: path.write_bytes(
        jpeg_that_claims(Image.fromarray(photo()), width, height)
        if path.suffix == ".jpg"
        else png_of_nothing(width, height)
    )


PICTURES: dict[str, Callable[[Path], Any]] = {
    "p.jpg": lambda path: path.write_bytes(encoded(".jpg", photo())),
    "16.png": lambda path: path.write_bytes(flat(120, 100, 3, value=30000, kind=np.uint16)),
    "gray.png": lambda path: path.write_bytes(flat(120, 100)),
    "rgba.png": lambda path: path.write_bytes(flat(120, 100, 4)),
    "one.png": lambda path: path.write_bytes(flat(1, 1, 3)),
    "thin.png": lambda path: path.write_bytes(flat(1, 5000, 3)),
    "cmyk.jpg": lambda path: Image.new("CMYK", (100, 120)).save(path),
    "anim.gif": animation,
    "anim.webp": animation,
    "anim.png": animation,
    "trunc.jpg": lambda path: path.write_bytes(encoded(".jpg", photo())[:2000]),
    "zero.jpg": lambda path: path.write_bytes(b""),
    "text.jpg": lambda path: path.write_bytes(b"hello"),
    "bomb.jpg": claims(16_000, 16_000),
    "bomb65.jpg": claims(65_500, 65_500),
    "bomb.png": claims(20_000, 20_000),
    "bomb2.png": claims(200_000, 200_000),
}

# Checkpoints and weights


def without_weights(path: Path, good: Path) -> None:
    content = torch.load(good, weights_only=True)
    del content["state_dict"]
    torch.save(content, path)


def of_nan(path: Path, good: Path) -> None:
    content = torch.load(good, weights_only=True)
    for value in content["state_dict"].values():
        if value.is_floating_point():
            value.fill_(float("nan"))
    torch.save(content, path)


def half(path: Path, good: Path) -> None:
    content = good.read_bytes()
    path.write_bytes(content[: len(content) // 2])


CHECKPOINTS: dict[str, Callable[[Path, Path], Any]] = {
    "b": lambda path, good: path.write_bytes(pickled()),
    "bz": lambda path, good: torch.save({"state_dict": Bomb(), "hyper_parameters": {}}, path),
    "bl": lambda path, good: torch.save(
        {"state_dict": Bomb()}, path, _use_new_zipfile_serialization=False
    ),
    "dict": lambda path, good: torch.save({"a": 1}, path),
    "list": lambda path, good: torch.save([1, 2], path),
    "tensor": lambda path, good: torch.save(torch.zeros(3), path),
    "nostate": without_weights,
    "trunc": half,
    "zero": lambda path, good: path.write_bytes(b""),
    "nan": of_nan,
}
