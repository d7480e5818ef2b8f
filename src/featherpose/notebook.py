"""What the notebooks begin with: where runs lie, and how pictures are shown."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import cv2
import numpy as np
from IPython.core.getipython import get_ipython
from IPython.display import Image, display

from featherpose.place import CHECKOUT, CONF

__all__ = ["CONF", "RUNS", "display", "show"]

warnings.filterwarnings("ignore", message="IProgress not found")
ROOT = CHECKOUT or Path.cwd()
RUNS = Path(os.environ.get("FEATHERPOSE_RUNS", ROOT / "runs"))
os.environ.setdefault("FEATHERPOSE_ROOT", str(ROOT))
if shell := get_ipython():
    shell.run_line_magic("matplotlib", "inline")


def show(picture: np.ndarray) -> None:
    """An RGB picture, as JPEG: notebooks stay small."""
    encoded = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1]
    display(Image(data=encoded.tobytes()))
