"""One self-contained HTML page about some runs: tables, curves and pictures inside, no server, no network."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from importlib.resources import files
from pathlib import Path
from string import Template

import pandas as pd

from featherpose.errors import PoseError
from featherpose.runs import plots, samples
from featherpose.runs.dataframes import diff, runs_frame
from featherpose.runs.folder import DONE, Run, state_of
from featherpose.runs.table import Table, tables

_MOST_CURVES = 8  # more lines in one plot cannot be told apart


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
    template = Template((files("featherpose.runs") / "report.html").read_text(encoding="utf-8"))
    found, left = tables(runs)
    parts = [
        _section("Runs", _frame(_overview(runs)), "overview"),
        *[
            _section(f"Scores: {table.title}", _score_table(table), f"scores-{i}")
            for i, table in enumerate(found)
        ],
        _warning(found, left),
        _section("Curves", _comparisons(runs), "curves"),
        _section("What differs", _frame(diff(runs).reset_index(names="key")))
        if len(runs) > 1
        else "",
        *[_section(run.name, _one(run), f"run-{i}") for i, run in enumerate(runs)],
    ]
    made = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    return template.substitute(
        title=html.escape(title), made=made, count=len(runs), body="\n".join(filter(None, parts))
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


def _comparisons(runs: Sequence[Run]) -> str:
    shown = list(runs)[:_MOST_CURVES]
    note = (
        "" if len(runs) <= _MOST_CURVES else f"<p>The first {_MOST_CURVES} of {len(runs)} runs.</p>"
    )
    drawn = [plots.curve_figure(shown, name) for name in ("val/score", "train/loss", "val/loss")]
    scored = [run for run in shown if run.scores]
    if scored and len({(run.protocol, run.metric) for run in scored}) == 1:
        drawn += [plots.joint_figure(scored), plots.stage_score_figure(scored)]
    return note + _grid(plots.svg(figure) for figure in drawn)


def _one(run: Run) -> str:
    record, parts = run.record, []
    changed = " with uncommitted changes" if record.git.dirty else ""
    facts = {
        "state": state_of(run) + (f": {record.error}" if record.error else ""),
        "command": record.command,
        "commit": f"{record.git.commit}{changed}",
        "protocol": run.protocol,
        "started": f"{record.started} on {record.host}, {record.device}",
        "folder": str(run.folder),
    }
    parts.append(
        "<dl>"
        + "".join(f"<dt>{k}</dt><dd>{html.escape(str(v))}</dd>" for k, v in facts.items())
        + "</dl>"
    )
    drawn = [
        plots.stage_figure(run, r"train/loss/stage\d+", "loss by stage"),
        plots.stage_figure(run, r"val/(stage\d+/)?score", "score by stage"),
        plots.stage_figure(run, r"gamma/.*", "gamma by stage"),
        plots.stage_figure(run, r"images_per_s", "images per second"),
    ]
    parts.append(_grid(plots.svg(figure) for figure in drawn))
    parts.append(_pictures(run))
    return "\n".join(parts)


def _pictures(run: Run) -> str:
    folder = run.folder / "pictures"
    previews = sorted(folder.glob("preview_*.png"))
    shown = [("predictions of the best checkpoint", folder / "predictions.png")]
    shown += [
        (f"previews, {path.stem.replace('preview_', 'epoch ')}", path)
        for path in previews[:1] + previews[-1:]
    ]
    blocks = [_file(label, path) for label, path in dict.fromkeys(shown) if path.is_file()]
    if run.state == DONE and (run.folder / "predictions" / "val.npz").is_file():
        blocks += _errors(run)
    return "\n".join(blocks)


def _errors(run: Run) -> list[str]:
    """Tables and pictures of the worst predictions, as far as their files can be read: the data may lie elsewhere."""
    blocks: list[str] = []
    try:
        small = {
            "joint": samples.by_joint(run),
            "size": samples.by_size(run),
            "occlusion": samples.by_occlusion(run),
        }
        blocks += [
            f"<details><summary>errors by {name}</summary>{_frame(table.round(3).reset_index(names=name))}</details>"
            for name, table in small.items()
        ]
        worst = samples.per_sample(run).index[:8]
        sheet = samples.sample_sheet(run, list(map(int, worst)))
    except PoseError as error:
        return [*blocks, _sentence(f"No pictures of the worst samples: {error}")]
    return [*blocks, _picture("the worst samples", plots.picture_uri(sheet))]


def _file(label: str, path: Path) -> str:
    try:
        return _picture(label, plots.picture_uri(path))
    except PoseError as error:
        return _sentence(f"No {label}: {error}")


def _sentence(text: str) -> str:
    return f"<p class='warning'>{html.escape(text)}</p>"


def _picture(label: str, address: str) -> str:
    text = html.escape(label)
    return f"<figure><img alt='{text}' src='{address}'><figcaption>{text}</figcaption></figure>"


def _score_table(table: Table) -> str:
    head, rows = table.cells()
    body = "".join(
        f"<tr{_published(row)}>"
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in row)
        + "</tr>"
        for row in rows
    )
    cells = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    return f"<div class='wide'><table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table></div>"


def _published(row: Sequence[str]) -> str:
    return " class='published'" if row[1].startswith("published: ") else ""


def _warning(found: Sequence[Table], left: Sequence[Run]) -> str:
    lines = []
    if len(found) > 1:
        lines.append(
            "The runs were scored in different ways: scores of different tables do not compare."
        )
    if left:
        lines.append(
            "Without a final score: " + ", ".join(f"{run.name} ({run.state})" for run in left) + "."
        )
    return "".join(map(_sentence, lines))


def _section(title: str, body: str, anchor: str = "") -> str:
    return f"<section id='{anchor}'><h2>{html.escape(title)}</h2>{body}</section>"


def _grid(items: Iterable[str]) -> str:
    return "<div class='grid'>" + "".join(f"<div>{item}</div>" for item in items) + "</div>"


def _frame(table: pd.DataFrame) -> str:
    shown = table.to_html(index=False, border=0, na_rep="", escape=True, justify="left")
    return f"<div class='wide'>{shown}</div>"
