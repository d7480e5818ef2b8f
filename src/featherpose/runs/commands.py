"""What `python scripts/runs.py` prints: each function takes what was asked and writes to the terminal or a file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from featherpose.errors import PoseError
from featherpose.intervals import difference
from featherpose.place import command
from featherpose.runs import repeat
from featherpose.runs import table as tables
from featherpose.runs.dataframes import diff, made_by, names_apart, rounded
from featherpose.runs.folder import DONE, Run, epochs, find_run, find_runs
from featherpose.runs.listing import state as in_colour
from featherpose.runs.published import published
from featherpose.runs.record import BROKEN_OFF, NetworkFacts
from featherpose.runs.sweep_folder import counts, jobs, own_overrides, to_go_on

_FORMATS = {"markdown": tables.markdown, "latex": tables.latex, "csv": tables.csv}


def select(places: Sequence[str], root: Path, left_out: list[str] | None = None) -> list[Run]:
    """The runs of folders or names; all runs below the root if none is named. `left_out`: see `find_runs`."""
    if not places:
        return find_runs(root, left_out=left_out)
    found: dict[Path, Run] = {}
    for place in places:
        runs = (
            find_runs(place, left_out=left_out) if Path(place).is_dir() else [find_run(place, root)]
        )
        found |= {run.folder.resolve(): run for run in runs}
    return list(found.values())


def show(run: Run, console: Console) -> None:
    """One run: what, how, how it ended, its scores beside the mean pose and the papers' rows."""
    record, wandb = run.record, run.record.dashboard("wandb")
    grid = Grid.grid(padding=(0, 2))
    grid.add_column()
    grid.add_column(overflow="fold")  # a folder that is cut cannot be pasted
    rows = {
        "state": in_colour(run.state, run.silent)
        + escape(f"  {record.error}" if record.error else ""),
        "command": escape(str(record.command)),
        "commit": f"{record.git.commit}{' with uncommitted changes' if record.git.dirty else ''}",
        "network": escape(network_in_words(record.network)),
        "protocol": escape(run.protocol),
        "device": escape(f"{record.device} on {record.host}"),
        "time": f"{record.started} to {record.finished}, {epochs(run)}",
        "wandb": escape(str(wandb.get("url") or wandb.get("dir") or "")),
        "folder": escape(str(run.folder)),
    }
    for label, value in rows.items():
        grid.add_row(f"[bold]{label}[/]", value)
    console.print(f"[bold]{escape(run.name)}[/]")
    console.print(grid)
    scores = Grid(box=None, header_style="bold", pad_edge=False)
    for name in ("", run.metric, *[n[6:] for n in run.scores if n.startswith("joint/")]):
        scores.add_column(name, justify="right" if name else "left")
    joints = [n for n in run.scores if n.startswith("joint/")]
    if run.score is not None:
        scores.add_row(
            "best checkpoint", f"{run.score:.2f}", *[f"{run.scores[n]:.2f}" for n in joints]
        )
    baseline = record.baseline
    if "mean pose" in baseline:
        means = [baseline.get(f"mean pose/{n}") for n in joints]
        scores.add_row(
            "mean pose",
            f"{baseline['mean pose']:.2f}",
            *["" if m is None else f"{m:.2f}" for m in means],
        )
    for row in published(run):
        values = [row.values.get(n[6:]) for n in joints]
        total = row.values.get("score")
        cells = ["" if value is None else f"{value:.2f}" for value in (total, *values)]
        scores.add_row(escape(row.source), *cells, style="italic dim")
    console.print(scores)


def network_in_words(facts: NetworkFacts) -> str:
    """`Hourglass, 2.31 M parameters, 3.40 G MACs (thop: 2.30 M, 3.45 G), 3 stages, 256 channels, stride 4`."""
    words = [facts.name or "?"]
    if facts.parameters is not None:
        words.append(f"{facts.parameters / 1e6:.2f} M parameters")
    if facts.macs is not None:
        words.append(f"{facts.macs / 1e9:.2f} G MACs")
    if facts.thop_parameters is not None and facts.thop_macs is not None:
        words[-1] += f" (thop: {facts.thop_parameters / 1e6:.2f} M, {facts.thop_macs / 1e9:.2f} G)"
    if facts.stages is not None:
        words.append(f"{facts.stages} stages")
    if facts.channels is not None:
        words.append(f"{facts.channels} channels")
    if facts.stride is not None:
        words.append(f"stride {facts.stride}")
    return ", ".join(words)


def show_diff(runs: Sequence[Run], console: Console, incidental: bool = False) -> None:
    if len(runs) < 2:
        raise PoseError("A difference needs at least two runs.")
    if len({run.protocol for run in runs}) > 1:
        console.print(
            "[yellow]the runs were scored in different ways: their scores do not compare[/]"
        )
    for line in score_differences(runs):
        console.print(escape(line))
    frame = diff(runs, incidental)
    kinds = {
        "settings": frame[~made_by(frame)],
        "results and how they came about": frame[made_by(frame)],
    }
    for title, part in kinds.items():
        if len(part):
            console.print(f"[bold]{title}[/]")
            console.print(_differences(part))
    if not len(frame):
        console.print("no difference")


