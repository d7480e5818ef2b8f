"""One training set in COCO's 17 joints from all pictures of people at hand: regions in packs, one index.

    python scripts/build_people17.py OUT --data FOLDER --snapshots FOLDER [--sources lspet mpii ...]

FOLDER of --data holds coco_part/, coco_more/, lspet/, mpii_part/, teachers/tinypose256.xml and
detectors/yolox_nano.onnx; that of --snapshots bare git directories OWNER+NAME/repo. See docs/data.md for what is in it
and how it is sieved. Each slow step is kept in OUT/work: a second run goes on where the first one stopped.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))  # works without an installation too


def main() -> int:
    from featherpose.errors import PoseError
    from featherpose.teaching.build_set import build
    from featherpose.teaching.sieve import Rules
    from featherpose.teaching.sources import LABELLED, UNLABELLED, Places

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="where the set goes")
    parser.add_argument("--data", type=Path, required=True, help="labelled sets, teacher, detector")
    parser.add_argument("--snapshots", type=Path, required=True, help="of public repositories")
    every = [*LABELLED, *UNLABELLED]
    parser.add_argument("--sources", nargs="+", choices=every, default=every, metavar="SOURCE")
    options = parser.parse_args()
    places = Places(options.data, options.snapshots, options.out / "work")
    try:
        build(options.out, places, [name for name in every if name in options.sources], Rules())
    except PoseError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
