"""Bare weights and a model card for finished runs: python scripts/ship.py RUN [RUN ...]."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from featherpose.errors import PoseError
from featherpose.export.card import ship

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", help="run folders")
    try:
        for run in parser.parse_args().runs:
            print(*ship(run), sep="\n")
    except PoseError as error:
        sys.exit(f"error: {error}")
