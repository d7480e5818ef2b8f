"""`checkpoint=last`, `init=lapx-s3`: a run's name in place of its folder, wherever a setting takes a run."""

from __future__ import annotations

import os
from pathlib import Path

from featherpose.overrides.quoting import quoted

# The settings that take a run folder, by verb
TAKES_A_RUN = {
    "train": ("init", "resume", "loss.teacher"),
    "evaluate": ("checkpoint",),
    "predict": ("checkpoint",),
    "export": ("checkpoint",),
}


def expand(verb: str, words: list[str]) -> list[str]:
    """The overrides, with the folder in place of a run's name, its id, a part of its name, or `last`.

    A path that is there, and weights that the zoo knows by name, stay as they are; so does what no run fits, for the
    setting itself says best what it takes.
    """
    runs = Path(os.environ.get("FEATHERPOSE_RUNS", "runs"))
    for word in words:
        if word.startswith("paths.runs="):
            runs = Path(word.partition("=")[2].strip("'\""))
    return [_expanded(word, runs) if _takes_a_run(verb, word) else word for word in words]


def _takes_a_run(verb: str, word: str) -> bool:
    key, _, value = word.partition("=")
    name = value.strip("'\"")
    return key in TAKES_A_RUN.get(verb, ()) and name not in ("", "null") and not Path(name).exists()


def _expanded(word: str, runs: Path) -> str:
    from featherpose.runs.folder import NEWEST, NoRun, find_run
    from featherpose.zoo.known import known

    key, _, value = word.partition("=")
    name = value.strip("'\"")
    if name in known():
        return word
    try:
        folder = find_run(name, runs).folder
    except NoRun:
        if NEWEST.fullmatch(name):
            raise
        return word
    print(f"{key}={name} is {folder}")
    return f"{key}={quoted(str(folder))}"
