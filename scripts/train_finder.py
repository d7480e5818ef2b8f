"""The finder of people that ships, trained from YOLOX-nano: pictures, training, score on held-out pictures, ONNX file.

    python scripts/train_finder.py OUT --data FOLDER --snapshots FOLDER

FOLDER of --data holds coco_part/, coco_more/ and detectors/yolox_nano.onnx; that of --snapshots bare git directories
OWNER+NAME/repo. See docs/data.md for the pictures. An hour on one core; a second run goes on where the first one
stopped.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))  # works without an installation too


def main() -> int:
    import cv2
    import torch

    from featherpose.errors import PoseError
    from featherpose.teaching.finder import Plan, train
    from featherpose.teaching.sources import Places

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="where finder.onnx goes")
    parser.add_argument("--data", type=Path, required=True, help="labelled sets and the detector")
    parser.add_argument("--snapshots", type=Path, required=True, help="of public repositories")
    parser.add_argument("--steps", type=int, default=Plan.steps)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(1)
    places = Places(options.data, options.snapshots, options.out / "work")
    try:
        train(options.out, places, Plan(steps=options.steps), lambda line: print(line, flush=True))
    except PoseError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
