"""How exactly your people label each joint: sigmas for OKS, from pictures that were labelled twice.

FIRST and SECOND are two people's labels of the same pictures, in any form that `data import` reads; or FIRST alone,
where a picture's people were labelled twice in one file. What is written is for data.metric.sigmas=FILE with OKS.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from featherpose.errors import UsageError

FEW = 30  # pairs: below, a sigma is off by more than an eighth, one time in three


def arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="featherpose data sigmas", description=__doc__)
    parser.add_argument("first", type=Path, metavar="FIRST")
    parser.add_argument("second", type=Path, metavar="SECOND", nargs="?")
    parser.add_argument(
        "--out", type=Path, default=Path("sigmas.json"), help="default: %(default)s"
    )
    parser.add_argument("--joints", help="their names in order, a,b,c, where the labels have none")
    parser.add_argument("--category", help="of COCO or YOLO, where there are several")
    parser.add_argument("--force", action="store_true", help="write over an earlier file")
    return parser.parse_args(words)


def main(words: list[str]) -> int:
    options = arguments(words)
    sources = [each for each in (options.first, options.second) if each is not None]
    for each in sources:
        if not each.exists():
            raise UsageError(f"{each} is not there.")
    if options.out.exists() and not options.force:
        raise UsageError(f"{options.out} is there already; add --force to write over it.")
    from featherpose.cli.data_import import read_labels
    from featherpose.console import console
    from featherpose.files import write_atomically
    from featherpose.importing.repeated import compare
    from featherpose.metrics.sigmas import ESTIMATED
    from featherpose.place import command
    from featherpose.skeletons import DEFAULT_SIGMA

    with ExitStack() as opened:
        space = Path(opened.enter_context(tempfile.TemporaryDirectory()))
        read = [
            read_labels(each, options.category, options.joints, space / str(number))
            for number, each in enumerate(sources)
        ]
    joints = read[0].joints
    found = compare(read[0], read[1] if len(read) > 1 else None)
    sigmas = found.sigmas()
    _show(joints, sigmas, found.counts)
    console.print(f"{len(found.distances):,} people were labelled twice, {found.alone:,} once")
    bare = [joint for joint, sigma in zip(joints, sigmas, strict=True) if not sigma > 0]
    if bare:
        console.print(
            f"nobody has {', '.join(bare)} twice, or both labels are the same: {DEFAULT_SIGMA} is taken"
        )
    usable = np.where(sigmas > 0, sigmas, DEFAULT_SIGMA)
    content = {
        ESTIMATED: {j: round(float(s), 4) for j, s in zip(joints, usable, strict=True)},
        "pairs": dict(zip(joints, found.counts.tolist(), strict=True)),
        "sources": [str(each) for each in sources],
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(options.out, json.dumps(content, indent=1) + "\n")
    oks = "data.metric._target_=featherpose.metrics.oks.OKS"
    use = command(f"train data=NAME {oks} +data.metric.sigmas={options.out}")
    console.print(f"wrote {options.out}; use it: {use}")
    return 0


def _show(joints: list[str], sigmas: np.ndarray, counts: np.ndarray) -> None:
    from rich import box
    from rich.table import Table

    from featherpose.console import console

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False)
    for heading, side in (("joint", "left"), ("pairs", "right"), ("sigma", "right"), ("", "left")):
        table.add_column(heading, justify=side)
    for joint, sigma, count in zip(joints, sigmas, counts.tolist(), strict=True):
        note = "few pairs" if 0 < count < FEW else ""
        table.add_row(joint, f"{count:,}", f"{sigma:.3f}" if sigma > 0 else "-", note)
    console.print(table)
