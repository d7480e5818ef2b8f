"""Runs from Python: `import featherpose.runs; run = featherpose.runs.open("last")`.

`run.config`, `run.metrics`, `run.steps`, `run.scores`, `run.predictions`: see `featherpose.runs.folder.Run`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from featherpose.runs.folder import Run


def open(name: str | Path = "last", root: str | Path | None = None) -> Run:
    """One run.

    Args:
        name: its folder, the id that `runs list` shows, any part of its name that fits one run only, or `last`
            (`last-1` is the one before).
        root: where runs lie; None: $FEATHERPOSE_RUNS, or runs/.
    """
    from featherpose.runs.folder import find_run

    return find_run(name, _root(root))


def sweep(name: str | Path = "last", root: str | Path | None = None) -> list[Run]:
    """All runs of a sweep, in the order of its jobs' starts.

    Args:
        name: its folder, the folder's name, or `last`.
        root: as for `open`.
    """
    from featherpose.runs.folder import find_runs
    from featherpose.runs.sweep_folder import newest_sweep

    below = _root(root)
    if str(name) == "last":
        return find_runs(newest_sweep(below))
    return find_runs(name if Path(name).is_dir() else below / "sweeps" / name)


def dataframe(*places: str | Path | Run, root: str | Path | None = None) -> pd.DataFrame:
    """One row per run: name, id, state, score, sizes, protocol, time.

    Args:
        places: runs, or folders of runs or sweeps; none: all runs below the root.
        root: as for `open`.
    """
    from featherpose.runs.dataframes import runs_frame
    from featherpose.runs.folder import Run, find_runs

    folders = [place.folder if isinstance(place, Run) else place for place in places]
    return runs_frame(find_runs(*(folders or [_root(root)])))


def _root(root: str | Path | None) -> Path:
    return Path(root or os.environ.get("FEATHERPOSE_RUNS", "runs"))
