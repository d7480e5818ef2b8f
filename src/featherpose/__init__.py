"""featherpose: train, compare and ship lightweight 2D human pose networks."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from featherpose.machine import calm_threads

if TYPE_CHECKING:
    from featherpose.inference.pose import Pose
    from featherpose.zoo.checkpoint import load_checkpoint

__version__ = "0.1.0"
__all__ = ["Pose", "__version__", "load_checkpoint"]

calm_threads()
# before OpenCV is loaded, which reads it once: no picture may ask for more than 300 MB (see `image`)
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", "100000000")


def __getattr__(name: str) -> Any:
    """`from featherpose import Pose` loads torch then, not with every import of the package."""
    if name == "Pose":
        from featherpose.inference.pose import Pose

        return Pose
    if name == "load_checkpoint":
        from featherpose.zoo.checkpoint import load_checkpoint

        return load_checkpoint
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
