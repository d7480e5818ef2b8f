"""Writes painted people to disk in the official layout of COCO, MPII, LSP or LSPET; prints how to train on them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from featherpose.place import command


def arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="featherpose data paint", description=__doc__)
    parser.add_argument("--format", required=True, choices=("coco", "mpii", "lsp", "lspet"))
    parser.add_argument(
        "--people", type=int, default=2000, help="pictures with one main person each (%(default)s)"
    )
    parser.add_argument("--out", required=True, type=Path, help="the folder to write")
    parser.add_argument("--seed", type=int, default=0, help="of the people (%(default)s)")
    parser.add_argument(
        "--force", action="store_true", help="write into a folder that holds something already"
    )
    return parser.parse_args(words)


def next_command(options: argparse.Namespace) -> str:
    """How to train on it; the readers of LSP and LSPET expect the official sizes unless told otherwise."""
    people, train = options.people, options.people * 4 // 5
    extra = {
        "lspet": f" 'data.read.train=[1,{train}]' 'data.read.val=[{train + 1},{people}]'",
        "lsp": ""
        if people == 2000
        else "  (LSP's split is at picture 1,000: it needs --people 2000)",
    }
    words = f"train data={options.format} data.root={options.out.resolve()}"
    return command(words) + extra.get(options.format, "")


def main(words: list[str]) -> int:
    options = arguments(words)
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from featherpose.errors import PoseError
    from featherpose.synthetic.formats import write

    try:
        if not options.force and options.out.is_dir() and any(options.out.iterdir()):
            raise PoseError(
                f"{options.out} is not empty; choose another --out, or add --force to write into it."
            )
        columns = (
            TextColumn("drawing people"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns) as bar:
            task = bar.add_task("", total=options.people)
            counts = write(
                options.format,
                options.out,
                options.people,
                options.seed,
                lambda done: bar.update(task, completed=done),
            )
    except (PoseError, PermissionError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            f"stopped; {options.out} holds a part: write again with --force, or delete it",
            file=sys.stderr,
        )
        return 130
    found = ", ".join(f"{count} {split}" for split, count in counts.items())
    print(f"{options.out}: {options.people} pictures, annotated persons: {found}")
    print(f"try next: {next_command(options)}")
    return 0
