"""Speed, memory and size of whole families of networks, as in LAPX's Table 2 and Figure 3, on this machine."""

from __future__ import annotations

import csv
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, TimeElapsedColumn
from rich.table import Table

from featherpose.benchmarks.latency_files import Entry, entries_of, entry_of_file, entry_of_run
from featherpose.benchmarks.latency_scores import Effort, ScoredRun, effort, scored_runs, ways
from featherpose.benchmarks.measured import Measured
from featherpose.benchmarks.stopwatch import (
    BUSY,
    Measurement,
    Timing,
    in_words,
    measure,
    memory,
    thread_counts,
)
from featherpose.errors import PoseError, UsageError
from featherpose.machine import cores, processor
from featherpose.runs.published import rows as published_rows
from featherpose.runs.score_plot import draw_scores
from featherpose.runs.speed_plot import draw

YARDSTICK = "lapx"
NEAR = 1.25  # how far two ratios may lie apart and count as the same


@dataclass
class NetworkRow:
    """One network, measured."""

    entry: Entry
    timings: dict[int, Timing]
    megabytes: float | None = None
    megabytes_small: float | None = None
    published: Mapping[str, float] = field(default_factory=dict)
    scored: ScoredRun | None = None

    @property
    def name(self) -> str:
        return self.entry.candidate.name

    @cached_property
    def effort(self) -> Effort | None:
        """What the training of its first run took."""
        return effort(self.scored.run) if self.scored else None

    def reached(self, measurement: Measurement) -> float | None:
        """Share of the machine's peak."""
        timing = self.timings[measurement.threads]
        return (
            None
            if self.entry.macs is None
            else 2 * self.entry.macs / (timing.median / 1000) / measurement.peak
        )


def run(
    networks: Sequence[str],
    rewritten: Sequence[str] = (YARDSTICK,),
    extra: str | Sequence[str] | None = None,
    runs: str | Sequence[str] | None = None,
    input_size: Sequence[int] = (256, 192),
    sizes: Mapping[str, Sequence[int]] | None = None,
    threads: Sequence[int] = (1, 0),
    rounds: int = 5,
    repeats: int = 5,
    warmup: int = 2,
    memory: bool = True,
    cache: str = ".cache/latency",
    out: str = "runs/latency",
    **_: Any,
) -> list[Measured]:
    """Export what is not exported yet, measure everything interleaved, and write table, CSV and figure into `out`."""
    console = Console(stderr=True)
    counts = thread_counts(threads)
    size = (int(input_size[0]), int(input_size[1]))
    trained, left = scored_runs(runs) if runs else ([], [])
    if left:
        console.print(f"left out, without a final score: {', '.join(run.name for run in left)}")
    if not (networks or extra or trained):
        raise UsageError("There is nothing to measure: name finished runs with runs=FOLDER.")
    own = {name: (int(pair[0]), int(pair[1])) for name, pair in (sizes or {}).items()}
    files = [Path(path) for path in ([extra] if isinstance(extra, str) else extra or [])]
    with Progress(
        *Progress.get_default_columns(), TimeElapsedColumn(), console=console
    ) as progress:
        entries: list[Entry] = []
        for name in progress.track(networks, description="Exporting"):
            kinds = [False, True] if name in rewritten else [False]
            entries += entries_of(name, own.get(name, size), kinds, Path(cache))
        entries += [entry_of_file(path, size) for path in files]
        for each in progress.track(trained, description="Exporting runs"):
            entries.append(entry_of_run(each, Path(cache)))
        check_names(entries)
        candidates = [entry.candidate for entry in entries]
        measurements = []
        for count in counts:
            title = f"Timing, {in_words(count)}"
            task = progress.add_task(title, total=rounds * len(candidates))
            step = lambda task=task: progress.advance(task)  # noqa: E731
            measurements.append(measure(candidates, count, rounds, repeats, warmup, step))
        rows = rows_of(entries, measurements, trained)
        if memory:
            measure_memory(rows, progress)
    scores = ", scores.png" if write(rows, measurements, Path(out)) else ""
    show(rows, measurements)
    Console().print(f"Written to {out}: latency.md, latency.csv, latency.png{scores}")
    return [each for m in measurements for each in in_rounds(rows, m)]


def in_rounds(rows: Sequence[NetworkRow], measurement: Measurement) -> list[Measured]:
    """Every network's passes, beside those of LAPX where it was measured."""
    threads = measurement.threads
    base = next((row for row in rows if row.name == YARDSTICK), None)
    end = in_words(threads)
    return [
        Measured(
            f"{row.name}, {row.entry.candidate.height}x{row.entry.candidate.width}, {end}",
            "ms",
            row.timings[threads].single,
            "" if base in (row, None) else YARDSTICK,
            base.timings[threads].single if base else (),
            facts={"parameters": row.entry.parameters, "macs": row.entry.macs},
        )
        for row in rows
    ]


def check_names(entries: Sequence[Entry]) -> None:
    names = [entry.candidate.name for entry in entries]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise PoseError(
            f"Two rows are called {twice[0]}: rename the file, or name the network once."
        )


