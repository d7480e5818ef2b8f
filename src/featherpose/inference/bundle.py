"""A bundle: an exported network with its card and a picture whose pose is known, so that any machine can check it."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
import zipfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from featherpose.errors import PoseError
from featherpose.image import read
from featherpose.inference.pose import FoundPose, Pose
from featherpose.settings import number, numbers

INDEX, NETWORK, PICTURE, CARD, LICENCE = (
    "bundle.json",
    "network.onnx",
    "test.png",
    "CARD.md",
    "LICENSE",
)
FILES = (INDEX, NETWORK, PICTURE, CARD, LICENCE)
LARGEST = 2**30  # bytes that a packed bundle may unpack to
PIXELS = 1.0  # that a joint may lie off, in the picture
SURENESS = 0.02  # that a confidence may differ by
EXCEPT = 0.1  # share of joints that may do neither: two equal peaks are decided by the last bit of a processor
ROUNDS = 20  # of the time


@dataclass(frozen=True)
class Verdict:
    """What this machine makes of a bundle."""

    joints: int
    off: int  # of them, those that lie elsewhere or are surer or less sure
    farthest: float  # picture pixels, of all joints
    milliseconds: float  # a person, crop to keypoints
    name: str

    @property
    def right(self) -> bool:
        return self.off <= EXCEPT * self.joints


def verify(path: str | Path, runtime: str = "onnxruntime", threads: int = 0) -> Verdict:
    """Runs the bundle's picture and compares with what it should give; PoseError where the bundle is damaged."""
    with opened(Path(path)) as folder:
        index = _index(folder)
        pose = Pose(folder / NETWORK, runtime=runtime, threads=threads)
        picture = read(folder / PICTURE, obey_exif=True)
        box, points, sure = index
        if len(points) != len(pose.skeleton):
            raise PoseError(f"{path} knows {len(points)} joints, its network {len(pose.skeleton)}.")
        found = pose(picture, box)[0]
        distance = np.linalg.norm(found.keypoints - points, axis=1)
        off = (distance > PIXELS) | (np.abs(found.confidence - sure) > SURENESS)
        taken = []
        for _ in range(ROUNDS):
            started = time.perf_counter()
            pose(picture, box)
            taken.append(1e3 * (time.perf_counter() - started))
        return Verdict(
            len(points),
            int(off.sum()),
            float(distance.max()),
            float(np.median(taken)),
            pose.description.network,
        )


def index_of(folder: Path, box: np.ndarray, found: FoundPose) -> str:
    """What `bundle.json` says: the sums of the other files, and the pose in the picture's box."""
    sums = {name: _sum(folder / name) for name in FILES[1:] if (folder / name).is_file()}
    content = {
        "files": sums,
        "box": np.asarray(box, float).tolist(),
        "keypoints": found.keypoints.round(4).tolist(),
        "confidence": found.confidence.round(5).tolist(),
    }
    return json.dumps(content, indent=1) + "\n"


@contextmanager
def opened(path: Path) -> Generator[Path]:
    """The bundle's folder; a packed one is unpacked for as long as the block lasts."""
    if path.is_dir():
        yield path
        return
    if not path.is_file():
        raise PoseError(f"There is no bundle {path}.")
    with tempfile.TemporaryDirectory() as place:
        try:
            with zipfile.ZipFile(path) as packed:
                known = [each for each in packed.infolist() if each.filename in FILES]
                if sum(each.file_size for each in known) > LARGEST:
                    raise PoseError(f"{path} unpacks to more than a network takes.")
                for each in known:
                    (Path(place) / each.filename).write_bytes(packed.read(each))
        except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError) as error:
            raise PoseError(f"{path} is no whole bundle ({error}).") from error
        yield Path(place)


def _index(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Box (1, 4), keypoints (K, 2) and confidences (K,), once every file is as it was written."""
    try:
        said = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        files = {str(name): str(value) for name, value in said["files"].items()}
        box = np.array([numbers("box", said["box"], 4)])
        points = np.array([numbers("keypoints", each, 2) for each in said["keypoints"]])
        sure = np.array([number("confidence", each) for each in said["confidence"]])
    except FileNotFoundError as error:
        raise PoseError(
            f"{folder} is no bundle: it has no {INDEX}; export bundle=FOLDER makes one."
        ) from error
    except (PoseError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PoseError(f"The bundle's {INDEX} is damaged ({error}).") from error
    if len(points) != len(sure) or NETWORK not in files or PICTURE not in files:
        raise PoseError(f"The bundle's {INDEX} is damaged: it lacks joints or files.")
    for name in FILES[1:]:
        if name in files and (not (folder / name).is_file() or _sum(folder / name) != files[name]):
            raise PoseError(f"The bundle's {name} is missing or not as it was written.")
    return box, points, sure


def _sum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
