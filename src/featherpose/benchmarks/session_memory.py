"""Run as a program: how many bytes one opened file adds to its process. Loads no torch.

Arguments: the file, a tiny file that makes its runtime allocate what it needs for any model (LiteRT and ncnn are
loaded alone: they have no tiny file), threads, height, width, and "small" to leave out ONNX Runtime's memory pattern.
Prints one JSON line.
A process of its own is needed because freed memory seldom goes back: within one process the second session looks nearly
free.
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
import psutil

from featherpose.inference import litert, ncnn
from featherpose.inference.backends import open_runtime, open_session, run


def resident() -> int:
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)  # what is freed but kept is not the session's
    return psutil.Process().memory_info().rss


def main(
    path: str, tiny: str, threads: int, height: int, width: int, small: bool
) -> dict[str, int]:
    if path.endswith(litert.SUFFIX) and litert.is_first_choice():
        import_module("ai_edge_litert.interpreter")
    elif path.endswith(ncnn.SUFFIX):
        import_module("ncnn")
    else:
        runtime = "onnxruntime" if path.endswith(".onnx") else "openvino"
        opened(tiny, threads, small, runtime)(np.ones((1, 3, 8, 8), np.float32))
    image = np.random.default_rng(0).standard_normal((1, 3, height, width), np.float32)
    before = resident()
    forward = opened(path, threads, small)
    for _ in range(4):
        forward(image)
    return {"bytes": resident() - before}


def opened(
    path: str, threads: int, small: bool, runtime: str = "onnxruntime"
) -> Callable[[np.ndarray], Any]:
    if path.endswith(".onnx") and runtime == "onnxruntime":
        return partial(run, open_session(path, threads, small))
    return open_runtime(path, runtime, threads).run


if __name__ == "__main__":
    file, tiny_file, count, high, wide, *rest = sys.argv[1:]
    print(json.dumps(main(file, tiny_file, int(count), int(high), int(wide), "small" in rest)))