def rows_of(
    entries: Sequence[Entry],
    measurements: Sequence[Measurement],
    trained: Sequence[ScoredRun] = (),
) -> list[NetworkRow]:
    published = published_speeds()
    scored = {run.name: run for run in trained}
    return [
        NetworkRow(
            entry,
            {m.threads: m.timings[entry.candidate.name] for m in measurements},
            published=published.get(entry.key, {}),
            scored=scored.get(entry.candidate.name),
        )
        for entry in entries
    ]


def published_speeds() -> dict[str, dict[str, float]]:
    """LAPX, Table 2: frames per second on an Apple M2's CPU with the flip test, and the session's memory in MB."""
    found = {}
    for row in published_rows():
        if row.paper == "LAPX" and row.table == "2" and "model" in row.extra:
            facts = {"fps": row.extra["fps"].get("m2"), "megabytes": row.extra.get("ram_mb")}
            found[row.extra["model"]] = {
                name: value for name, value in facts.items() if value is not None
            }
    return found


def measure_memory(rows: Sequence[NetworkRow], progress: Progress) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        for row in progress.track(rows, description="Memory"):
            row.megabytes, row.megabytes_small = (
                memory(row.entry.candidate, Path(scratch), small=small) / 1e6
                for small in (False, True)
            )


def ratio(rows: Sequence[NetworkRow], row: NetworkRow, threads: int) -> float | None:
    """How many times as fast as LAPX, plain export against plain export."""
    yardstick = next((r for r in rows if r.name == YARDSTICK), None)
    return row.timings[threads].fps / yardstick.timings[threads].fps if yardstick else None


def published_ratio(rows: Sequence[NetworkRow], row: NetworkRow) -> float | None:
    base = next((r.published.get("fps") for r in rows if r.name == YARDSTICK), None)
    return row.published["fps"] / base if base and "fps" in row.published else None


def number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def scores_of(rows: Sequence[NetworkRow]) -> dict[str, str]:
    """The columns of scores, `AP [1]`, and how each was measured."""
    how = ways([row.scored for row in rows if row.scored is not None])
    return {f"{each.partition(' on ')[0]} [{n}]": each for n, each in enumerate(how, 1)}


def headings(rows: Sequence[NetworkRow], measurements: Sequence[Measurement]) -> list[str]:
    scores = scores_of(rows)
    titles = ["network", "input", *scores, *(("people seen", "hours") if scores else ())]
    titles += ["params", "GMACs"]
    for m in measurements:
        threads = in_words(m.threads)
        titles += [f"ms, {threads}", "p95", "FPS", "FPS, flip", "x LAPX", "of peak"]
    return [*titles, "paper x LAPX", "MB", "MB, small", "paper MB"]


def cells(
    rows: Sequence[NetworkRow], row: NetworkRow, measurements: Sequence[Measurement]
) -> list[str]:
    entry = row.entry
    texts = [
        row.name,
        f"{entry.candidate.height}x{entry.candidate.width}",
        *("" if row.scored is None else row.scored.text(how) for how in scores_of(rows).values()),
    ]
    if scores_of(rows):
        took = row.effort
        texts += [f"{took.people:,}", f"{took.hours:.2f}"] if took else ["", ""]
    texts.append(f"{entry.parameters / 1e6:.2f}M")
    texts.append("" if entry.macs is None else f"{entry.macs / 1e9:.2f}")
    for m in measurements:
        timing = row.timings[m.threads]
        texts += [
            f"{timing.median:.1f}",
            f"{timing.p95:.1f}",
            f"{timing.fps:.1f}",
            f"{timing.fps_flipped:.1f}",
        ]
        texts += [number(ratio(rows, row, m.threads), ".2f"), number(row.reached(m), ".0%")]
    texts += [number(published_ratio(rows, row), ".2f"), number(row.megabytes, ".0f")]
    return [
        *texts,
        number(row.megabytes_small, ".0f"),
        number(row.published.get("megabytes"), ".1f"),
    ]


TERMINAL = ("ms", "FPS", "FPS, flip", "x LAPX", "paper x LAPX", "MB")
SCORED = ("params", "GMACs", "FPS", "MB")  # beside scores, as in Table 2


def show(rows: Sequence[NetworkRow], measurements: Sequence[Measurement]) -> None:
    """The columns that a terminal has room for, a block for each number of threads; the rest is in the files."""
    console = Console()
    for m in measurements:
        threads = in_words(m.threads)
        titles, scores = headings(rows, [m]), list(scores_of(rows))
        shown = ["network", *scores, *(SCORED if scores else TERMINAL)]
        chosen = [titles.index(f"ms, {threads}" if title == "ms" else title) for title in shown]
        view = Table(title=f"ONNX Runtime on the CPU, {threads}, batch 1", box=SIMPLE_HEAD)
        for title in shown:
            first = title == "network"
            view.add_column(
                escape(title),
                justify="left" if first else "right",
                no_wrap=not first,
                overflow="fold",
                min_width=min(12, max(len(row.name) for row in rows)) if first else None,
            )
        for row in rows:
            texts = cells(rows, row, [m])
            view.add_row(*(escape(texts[column]) for column in chosen))
        console.print(view)
    console.print("\n".join(notes(rows, measurements)), style="dim", highlight=False, markup=False)


