"""What the commands have in common that take long over pictures and go on where they were stopped."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from featherpose.errors import PoseError
from featherpose.teaching.sources import Places


def parser_of(doc: str | None, data: str) -> argparse.ArgumentParser:
    """OUT, --data and --snapshots; `data` says what lies in that folder."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="where it goes")
    parser.add_argument("--data", type=Path, required=True, help=data)
    parser.add_argument("--snapshots", type=Path, required=True, help="of public repositories")
    return parser


def done(work: Callable[[Places], object], options: argparse.Namespace) -> int:
    """The exit code of it."""
    try:
        work(Places(options.data, options.snapshots, options.out / "work"))
    except PoseError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    return 0
