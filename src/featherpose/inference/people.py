"""Who finds people where nobody says where they are: the finder that ships, a detector's file, or the whole picture."""

from __future__ import annotations

from pathlib import Path

from featherpose.inference.boxes import Boxes, FindBoxes, whole_picture
from featherpose.inference.detector import Detector
from featherpose.inference.streams import Frame
from featherpose.skeletons import Skeleton
from featherpose.zoo.shipped import FINDER

AUTO, OURS, NONE = "auto", "finder", "none"
OF_PEOPLE = ("coco", "mpii", "lsp")  # skeletons whose owners the finder that ships knows
THRESHOLD = 0.4  # boxes of lower scores are left out


def finder_of(
    detector: str | Path | None,
    skeleton: Skeleton,
    kind: str | None = None,
    threshold: float = THRESHOLD,
    threads: int = 0,
) -> FindBoxes:
    """What gives the boxes of a frame.

    Args:
        detector: `auto`: the finder that ships for COCO's, MPII's and LSP's joints, and the whole picture for others;
            `finder`: that finder for any; `none` or None: the whole picture; else a detector's file.
        skeleton: of the network that the boxes are for.
        kind: of a detector's file, as `Detector` takes it.
        threshold: boxes of lower scores are left out.
        threads: 0 for one per core.
    """
    file = file_of(detector, skeleton)
    if file is None:
        return whole_picture
    ours = file == FINDER
    return Found(Detector(file, None if ours else kind, threshold, threads=threads), always=ours)


def file_of(detector: str | Path | None, skeleton: Skeleton) -> Path | None:
    """The file of the detector that is meant; None where the whole picture is the box."""
    if detector in (None, NONE) or (detector == AUTO and skeleton.name not in OF_PEOPLE):
        return None
    return FINDER if detector in (AUTO, OURS) else Path(str(detector))


class Found:
    """A detector's boxes; with `always` the whole picture where it finds nobody."""

    def __init__(self, detector: Detector, always: bool) -> None:
        self.detector = detector
        self.always = always

    def __call__(self, frame: Frame) -> Boxes:
        boxes, scores = self.detector(frame.picture)
        return whole_picture(frame) if self.always and not len(boxes) else (boxes, scores)
