"""One self-contained HTML page about some runs: tables, curves and pictures inside, no server, no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib.resources import files
from pathlib import Path

import pandas as pd
from jinja2 import Environment

from featherpose.errors import PoseError
from featherpose.runs import charts, pareto, plots, samples, wrong
from featherpose.runs.charts import Chart
from featherpose.runs.dataframes import (
    diff,
    made_by,
    names_apart,
    output_scores,
    rounded,
    runs_frame,
)
from featherpose.runs.folder import DONE, Run, state_of
from featherpose.runs.grid import grid
from featherpose.runs.repeat import repeating
from featherpose.runs.score import PREDICTIONS
from featherpose.runs.table import names_by_signature, signature, tables

# Of one page's pictures together, and of one of them at least: a mail takes the page of five runs
_PICTURES, _LEAST = 600_000, 12_000
_OPEN = 10  # sections of runs are folded where there are more

Picture = tuple[str, str]  # what it shows, and its address
Named = dict[str, Run]  # as the page calls them, all different


@dataclass
class Section:
    """What the page shows of one run."""

    name: str
    facts: dict[str, str]
    plots: list[Chart]
    pictures: list[Picture] = field(default_factory=list)
    errors: dict[str, pd.DataFrame] = field(default_factory=dict)
    wrong: list[Picture] = field(default_factory=list)
    worst: list[Picture] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)  # what is not shown, and why


def write_report(runs: Sequence[Run], path: str | Path, title: str = "Runs") -> Path:
    """Writes the page and gives its path."""
    if not runs:
        raise PoseError("There are no runs to report on.")
    place = Path(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(page(runs, title), encoding="utf-8")
    return place


def page(runs: Sequence[Run], title: str = "Runs") -> str:
    """The page as text."""
    text = (files("featherpose.runs") / "report.html").read_text(encoding="utf-8")
    template = Environment(autoescape=True, trim_blocks=True).from_string(text)
    found, left = tables(runs)
    named = dict(zip(names_apart(runs), runs, strict=True))
    frame_of = (charts.LEFT, charts.RIGHT, charts.WIDTH)
    return template.render(
        title=title,
        made=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        overview=_overview(named),
        tables=found,
        left=[f"{name} ({run.state})" for name, run in named.items() if run in left],
        curves=_curves(named),
        joints=_joints(named),
        sweep=grid(found),
        speeds={table.title: drawn for table in found if (drawn := pareto.svg(table))},
        differences=_settings(runs) if len(runs) > 1 else None,
        runs=[
            _section(name, run, max(_LEAST, _PICTURES // (5 * len(runs))))
            for name, run in named.items()
        ],
        folded=len(runs) > _OPEN,
        svg=charts.svg,
        frame_of=frame_of,
    )


def _overview(runs: Named) -> pd.DataFrame:
    table = runs_frame(list(runs.values())).assign(name=list(runs))
    table["parameters"] = [f"{p / 1e6:.2f} M" if pd.notna(p) else "" for p in table["parameters"]]
    table["macs"] = [f"{m / 1e9:.3f} G" if pd.notna(m) else "" for m in table["macs"]]
    table["minutes"] = table.pop("seconds").map(lambda s: f"{s / 60:.1f}" if pd.notna(s) else "")
    table["best epoch"] = [f"{e:.0f}" if pd.notna(e) else "" for e in table["best epoch"]]
    for name in ("metric", "protocol"):  # of a score
        table[name] = table[name].where(table["score"].notna(), "")
    table["score"] = [f"{s:.2f}" if pd.notna(s) else "" for s in table["score"]]
    columns = ["name", "score", "metric", "state", "best epoch", "epochs", "parameters", "macs"]
    columns += ["minutes"]
    if len({*table["protocol"]} - {""}) > 1:  # else the head of the scores says it
        columns += ["protocol"]
    if table["error"].notna().any():
        columns += ["error"]
    return table[columns].fillna("")


def _curves(runs: Named) -> list[Chart]:
    drawn = [
        charts.by_run(list(runs.values()), name) for name in ("val/score", "train/loss", "val/loss")
    ]
    scored, of = _comparable(runs)
    if all(len(output_scores(run)) < 2 for run in scored.values()):  # a curve of one point
        return drawn
    return [*drawn, charts.by_stage(scored, f"score after each output{of}")]


def _joints(runs: Named) -> str:
    scored, of = _comparable(runs)
    if not scored:
        return ""
    return plots.svg(plots.joint_figure(list(scored.values()), f"score by joint{of}", list(scored)))


def _comparable(runs: Named) -> tuple[Named, str]:
    """The runs with scores, where they were all scored alike, else none; of more than can be told apart the best ones.

    And how a title says so.
    """
    scored = {name: run for name, run in runs.items() if run.scores}
    if len({(run.protocol, run.metric) for run in scored.values()}) != 1:
        return {}, ""
    best = sorted(scored, key=lambda name: -(scored[name].score or 0))[: len(plots.COLOURS)]
    if len(best) == len(scored):
        return scored, ""
    return {name: scored[name] for name in best}, f": the best {len(best)} of {len(scored)} runs"


def _settings(runs: Sequence[Run]) -> pd.DataFrame:
    """In which settings the runs differ, one column for all seeds of the same."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(signature(run), []).append(run)
    seeds = [f" ({len(same)} seeds)" if len(same) > 1 else "" for same in groups.values()]
    table = diff([same[0] for same in groups.values()])
    table = rounded(table[~made_by(table)].drop(index="seed", errors="ignore"))
    names = names_by_signature(runs)
    table.columns = [names[key] + more for key, more in zip(groups, seeds, strict=True)]
    return table.reset_index(names="setting")