def _differences(frame: pd.DataFrame) -> Grid:
    grid = Grid(box=None, header_style="bold", pad_edge=False)
    for name in ("", *frame.columns):
        grid.add_column(escape(str(name)), overflow="fold")
    for key, *values in rounded(frame).itertuples():
        grid.add_row(*[escape(str(value)) for value in (key, *values)])
    return grid


def score_differences(runs: Sequence[Run]) -> list[str]:
    """Each run's score minus the first one's, paired by pictures, where both were measured alike."""
    first, *others = runs
    name, *names = names_apart(runs)
    lines = []
    for own, run in zip(names, others, strict=True):
        before, after = (each.evidence(each.own_score) for each in (first, run))
        if before is None or after is None or run.protocol != first.protocol:
            continue
        found = difference([before], [after])
        if found is not None:
            verdict = "noise" if found.noise else "more than noise"
            lines.append(f"{run.metric}: {own} minus {name}: {found}, {verdict}")
    return lines


def write_table(
    runs: Sequence[Run], kind: str, out: Path | None, targets: Sequence[float] = ()
) -> None:
    found, left = tables.tables(runs, targets)
    if not found:
        raise PoseError(f"None of the {len(runs)} runs has a final score yet.")
    text = _FORMATS[kind](found, left)
    if out is None:
        print(text, end="")
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")
    print(out)


def write_curves(runs: Sequence[Run], column: str, out: Path) -> None:
    """A column of metrics.csv over the epochs, a line per run."""
    from featherpose.runs.plots import curve_figure, legend

    with_it = [run for run in runs if column in run.metrics.columns]
    if not with_it:
        raise PoseError(f"None of the {len(runs)} runs has a column {column} in its metrics.csv.")
    out.parent.mkdir(parents=True, exist_ok=True)
    score = column == "val/score"
    figure = curve_figure(
        with_it, column, " / ".join(sorted({run.metric for run in with_it})) if score else None
    )
    means = {round(run.record.baseline.get("mean pose", 0), 2) for run in with_it}
    if score and len(means) == 1 and max(means):
        axes = figure.axes[0]
        axes.axhline(max(means), color="0.5", linestyle=":", label="mean pose")
        legend(axes)
        axes.set_ylabel("")
    figure.savefig(out, dpi=150, bbox_inches="tight")
    print(out)


def write_samples(run: Run, each: int, bare: bool, out: Path) -> None:
    """Annotation beside prediction of the best, some middling and the worst people."""
    from featherpose import image
    from featherpose.runs import samples

    rows = samples.good_middling_and_bad(run, each)
    sheet = samples.sample_sheet(
        run, rows, samples.blank if bare else None, columns=2 * len(rows) // 3, side=180
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    image.write(out, sheet)
    print(out)


def refuse_missing(places: Sequence[Path]) -> None:
    for place in places:
        if not place.is_dir():
            raise PoseError(f"There is no folder {place}.")


def print_command(run: Run) -> None:
    """The line on stdout, to be pasted or piped; what it needs beside on stderr."""
    commit = run.record.git.commit
    for sentence in repeat.warnings_of(run):
        print(f"warning: {sentence}", file=sys.stderr)
    if commit:
        print(f"at commit {commit}, seed {run.record.seed}:", file=sys.stderr)
    print(repeat.repeating(run))


def print_packed(run: Run, out: Path | None) -> None:
    place = repeat.pack(run, out)
    print(f"{place}  {place.stat().st_size / 2**20:.1f} MiB")
    inside = run.folder.resolve().name
    print(f"to open it: unzip {place.name}; {command(f'runs show {inside}')}, report, samples")


def status(sweep: Path, console: Console) -> int:
    """Prints each job of a sweep; gives 0 if all are done, else 1, so that scripts can wait for it."""
    found = jobs(sweep)
    grid = Grid(box=None, header_style="bold", pad_edge=False)
    for name in ("job", "state", "score", "epochs", "overrides"):
        grid.add_column(name, overflow="fold")
    for job in found:
        score = ""
        epochs = ""
        why = ""
        if job.damage is not None:
            why = f"\n{job.damage}"
        elif job.run is not None:
            score = "" if job.run.score is None else f"{job.run.score:.2f}"
            epochs = str(len(job.run.metrics))
            why = f"\n{job.run.record.error}" if job.run.record.error else ""
        own = own_overrides(job, found)
        silent = job.run.silent if job.run and job.damage is None else None
        state = in_colour(job.state, silent)
        grid.add_row(str(job.number), state, score, epochs, escape(own + why))
    console.print(grid)
    console.print(", ".join(f"{number} {state}" for state, number in counts(found).items()))
    again = to_go_on(sweep)
    if again and not any(
        job.state == "running" for job in found
    ):  # else they may be about to start
        console.print("to run what is not done:")
        for line in again:
            console.print(f"  {escape(line)}", soft_wrap=True)
    return 0 if not again and all(job.state in (DONE, *BROKEN_OFF) for job in found) else 1
