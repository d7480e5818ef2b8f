"""One training set in COCO's 17 joints from all pictures of people at hand: regions in packs, one index.

    python scripts/build_people17.py OUT --data FOLDER --snapshots FOLDER [--sources lspet mpii ...]

FOLDER of --data holds coco_part/, coco_more/, lspet/, mpii_part/, teachers/tinypose256.xml and
detectors/yolox_nano.onnx; that of --snapshots bare git directories OWNER+NAME/repo. See docs/data.md for what is in it
and how it is sieved. Each slow step is kept in OUT/work: a second run goes on where the first one stopped.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))  # works without an installation too


def main() -> int:
    from featherpose.data.readers.people17 import LABELLED, UNLABELLED
    from featherpose.teaching.build_set import build
    from featherpose.teaching.command import done, parser_of
    from featherpose.teaching.sieve import Rules

    parser = parser_of(__doc__, data="labelled sets, teacher, detector")
    every = [*LABELLED, *UNLABELLED]
    of = f"of {', '.join(every)}; all where none is named"
    parser.add_argument(
        "--sources", nargs="+", choices=every, default=every, metavar="SOURCE", help=of
    )
    options = parser.parse_args()
    names = [name for name in every if name in options.sources]
    return done(lambda places: build(options.out, places, names, Rules()), options)


if __name__ == "__main__":
    sys.exit(main())
