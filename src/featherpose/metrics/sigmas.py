"""The constants of the object keypoint similarity: given, usual or estimated; and what a score by them is called."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from featherpose.errors import PoseError
from featherpose.settings import number, numbers
from featherpose.skeletons import COCO, DEFAULT_SIGMA, Skeleton

ESTIMATED = "estimated"  # the key under which `data sigmas` writes them


def similarity_by(
    chosen: str | Sequence[float] | None, skeleton: Skeleton
) -> tuple[tuple[float, ...], str]:
    """One sigma for each joint, and the name of the AP by them.

    `AP` is by COCO's sigmas of COCO's joints and nothing else. Other names hold a few figures of the numbers' checksum,
    for AP by one set of sigmas never compares with AP by another.
    """
    if chosen == "default" or (chosen is None and skeleton.sigmas is None):
        return (DEFAULT_SIGMA,) * len(skeleton), f"AP(sigma {DEFAULT_SIGMA})"
    if isinstance(chosen, str):
        sigmas, kind = read(Path(chosen), skeleton), "estimated"
    elif chosen is None:
        sigmas, kind = skeleton.similarity_sigmas, "given"
    else:
        given = numbers("data.metric.sigmas", chosen, count=len(skeleton), above=0)
        sigmas, kind = tuple(given), "given"
    if (skeleton.joints, sigmas) == (COCO.joints, COCO.sigmas):
        return sigmas, "AP"
    if set(sigmas) == {DEFAULT_SIGMA}:
        return sigmas, f"AP(sigma {DEFAULT_SIGMA})"
    figures = hashlib.sha256(json.dumps([f"{s:.6g}" for s in sigmas]).encode()).hexdigest()[:6]
    return sigmas, f"AP({kind} sigmas {figures})"


def read(path: Path, skeleton: Skeleton) -> tuple[float, ...]:
    """What `data sigmas` wrote, in the skeleton's order."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))[ESTIMATED]
        missing = [joint for joint in skeleton.joints if joint not in found]
    except FileNotFoundError as error:
        raise PoseError(
            f"data.metric.sigmas is {path}, which is not there: default, numbers, or a file of data sigmas."
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PoseError(f"{path} is not a file that data sigmas wrote.") from error
    if missing:
        raise PoseError(f"{path} has no sigma of {', '.join(missing)}.")
    return tuple(number(f"{path}: {joint}", found[joint], above=0) for joint in skeleton.joints)
