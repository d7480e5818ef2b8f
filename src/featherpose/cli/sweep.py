"""How a sweep stands: done, failed, missing. `--go-on` runs what is missing or failed."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from pathlib import Path

from featherpose.place import CHECKOUT


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="featherpose sweep", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="of the sweep (default: the newest)")
    parser.add_argument("--go-on", action="store_true", help="run what is missing or failed")
    asked = parser.parse_args(words)

    from rich.console import Console

    from featherpose.runs import commands
    from featherpose.runs.sweep_folder import newest_sweep, to_go_on

    folder = asked.folder or newest_sweep(Path(os.environ.get("FEATHERPOSE_RUNS", "runs")))
    code = commands.status(folder, Console(highlight=False))
    if code and asked.go_on:
        for line in to_go_on(folder):
            print(line, flush=True)
            subprocess.run([*door(), *arguments_of(line)], check=False)
        code = commands.status(folder, Console(highlight=False))
    return code


def door() -> list[str]:
    if CHECKOUT:
        return [sys.executable, str(CHECKOUT / "src" / "train.py")]
    return [sys.executable, "-m", "featherpose", "train"]


def arguments_of(line: str) -> list[str]:
    """The overrides of a command line that starts a training."""
    words = shlex.split(line)
    start = next(i for i, word in enumerate(words) if word.startswith("-") or "=" in word)
    return words[start:]
