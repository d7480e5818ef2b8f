"""Runs a bundle's test picture on this machine: does it give what it should, and how fast?"""

from __future__ import annotations

import argparse
from pathlib import Path

from featherpose.errors import PoseError


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="featherpose verify", description=__doc__)
    parser.add_argument("bundle", type=Path, help="a folder or .zip that export bundle= wrote")
    parser.add_argument("--runtime", default="onnxruntime", help="onnxruntime or openvino")
    parser.add_argument("--threads", type=int, default=0, help="0: one for each core")
    asked = parser.parse_args(words)

    from featherpose.inference.bundle import PIXELS, SURENESS, verify

    found = verify(asked.bundle, asked.runtime, asked.threads)
    said = (
        f"{found.joints - found.off} of {found.joints} joints are where they should be (within {PIXELS:g} pixel and "
        f"{SURENESS:g} of confidence), the farthest off by {found.farthest:.2f} pixels"
    )
    if not found.right:
        raise PoseError(f"{asked.bundle} gives another pose on this machine: {said}.")
    print(f"{asked.bundle} works on this machine: {said}; {found.milliseconds:.1f} ms a person")
    return 0
