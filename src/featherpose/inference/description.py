"""What an exported file says of itself, so that predicting needs the file alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from featherpose.errors import PoseError
from featherpose.pixels import DEVIATION, MEAN
from featherpose.protocol import Protocol
from featherpose.skeletons import Skeleton, skeleton_of

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
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        fields = {**asdict(self), "skeleton": mapping_of(self.skeleton)}
        return json.dumps(fields, sort_keys=True)

    @classmethod
    def from_json(cls, text: str, origin: str) -> Description:
        try:
            fields = json.loads(text)
            fields["skeleton"] = skeleton_of(fields["skeleton"])
            fields["protocol"] = Protocol.of(fields["protocol"], origin)
            fields["input_size"] = (int(fields["input_size"][0]), int(fields["input_size"][1]))
            fields["mean"], fields["deviation"] = tuple(fields["mean"]), tuple(fields["deviation"])
            return cls(**fields)
        except (ValueError, KeyError, TypeError) as error:
            raise PoseError(
                f"The featherpose metadata of {origin} is damaged ({error}): export it again."
            ) from error


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
