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
from featherpose.runs import plots, samples
from featherpose.runs.dataframes import diff, runs_frame
from featherpose.runs.folder import DONE, Run, state_of
from featherpose.runs.table import tables

_MOST_CURVES = 8  # more lines in one plot cannot be told apart

Picture = tuple[str, str]  # what it shows, and its address


@dataclass
class Section:
    """What the page shows of one run."""

    name: str
    facts: dict[str, str]
    plots: list[str]
    pictures: list[Picture] = field(default_factory=list)
    errors: dict[str, pd.DataFrame] = field(default_factory=dict)
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
    return template.render(
        title=title,
        made=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        overview=_overview(runs),
        tables=found,
        left=[f"{run.name} ({run.state})" for run in left],
        curves=_curves(runs[:_MOST_CURVES]),
        most_curves=_MOST_CURVES,
        differences=diff(runs).reset_index(names="key") if len(runs) > 1 else None,
        runs=[_section(run) for run in runs],
    )


def _overview(runs: Sequence[Run]) -> pd.DataFrame:
    table = runs_frame(runs)
    table["parameters"] = [f"{p / 1e6:.2f} M" if pd.notna(p) else "" for p in table["parameters"]]
    table["macs"] = [f"{m / 1e9:.3f} G" if pd.notna(m) else "" for m in table["macs"]]
    table["minutes"] = table.pop("seconds").map(lambda s: f"{s / 60:.1f}" if pd.notna(s) else "")
    table["score"] = [f"{s:.2f}" if pd.notna(s) else "" for s in table["score"]]
    columns = [
        "name",
        "state",
        "score",
        "metric",
        "best epoch",
        "epochs",
        "parameters",
        "macs",
        "minutes",
        "protocol",
    ]
    return table[columns + (["error"] if table["error"].notna().any() else [])]


def _curves(runs: Sequence[Run]) -> list[str]:
    drawn = [plots.curve_figure(runs, name) for name in ("val/score", "train/loss", "val/loss")]
    scored = [run for run in runs if run.scores]
    if scored and len({(run.protocol, run.metric) for run in scored}) == 1:
        drawn += [plots.joint_figure(scored), plots.stage_score_figure(scored)]
    return [plots.svg(figure) for figure in drawn]


def _section(run: Run) -> Section:
    record = run.record
    changed = " with uncommitted changes" if record.git.dirty else ""
    facts = {
        "state": state_of(run) + (f": {record.error}" if record.error else ""),
        "command": str(record.command),
        "commit": f"{record.git.commit}{changed}",
        "protocol": run.protocol,
        "started": f"{record.started} on {record.host}, {record.device}",
        "folder": str(run.folder),
    }
    drawn = [
        plots.stage_figure(run, r"train/loss/stage\d+", "loss by stage"),
        plots.stage_figure(run, r"val/(stage\d+/)?score", "score by stage"),
        plots.stage_figure(run, r"gamma/.*", "gamma by stage"),
        plots.stage_figure(run, r"images_per_s", "images per second"),
    ]
    section = Section(run.name, facts, [plots.svg(figure) for figure in drawn])
    _add_pictures(section, run.folder / "pictures")
    if run.state == DONE and (run.folder / "predictions" / "val.npz").is_file():
        _add_errors(section, run)
    return section


def _add_pictures(section: Section, folder: Path) -> None:
    previews = sorted(folder.glob("preview_*.png"))
    shown = {folder / "predictions.png": "predictions of the best checkpoint"}
    for path in previews[:1] + previews[-1:]:
        shown[path] = f"previews, {path.stem.replace('preview_', 'epoch ')}"
    for path, label in shown.items():
        try:
            if path.is_file():
                section.pictures.append((label, plots.picture_uri(path)))
        except PoseError as error:
            section.missing.append(f"No {label}: {error}")


def _add_errors(section: Section, run: Run) -> None:
    """Tables and pictures of the worst predictions, as far as their files can be read: the data may lie elsewhere."""
    by = {"joint": samples.by_joint, "size": samples.by_size, "occlusion": samples.by_occlusion}
    try:
        for name, errors_of in by.items():
            section.errors[name] = errors_of(run).round(3).reset_index(names=name)
        worst = samples.per_sample(run).index[:8]
        sheet = samples.sample_sheet(run, list(map(int, worst)))
        section.worst.append(("the worst samples", plots.picture_uri(sheet)))
    except PoseError as error:
        section.missing.append(f"No pictures of the worst samples: {error}")
