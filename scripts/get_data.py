"""Downloads a dataset from its official page: resumed where it was broken off, checked, unpacked.

    python scripts/get_data.py coco|mpii|lsp [--to data] [--keep] [--list]

What can't be fetched automatically is said at the end.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))  # works without an installation too


def main() -> int:
    from featherpose.data import download
    from featherpose.errors import PoseError

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", choices=sorted(download.DATASETS))
    parser.add_argument(
        "--to", type=Path, default=ROOT / "data", help="the folder of all datasets (%(default)s)"
    )
    parser.add_argument("--keep", action="store_true", help="keep the archives after unpacking")
    parser.add_argument("--list", action="store_true", help="only say what would be fetched")
    options = parser.parse_args()
    dataset = download.DATASETS[options.dataset]
    for file in dataset.files:
        print(f"{file.url}  ({file.size})  -> {options.to / file.folder}")
    if not options.list:
        try:
            for file in dataset.files:
                download.fetch(file, options.to, options.keep)
        except PoseError as error:
            print(f"error: {error}", file=sys.stderr)
            return error.exit_code
    for sentence in dataset.by_hand:
        print(f"\n{sentence}")
    print(
        "\nThen check it: "
        + " and ".join(f"python scripts/check_data.py data={name}" for name in dataset.checks)
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
