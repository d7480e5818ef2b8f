"""What an exported file says of itself, so that predicting needs the file alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from featherpose.errors import PoseError
from featherpose.inference.chances import Chances
from featherpose.pixels import DEVIATION, MEAN
from featherpose.protocol import Protocol
from featherpose.settings import numbers, whole
from featherpose.skeletons import Skeleton, skeleton_of

LARGEST_SIDE = 4096  # of an input: ten times the papers' largest
KEY = "featherpose"  # of the ONNX file's metadata; its value is JSON


@dataclass(frozen=True)
class Description:
    """The facts of an exported network that its graph does not tell."""

    skeleton: Skeleton
    input_size: tuple[int, int]  # height, width
    stride: int
    protocol: Protocol
    flip_inside: bool = False  # the graph holds the flip test
    decoder_inside: str | None = None  # the graph decodes, in this way
    precision: str = "float32"
    network: str = ""
    commit: str | None = None
    version: str = ""
    mean: tuple[float, ...] = MEAN
    deviation: tuple[float, ...] = DEVIATION
    chances: Chances | None = None  # what its confidences mean, where a scored run says so
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        facts = {**asdict(self), "skeleton": mapping_of(self.skeleton)}
        return json.dumps(facts, sort_keys=True)

    @classmethod
    def from_json(cls, text: str, origin: str) -> Description:
        """What the file says, in the types and ranges that predicting relies on."""
        try:
            return cls(**_checked(json.loads(text), origin))
        except (PoseError, *_BROKEN) as error:
            raise PoseError(
                f"The featherpose metadata of {origin} is damaged ({error}): export it again."
            ) from error

    def of_network_alone(self, kind: str) -> Description:
        """Of a file in another format, which leaves flip test and decoding to whoever runs it."""
        return replace(self, flip_inside=False, decoder_inside=None, extra={"format": kind})

    def check_shape(self, height: Any, width: Any, origin: str) -> None:
        """PoseError where the graph takes images of another size; a side that is no number is left open by it."""
        for found, said in zip((height, width), self.input_size, strict=True):
            if isinstance(found, int) and found != said:
                raise PoseError(
                    f"The graph of {origin} takes images of {height} x {width}, its featherpose metadata says "
                    f"{self.input_size[0]} x {self.input_size[1]}: export it again."
                )


_BROKEN = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)


def _checked(given: dict[str, Any], origin: str) -> dict[str, Any]:
    height, width = (
        whole("input_size", side, 1, LARGEST_SIDE)
        for side in numbers("input_size", given["input_size"], 2)
    )
    skeleton, chances = skeleton_of(given["skeleton"]), given.get("chances")
    return given | {
        "skeleton": skeleton,
        "chances": Chances.of(chances, len(skeleton)) if chances is not None else None,
        "protocol": Protocol.of(given["protocol"], origin),
        "input_size": (height, width),
        "stride": whole("stride", given["stride"], 1, 64),
        "mean": tuple(numbers("mean", given["mean"], 3)),
        "deviation": tuple(numbers("deviation", given["deviation"], 3, above=0)),
    }


def description_of(path: str | Path, metadata: str | None, size: list[int | None]) -> Description:
    """The file's own account of itself, where the graph does not contradict it."""
    if metadata is None:
        raise PoseError(
            f"{path} is a file without featherpose metadata, so its skeleton and input are unknown: export the "
            f"checkpoint with src/export.py, or say its skeleton in {Path(path).with_suffix('.json').name} beside it "
            "(docs/deploy.md)."
        )
    description = Description.from_json(metadata, str(path))
    if len(size) == 4:
        description.check_shape(*size[2:], str(path))
    return description


@dataclass(frozen=True)
class Beside:
    """What FILE.json says of a FILE that another program wrote."""

    skeleton: Skeleton | None = None
    mean: tuple[float, ...] = MEAN
    deviation: tuple[float, ...] = DEVIATION


def said_beside(path: str | Path) -> Beside:
    beside = Path(path).with_suffix(".json")
    if not beside.is_file():
        return Beside()
    try:
        given = json.loads(beside.read_text(encoding="utf-8"))
        known = [each.name for each in fields(Beside)]
        if not isinstance(given, dict) or not given.keys() <= set(known):
            raise PoseError(f"it takes {', '.join(known)} and nothing else")
        return Beside(
            skeleton_of(given["skeleton"]) if "skeleton" in given else None,
            tuple(numbers("mean", given.get("mean", MEAN), 3)),
            tuple(numbers("deviation", given.get("deviation", DEVIATION), 3, above=0)),
        )
    except (PoseError, OSError, *_BROKEN) as error:
        raise PoseError(f"{beside}, which is to describe {path}: {error}") from error


def mapping_of(skeleton: Skeleton) -> dict[str, Any]:
    """A skeleton as the plain mapping from which `skeleton_of` builds it again."""

    def names(indices: tuple[int, ...]) -> list[str]:
        return [skeleton.joints[i] for i in indices]

    return {
        "name": skeleton.name,
        "joints": list(skeleton.joints),
        "limbs": ["-".join(names(limb)) for limb in skeleton.limbs],
        "columns": {column: names(group) for column, group in skeleton.columns.items()},
        "scored": names(skeleton.scored),
        "sigmas": None if skeleton.sigmas is None else list(skeleton.sigmas),
        "torso": None if skeleton.torso is None else names(skeleton.torso),
        "upper": names(skeleton.upper),
    }
