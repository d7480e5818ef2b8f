"""`runs watch`: what runs now, how far it is and what waits, until nothing runs any more or Ctrl-C."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table as Grid

from featherpose.runs import metrics_csv
from featherpose.runs.folder import Run, age, find_runs
from featherpose.runs.listing import state as in_colour
from featherpose.runs.record import RUNNING
from featherpose.runs.sweep_folder import jobs, own_overrides

WAITS = "waits"
_SHORTEST = 16  # letters of a name at least
_ENDED = 5  # runs that have ended are shown where nothing runs


@dataclass(frozen=True)
class Sight:
    """One run as it stands; what is not known is empty."""

    name: str
    state: str
    epochs: str = ""  # done / all
    score: str = ""  # of the last validation
    best: str = ""
    rate: str = ""  # images a second
    left: str = ""  # of training, without the validations
    memory: str = ""

    def line(self) -> str:
        """For a place that is no terminal."""
        parts = [self.name, self.state, self.epochs and f"epoch {self.epochs}"]
        parts += [
            self.score and f"{self.score} (best {self.best})",
            self.rate and f"{self.rate} images/s",
            self.left and f"{self.left} left",
            self.memory,
        ]
        return "  ".join(filter(None, parts))


def watch(
    look: Callable[[], Sequence[Sight]], console: Console, every: float, once: bool = False
) -> int:
    """Shows what `look` sees every so many seconds; gives 0 when nothing runs or waits, or on Ctrl-C."""
    try:
        if console.is_terminal and not once:
            _live(look, console, every)
        else:
            _lines(look, every, once)
    except KeyboardInterrupt:
        pass
    return 0


def sights(places: Sequence[Path], root: Path) -> list[Sight]:
    """The runs of some folders, or below the root what runs, with the other jobs of its sweep; else the last ones."""
    if places:
        return [each for place in places for each in _of_folder(place)]
    if not root.is_dir():
        return []
    runs = find_runs(root, left_out=[])
    running = [run for run in runs if run.state == RUNNING]
    sweeps = dict.fromkeys(run.folder.parent for run in running if _is_sweep(run.folder.parent))
    found = [each for sweep in sweeps for each in _of_folder(sweep)]
    found += [see(run) for run in running if run.folder.parent not in sweeps]
    return found or [see(run) for run in runs[-_ENDED:]]


def see(run: Run) -> Sight:
    """One run, by its files."""
    table, runs = run.metrics, run.state == RUNNING
    scores = table["val/score"].dropna() if "val/score" in table else pd.Series(dtype=float)
    rate, done, total = _rate(run), _epochs_done(run), _epochs(run)
    train = run.record.data.train
    left = ""
    if runs and rate and total and train:
        left = age(max(0.0, total - done) * train / rate)
    epochs = f"{done:.3g}" if runs else str(len(table))
    return Sight(
        name=run.name,
        state=run.state,
        epochs=f"{epochs}/{total}" if total else epochs,
        score=f"{scores.iloc[-1]:.2f}" if len(scores) else "",
        best=f"{scores.max():.2f}" if len(scores) else "",
        rate=f"{rate:.0f}" if rate and runs else "",
        left=left,
        memory=_memory(run) if runs else "",
    )


def _of_folder(folder: Path) -> Iterator[Sight]:
    if not _is_sweep(folder):
        yield from map(see, find_runs(folder, left_out=[]))
        return
    for job in (found := jobs(folder)):
        if job.run is None:
            yield Sight(f"job {job.number}: {own_overrides(job, found)}", WAITS)
        elif job.damage is None:
            yield see(job.run)


def _is_sweep(folder: Path) -> bool:
    return (folder / "multirun.yaml").is_file()


def _rows(run: Run) -> list[metrics_csv.Row]:
    return metrics_csv.read(run.folder / "steps.csv", "step")


def _rate(run: Run) -> float | None:
    rows = _rows(run)
    if rows:
        return rows[-1].get("train/step/images_per_s")
    table = run.metrics
    return float(table["images_per_s"].iloc[-1]) if "images_per_s" in table else None


def _epochs(run: Run) -> int | None:
    epochs = run.select("schedule.epochs")
    return epochs if isinstance(epochs, int) and epochs > 0 else None


def _epochs_done(run: Run) -> float:
    """With the part of the epoch that the last row by step lies in."""
    table, rows = run.metrics, _rows(run)
    train, batch = run.record.data.train, run.select("schedule.batch_size")
    if rows and train and isinstance(batch, int):
        return max(float(len(table)), rows[-1]["step"] * batch / train)
    return float(len(table))


def _memory(run: Run) -> str:
    """The GPU's peak where the run has one, else what its process holds on this machine."""
    import psutil

    if "gpu_memory" in run.metrics:
        return f"{run.metrics['gpu_memory'].iloc[-1]:.1f} GiB GPU"
    try:
        return f"{psutil.Process(run.record.pid or 0).memory_info().rss / 2**30:.1f} GiB"
    except (psutil.Error, ValueError):
        return ""


def _goes_on(found: Sequence[Sight]) -> bool:
    """A job that waits while none runs has been given up, or is about to start."""
    return any(each.state == RUNNING for each in found)


def _live(look: Callable[[], Sequence[Sight]], console: Console, every: float) -> None:
    found = look()
    with Live(_table(found, console.width), console=console, auto_refresh=False) as live:
        while _goes_on(found):
            time.sleep(every)
            found = look()
            live.update(_table(found, console.width), refresh=True)


def _lines(look: Callable[[], Sequence[Sight]], every: float, once: bool) -> None:
    """Only what has changed: a log should not fill with the same words."""
    said: dict[str, Sight] = {}
    while True:
        found = look()
        for each in found:
            if said.get(each.name) != each:
                print(each.line(), flush=True)
        said = {each.name: each for each in found}
        if once or not _goes_on(found):
            return
        time.sleep(every)


def _table(found: Sequence[Sight], width: int) -> Grid | str:
    """Names give way, so that numbers stay whole."""
    if not found:
        return "no runs"
    heads = ("run", "state", "epochs", "score", "best", "img/s", "left", "memory")
    rows = [
        (each.state, each.epochs, each.score, each.best, each.rate, each.left, each.memory)
        for each in found
    ]
    taken = sum(max(map(len, column)) + 1 for column in zip(heads[1:], *rows, strict=True))
    grid = Grid(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    for head in heads:
        grid.add_column(head, justify="left" if head in heads[:2] else "right", no_wrap=True)
    for each, cells in zip(found, rows, strict=True):
        state = f"[dim]{WAITS}[/]" if each.state == WAITS else in_colour(each.state)
        name = _cropped(each, max(_SHORTEST, width - taken))
        grid.add_row(escape(name), state, *cells[1:])
    return grid


def _cropped(each: Sight, most: int) -> str:
    """Of a run's name its beginning and its end, which says the seed; of a job that waits what comes first."""
    name = each.name
    if len(name) <= most:
        return name
    end = 0 if each.state == WAITS else most // 2
    return f"{name[: most - 1 - end]}…{name[len(name) - end :]}"
