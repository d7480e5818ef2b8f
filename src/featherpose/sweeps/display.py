"""What a sweep shows while it runs, and its table of all jobs at the end."""

from __future__ import annotations

from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar
from rich.table import Table
from typing_extensions import Self

from featherpose.console import console

if TYPE_CHECKING:
    from featherpose.sweeps.job import Job

LOG = "output.log"
COLOURS = {"finished": "green", "failed": "red", "interrupted": "yellow"}


class Progress:
    """One bar over all jobs, one line for each that starts or ends."""

    def __init__(self, folder: Path, jobs: int, done: int, slots: int, head: bool = True) -> None:
        self.console = console
        again = f", {done} of them finished already" if done else ""
        if head:
            self.console.print(f"{jobs} jobs{again}, {slots} at a time, in {folder}")
        columns = (
            TextColumn("jobs"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self.bar = Bar(
            *columns, console=self.console, transient=True, disable=not self.console.is_terminal
        )
        self.task = self.bar.add_task("jobs", total=jobs, completed=done)

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def started(self, job: Job) -> None:
        self.console.print(f"  #{job.number} starts: {escape(' '.join(job.overrides))}")

    def ended(self, job: Job) -> None:
        colour = COLOURS.get(job.state, "white")
        why = f": {escape(shorten(job.error, 100))}" if job.error else ""  # whole at the end
        self.console.print(
            f"  #{job.number} [{colour}]{job.state}[/] after {duration(job.seconds)}{why}"
        )
        self.bar.advance(self.task)

    def completed(self, jobs: int) -> None:
        """How far it is where other processes help, or jobs need not be run."""
        self.bar.update(self.task, completed=jobs)


def print_table(jobs: list[Job], folder: Path) -> None:
    """Number, what varies, how it ended, score and time of every job; below it the errors and where to read more."""
    from featherpose.runs.sweep_folder import own_overrides  # loads pandas

    at_width = Console(highlight=False, soft_wrap=not Console().is_terminal)
    table = Table(title=f"sweep {folder.name}", caption=str(folder))
    for column, justify in (
        ("job", "right"),
        ("overrides", "left"),
        ("state", "left"),
        ("score", "right"),
    ):
        table.add_column(column, justify=justify)
    table.add_column("time", justify="right")
    for job in jobs:
        score = job.score()
        table.add_row(
            str(job.number),
            escape(own_overrides(job, jobs)),
            f"[{COLOURS.get(job.state, 'white')}]{job.state}[/]",
            f"{score:.2f}" if score is not None else "",
            duration(job.seconds) if job.seconds else "",
        )
    at_width.print(table)
    for job in jobs:
        if job.error:
            at_width.print(f"#{job.number} {escape(job.error)} [dim]({job.folder / LOG})[/]")


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
