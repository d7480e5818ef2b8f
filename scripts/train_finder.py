"""The finder of people that ships, trained from YOLOX-nano: pictures, training, score on held-out pictures, ONNX file.

    python scripts/train_finder.py OUT --data FOLDER --snapshots FOLDER

FOLDER of --data holds coco_part/, coco_more/ and detectors/yolox_nano.onnx; that of --snapshots bare git directories
OWNER+NAME/repo. See docs/data.md for the pictures. An hour on one core; a second run goes on where the first one
stopped.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))  # works without an installation too


def main() -> int:
    import cv2
    import torch

    from featherpose.teaching.command import done, parser_of
    from featherpose.teaching.finder import Plan, train

    parser = parser_of(__doc__, data="labelled sets and the detector")
    parser.add_argument("--steps", type=int, default=Plan.steps)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(1)
    plan = Plan(steps=options.steps)
    return done(lambda places: train(options.out, places, plan, say), options)


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
