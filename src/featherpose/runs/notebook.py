"""What a notebook begins with: `import featherpose.runs.notebook; run = featherpose.runs.open("last"); run`.

Runs lie in the checkout's `runs/`, wherever the notebook does, or in `FEATHERPOSE_RUNS`.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import cv2
import numpy as np
from IPython.core.getipython import get_ipython
from IPython.display import Image, display

from featherpose.place import CHECKOUT

__all__ = ["display", "show"]

warnings.filterwarnings("ignore", message="IProgress not found")
_ROOT = CHECKOUT or Path.cwd()
os.environ.setdefault("FEATHERPOSE_ROOT", str(_ROOT))
os.environ.setdefault("FEATHERPOSE_RUNS", str(_ROOT / "runs"))
if shell := get_ipython():
    shell.run_line_magic("matplotlib", "inline")


def show(picture: np.ndarray) -> None:
    """An RGB picture, as JPEG: notebooks stay small."""
    encoded = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1]
    display(Image(data=encoded.tobytes()))
