"""How keypoints are read from heatmaps and scored: all that changes a number without changing the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from featherpose.errors import PoseError
from featherpose.settings import choice, switch

DECODERS = ("quarter", "dark", "argmax")
BOXES = ("ground_truth", "detections")
MEANS = ("weighted", "unweighted")
AUTO: Literal["auto"] = "auto"


@dataclass(frozen=True)
class Protocol:
    """One of conf/protocol, or made by hand: `Protocol(flip=True, decoder="dark")`.

    name: what tables call it.
    flip: average the heatmaps with the mirrored crop's.
    shift: move the mirrored crop's heatmaps one pixel to the right, as HRNet does; `auto`: see `shifts`.
    decoder: from a heatmap to a joint, see `heatmaps.decode`.
    boxes: score on annotated boxes, or on those of a person detector.
    mean: of PCK over joints: weighted by how often each is annotated (HRNet's), or unweighted (RePose's); None in
        records of measures that have none.
    """

    name: str = "by hand"
    flip: bool = False
    shift: bool | Literal["auto"] = AUTO
    decoder: str = "quarter"
    boxes: str = "ground_truth"
    mean: str | None = "weighted"

    def __post_init__(self) -> None:
        checked = {
            "name": str(self.name),
            "flip": switch("protocol.flip", self.flip),
            "shift": AUTO if self.shift == AUTO else _shift(self.shift),
            "decoder": choice("protocol.decoder", self.decoder, DECODERS),
            "boxes": choice("protocol.boxes", self.boxes, BOXES),
            "mean": None if self.mean is None else choice("protocol.mean", self.mean, MEANS),
        }
        for key, value in checked.items():
            object.__setattr__(self, key, value)

    @classmethod
    def of(cls, given: Protocol | Mapping[str, Any], origin: str = "the configuration") -> Protocol:
        """The protocol of a config, a checkpoint or an exported file, which has to say flip and decoder at least."""
        if isinstance(given, Protocol):
            return given
        if not isinstance(given, Mapping) or not {"flip", "decoder"} <= given.keys():
            raise PoseError(f"The protocol of {origin} has to say flip and decoder at least.")
        unknown = [str(key) for key in given if key not in FIELDS]
        if unknown:
            raise PoseError(
                f"The protocol of {origin} has {', '.join(unknown)}, which nothing reads; "
                f"known: {', '.join(FIELDS)}."
            )
        return cls(**given)

    def with_changes(self, changes: Mapping[str, Any]) -> Protocol:
        """The same with single entries replaced; one that is None stays."""
        given = {key: value for key, value in changes.items() if value is not None}
        return Protocol.of({**asdict(self), **given})

    def shifts(self, stride: int) -> bool:
        """Whether the mirrored heatmaps move by a pixel.

        Crops are aligned at pixel corners, so the two halves of a flip test lie (stride - 1) / stride heatmap pixels
        apart: 0.75 at stride 4, which a pixel nearly mends, and 0 at stride 1, where it would be half a pixel of bias.
        """
        return stride > 1 if self.shift == AUTO else bool(self.shift)

    def applied(self, stride: int, boxes: str, mean: str | None) -> Protocol:
        """What was done, for records: by a network of this stride, on people with such boxes, by a metric's mean."""
        return replace(self, shift=self.flip and self.shifts(stride), boxes=boxes, mean=mean)

    def as_dict(self) -> dict[str, Any]:
        """For JSON and YAML."""
        return asdict(self)


FIELDS = tuple(field.name for field in fields(Protocol))
# As conf/protocol/paper_tta.yaml, for networks that say nothing of their own
PAPER_TTA = Protocol("paper_tta", flip=True)


def _shift(value: Any) -> bool:
    try:
        return switch("protocol.shift", value)
    except PoseError as error:
        raise PoseError(f"protocol.shift is {value}; it has to be auto, true or false.") from error
