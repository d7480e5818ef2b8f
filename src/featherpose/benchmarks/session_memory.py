"""Run as a program: how many bytes one ONNX Runtime session adds to its process. Loads no torch.

Arguments: the file, a tiny file that makes the runtime allocate what it needs for any model, threads, height, width,
and "small" to leave out the memory pattern. Prints one JSON line. A process of its own is needed because freed
memory seldom goes back: within one process the second session looks nearly free.
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys

import numpy as np
import psutil

from featherpose.inference.backends import open_session


def resident() -> int:
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)  # what is freed but kept is not the session's
    return psutil.Process().memory_info().rss


def main(
    path: str, tiny: str, threads: int, height: int, width: int, small: bool
) -> dict[str, int]:
    warm = open_session(tiny, threads, small)
    warm.run(None, {warm.get_inputs()[0].name: np.ones((1, 3, 8, 8), np.float32)})
    image = np.random.default_rng(0).standard_normal((1, 3, height, width), np.float32)
    before = resident()
    session = open_session(path, threads, small)
    name = session.get_inputs()[0].name
    for _ in range(4):
        session.run(None, {name: image})
    return {"bytes": resident() - before}


if __name__ == "__main__":
    file, tiny_file, count, high, wide, *rest = sys.argv[1:]
    print(json.dumps(main(file, tiny_file, int(count), int(high), int(wide), "small" in rest)))