def notes(rows: Sequence[NetworkRow], measurements: Sequence[Measurement]) -> list[str]:
    """What was measured, and which of the paper's comparisons hold here."""
    import onnxruntime

    lines = [
        f"ONNX Runtime {onnxruntime.__version__}, {processor()}, {cores()} cores. Forward pass only, batch 1, float32. "
        "FPS, flip: image and mirror image as one batch.",
        "One thread: CPU time of the process, which is wall time on a quiet machine. More: wall time.",
    ]
    for m in measurements:
        kept = "on as many cores" if m.pinned else "not pinned: this system cannot"
        line = f"{in_words(m.threads)}, {kept}: peak {m.peak / 1e9:.0f} GFLOP/s (a product)."
        if m.threads == 1 and m.busy > BUSY:
            line += f" The machine was busy (wall time {m.busy:.1f} times CPU time): "
            line += "times of more threads are too high."
        lines.append(line)
    for column, how in scores_of(rows).items():
        lines.append(
            f"{column}: {how}. [low, high] is its 95% interval, ± its deviation over seeds."
        )
    if any(row.effort for row in rows):
        lines.append("people seen, hours: in training, of one run; without validation.")
    for row in rows:
        claimed = published_ratio(rows, row)
        if claimed is None or row.entry.candidate.name == YARDSTICK or row.entry.key == YARDSTICK:
            continue
        here = [(m.threads, ratio(rows, row, m.threads) or 0.0) for m in measurements]
        texts = " and ".join(f"{value:.2f} at {in_words(n)}" for n, value in here)
        held = sum(1 / NEAR <= value / claimed <= NEAR for _, value in here)
        verdict = "holds here" if held == len(here) else "holds here in part"
        if held == 0:
            verdict = "does not hold here"
        lines.append(
            f"The paper has {row.name} at {claimed:.2f} times LAPX's frames; here {texts}: {verdict}."
        )
    return lines


def write(rows: Sequence[NetworkRow], measurements: Sequence[Measurement], out: Path) -> bool:
    """All files; whether there was a picture of scores to draw."""
    out.mkdir(parents=True, exist_ok=True)
    titles = headings(rows, measurements)
    lines = ["| " + " | ".join(titles) + " |", "|---" + "|---:" * (len(titles) - 1) + "|"]
    lines += ["| " + " | ".join(cells(rows, row, measurements)) + " |" for row in rows]
    lines += ["", *(f"- {note}" for note in notes(rows, measurements))]
    (out / "latency.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    records = [record(rows, row, measurements) for row in rows]
    with (out / "latency.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(records[0]))
        writer.writeheader()
        writer.writerows(records)
    draw(records, [m.threads for m in measurements], out / "latency.png")
    return draw_best(rows, measurements[0], out / "scores.png")


def draw_best(rows: Sequence[NetworkRow], measurement: Measurement, path: Path) -> bool:
    """Scores against milliseconds, by the way of measuring that most networks have."""
    threads = measurement.threads
    scored = [(row.scored, row.timings[threads].median) for row in rows if row.scored]
    often = Counter(how for network, _ in scored for how in network.groups)
    how = max(often, key=lambda each: often[each], default="")
    found = [network.point(how, ms) for network, ms in scored if how in network.groups]
    return draw_scores(found, how, in_words(threads), path)


def record(
    rows: Sequence[NetworkRow], row: NetworkRow, measurements: Sequence[Measurement]
) -> dict[str, Any]:
    """Everything in plain numbers; `fps_1` and `fps_all` are what Figure 3 is drawn from."""
    entry = row.entry
    facts: dict[str, Any] = {
        "name": row.name,
        "height": entry.candidate.height,
        "width": entry.candidate.width,
    }
    for n, how in enumerate(scores_of(rows).values(), start=1):
        value = None if row.scored is None else row.scored.value(how)
        facts |= {f"score_{n}": value, f"measured_{n}": how}
    if scores_of(rows):
        took = row.effort
        facts |= {"people_seen": took and took.people, "hours": took and took.hours}
    facts |= {"parameters": entry.parameters, "macs": entry.macs}
    for m in measurements:
        timing, end = (
            row.timings[m.threads],
            "all" if m.threads == cores() and m.threads > 1 else m.threads,
        )
        facts |= {f"ms_{end}": timing.median, f"p95_{end}": timing.p95, f"fps_{end}": timing.fps}
        facts |= {
            f"fps_flip_{end}": timing.fps_flipped,
            f"ratio_{end}": ratio(rows, row, m.threads),
        }
        facts |= {
            f"of_peak_{end}": row.reached(m),
            f"peak_gflops_{end}": m.peak / 1e9,
            f"threads_{end}": m.threads,
        }
        facts |= {f"wall_ms_{end}": sorted(timing.wall)[len(timing.wall) // 2]}
    facts |= {"paper_ratio": published_ratio(rows, row), "megabytes": row.megabytes}
    return facts | {
        "megabytes_small": row.megabytes_small,
        "paper_megabytes": row.published.get("megabytes"),
    }
