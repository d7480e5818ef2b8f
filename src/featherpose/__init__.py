"""featherpose: train, compare and ship lightweight 2D human pose networks."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from featherpose.errors import missing
from featherpose.machine import calm_threads

if TYPE_CHECKING:
    from featherpose.inference.pose import Pose
    from featherpose.inference.results import to_dataframe
    from featherpose.inference.supervision import to_supervision
    from featherpose.metrics.oks import OKS
    from featherpose.metrics.pck import PCK, PCKh
    from featherpose.zoo.checkpoint import load_checkpoint

__version__ = "0.1.0"
__all__ = [
    "OKS",
    "PCK",
    "PCKh",
    "Pose",
    "__version__",
    "load_checkpoint",
    "to_dataframe",
    "to_supervision",
]

_WHERE = {
    "Pose": "featherpose.inference.pose",
    "to_dataframe": "featherpose.inference.results",
    "to_supervision": "featherpose.inference.supervision",
    "load_checkpoint": "featherpose.zoo.checkpoint",
    "OKS": "featherpose.metrics.oks",
    "PCK": "featherpose.metrics.pck",
    "PCKh": "featherpose.metrics.pck",
}

calm_threads()
# before OpenCV is loaded, which reads it once: no picture may ask for more than 300 MB (see `image`)
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", "100000000")


def __getattr__(name: str) -> Any:
    """Each is loaded when it is asked for: `Pose` needs no torch, the others do."""
    if name in _WHERE:
        try:
            return getattr(import_module(_WHERE[name]), name)
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(missing(error) or str(error), name=error.name) from error
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
