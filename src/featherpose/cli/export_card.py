"""Bare weights and a model card for finished runs."""

from __future__ import annotations

import argparse


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="featherpose export card", description=__doc__)
    parser.add_argument("runs", nargs="+", help="run folders")
    asked = parser.parse_args(words)

    from featherpose.export.card import ship

    for run in asked.runs:
        print(*ship(run), sep="\n")
    return 0