def _section(name: str, run: Run, most: int) -> Section:
    """`most`: characters of one picture."""
    record = run.record
    changed = " with uncommitted changes" if record.git.dirty else ""
    facts = {
        "state": state_of(run) + (f": {record.error}" if record.error else ""),
        "command": repeating(run),
        "commit": f"{record.git.commit}{changed}",
        "protocol": run.protocol,
        "started": f"{record.started} on {record.host}, {record.device}",
        "folder": str(run.folder),
    }
    drawn = [
        charts.by_part(run, r"train/loss/stage\d+", "loss by output"),
        charts.by_part(run, r"val/(stage\d+/)?score", "score by output"),
        charts.by_part(run, r"gamma/.*", "gamma by stage"),
        charts.by_part(run, r"images_per_s", "images per second"),
    ]
    section = Section(name, facts, drawn)
    _add_pictures(section, run.folder / "pictures", most)
    if run.state == DONE:
        _add_parts(section, run, most)
    if run.state == DONE and (run.folder / PREDICTIONS).is_file():
        _add_errors(section, run, most)
    return section


def _add_pictures(section: Section, folder: Path, most: int) -> None:
    previews = sorted(folder.glob("preview_*"))
    shown = {folder / "predictions.png": "predictions of the best checkpoint"}
    for path in previews[:1] + previews[-1:]:
        shown[path] = f"previews, {path.stem.replace('preview_', 'epoch ')}"
    for path, label in shown.items():
        try:
            if path.is_file():
                section.pictures.append((label, plots.picture_uri(path, most)))
        except PoseError as error:
            section.missing.append(f"No {label}: {error}")


def _add_parts(section: Section, run: Run, most: int) -> None:
    """What goes wrong: a table of each score that was taken apart, and the picture of the fullest one."""
    found: dict[str, tuple[str, pd.DataFrame]] = {}
    for score in run.all_scores:
        path = run.folder / (score.errors or "")
        try:
            if path.is_file():
                found[score.words] = score.metric, wrong.read(path)
        except PoseError as error:
            section.missing.append(f"No table of errors: {error}")
    for words, (metric, table) in found.items():
        section.errors[f"part, {metric} on {words}"] = table.round(1)
    if found:
        words, (metric, table) = max(found.items(), key=lambda each: len(each[1][1]))
        drawn = plots.pixels(wrong.figure(table, metric))
        section.wrong.append((f"what goes wrong on {words}", plots.picture_uri(drawn, most)))


def _add_errors(section: Section, run: Run, most: int) -> None:
    """Tables and pictures of the worst predictions, as far as their files can be read: the data may lie elsewhere."""
    by = {"joint": samples.by_joint, "size": samples.by_size, "occlusion": samples.by_occlusion}
    try:
        for name, errors_of in by.items():
            section.errors[name] = errors_of(run).round(3).reset_index(names=name)
        worst = samples.per_sample(run).index[:8]
        sheet = samples.sample_sheet(run, list(map(int, worst)))
        section.worst.append(("the worst samples", plots.picture_uri(sheet, most)))
    except PoseError as error:
        section.missing.append(f"No pictures of the worst samples: {error}")
