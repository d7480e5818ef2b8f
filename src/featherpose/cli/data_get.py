"""Downloads a dataset from its official page: resumed where it was broken off, checked, unpacked.

What can't be fetched automatically is said at the end.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from featherpose.place import command


def main(words: list[str]) -> int:
    from featherpose.data import download

    parser = argparse.ArgumentParser(prog="featherpose data get", description=__doc__)
    parser.add_argument("dataset", choices=sorted(download.DATASETS))
    parser.add_argument(
        "--to",
        type=Path,
        default=Path(os.environ.get("FEATHERPOSE_DATA", "data")),
        help="the folder of all datasets (%(default)s)",
    )
    parser.add_argument("--keep", action="store_true", help="keep the archives after unpacking")
    parser.add_argument("--list", action="store_true", help="only say what would be fetched")
    options = parser.parse_args(words)
    dataset = download.DATASETS[options.dataset]
    for file in dataset.files:
        print(f"{file.url}  ({file.size})  -> {options.to / file.folder}")
    if not options.list:
        for file in dataset.files:
            download.fetch(file, options.to, options.keep)
    for sentence in dataset.by_hand:
        print(f"\n{sentence}")
    print(
        "\nThen check it: "
        + " and ".join(command(f"data check data={name}") for name in dataset.checks)
    )
    return 0
