"""A W&B workspace that is laid out: question, scores over seeds, main curve, stages, gammas, joints, pictures, machine.

`layout` says what the page shows, from run folders; `built` makes W&B's own object of it, and `save` puts it there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from featherpose.errors import PoseError
from featherpose.files import write_atomically
from featherpose.runs.dataframes import diff, made_by
from featherpose.runs.flat import flat
from featherpose.runs.folder import Run
from featherpose.runs.table import signature

TEXT, CURVE, BARS, PICTURES, TABLE = "text", "curve", "bars", "pictures", "table"
MISSING = "wandb-workspaces is not installed: pip install 'featherpose[workspace]'"
STEP = "trainer/global_step"
_ADVICE = (
    "Each line is the mean of the seeds, its band their least and most. Scores of different protocols do not compare: "
    "{protocol}. `runs table` puts the papers' rows and the intervals beside these numbers."
)
# Of each run beside its name, as W&B addresses them: a config's nested names lie below `value`
_COLUMNS = (
    *("summary:best.score", "summary:val/score.max", "summary:protocol"),
    *("config:run.value.network.parameters", "config:run.value.network.thop_macs"),
    *("config:seed.value", "config:run.value.git.commit"),
)


@dataclass(frozen=True)
class Panel:
    """One panel: what it shows (`keys` of a history or a summary, all that `pattern` fits, or `text`)."""

    kind: str
    title: str = ""
    keys: tuple[str, ...] = ()
    pattern: str | None = None
    text: str = ""
    against: str = "epoch"


@dataclass(frozen=True)
class Section:
    title: str
    panels: tuple[Panel, ...]


SCORES = Section(
    "Scores over seeds",
    (
        Panel(BARS, "best checkpoint", ("best.score",)),
        Panel(BARS, "best epoch, also of runs that go on", ("val/score.max",)),
    ),
)
MAIN = Section(
    "Main curve",
    (
        Panel(CURVE, "score", ("val/score",)),
        Panel(CURVE, "loss", ("train/loss", "val/loss")),
        Panel(CURVE, "loss by step", ("train/step/loss",), against=STEP),
    ),
)
STAGES = Section(
    "Do later stages help?",
    (
        Panel(CURVE, "score of each stage", pattern=r"val/(stage\d+/)?score"),
        Panel(CURVE, "loss of each stage", pattern=r"train/loss/stage\d+"),
    ),
)
GAMMAS = Section("Gammas", (Panel(CURVE, "gamma: frozen, ramp, free", pattern="gamma/.*"),))
PREVIEWS = Section(
    "Previews",
    (
        Panel(PICTURES, "the same samples", ("preview",)),
        Panel(PICTURES, "the worst of the epoch", ("worst",)),
        Panel(TABLE, "samples", ("samples",)),
    ),
)
MACHINE = (
    Panel(CURVE, "pictures a second, by step", ("train/step/images_per_s",), against=STEP),
    Panel(CURVE, "pictures a second", ("images_per_s",)),
    Panel(CURVE, "share of the time that waits for data", ("data_wait",)),
)


@dataclass(frozen=True)
class Layout:
    """A page: whose runs it shows, how they are grouped, and its sections from top to bottom."""

    name: str
    project: str
    entity: str | None
    protocol: str | None  # the runs that it shows have this one,
    group: str | None  # and are of this sweep
    varied: tuple[str, ...]  # settings that runs are grouped by, over their seeds
    columns: tuple[str, ...]
    sections: tuple[Section, ...]

    @property
    def panels(self) -> list[Panel]:
        return [panel for section in self.sections for panel in section.panels]


def layout(
    runs: Sequence[Run],
    question: str | None = None,
    name: str | None = None,
    project: str | None = None,
    entity: str | None = None,
) -> Layout:
    """The page for some runs; what is not given is read from them."""
    if not runs:
        raise PoseError("There are no runs to lay a page out for: train one, or name a folder.")
    varied = told_apart_by(runs)
    group = _same(run.record.group for run in runs)
    protocol = _same(run.record.protocol.get("name") for run in runs)
    settings = " and ".join(f"`{key}`" for key in varied)
    asked = question or (f"What does {settings} change?" if settings else "What is learned here?")
    return Layout(
        name=name or group or (varied[0] if varied else runs[-1].name),
        project=project
        or _same(run.select("logger.wandb.project") for run in runs)
        or "featherpose",
        entity=entity or _same(run.select("logger.wandb.entity") for run in runs),
        protocol=protocol,
        group=group,
        varied=varied,
        columns=(*_COLUMNS, *(_column(key) for key in varied)),
        sections=_sections(runs, asked, protocol),
    )


def told_apart_by(runs: Sequence[Run]) -> tuple[str, ...]:
    """As few settings as tell the runs apart, seeds aside: what was typed, then what has the most values."""
    groups = {signature(run): run for run in runs}
    table = diff(list(groups.values()))
    keys = table[~made_by(table)].drop(index="seed", errors="ignore").index
    configs = [flat(run.config) for run in groups.values()]
    values = {key: [str(config.get(key)) for config in configs] for key in keys}
    chosen: list[str] = []
    told = 1
    typed = {word.lstrip("+~").partition("=")[0] for run in runs for word in run.overrides}
    for key in sorted(keys, key=lambda key: (key not in typed, -len(set(values[key])))):
        apart = len(set(zip(*(values[each] for each in (*chosen, key)), strict=True)))
        if apart > told:
            chosen, told = [*chosen, key], apart
    return tuple(chosen)


def _sections(runs: Sequence[Run], question: str, protocol: str | None) -> tuple[Section, ...]:
    """What these runs have nothing for is left out: a network of one stage, without Non-Local modules."""
    logged = {str(name) for run in runs for name in run.metrics}
    joints = dict.fromkeys(f"final/val/{n}" for run in runs for n in run.scores if "joint/" in n)
    shown = f"this page shows `{protocol}` only" if protocol else "filter by the column `protocol`"
    text = f"# {question}\n\n{_ADVICE.format(protocol=shown)}"
    sections = [Section("Question", (Panel(TEXT, text=text),)), SCORES, MAIN]
    if any(re.fullmatch(r"val/stage\d+/score", name) for name in logged):
        sections.append(STAGES)
    if any(name.startswith("gamma/") for name in logged):
        sections.append(GAMMAS)
    if joints:
        bars = Panel(BARS, "score by joint, best checkpoint", tuple(joints))
        sections.append(Section("Joints", (bars,)))
    memory = (Panel(CURVE, "GPU memory, GiB", ("gpu_memory",)),) if "gpu_memory" in logged else ()
    return (*sections, PREVIEWS, Section("Machine", (*MACHINE, *memory)))


def write(page: Layout, path: Path) -> None:
    """The description as JSON, for whoever lays the page out by hand or by a program of his own."""
    write_atomically(path, json.dumps(asdict(page), indent=2) + "\n")


def installed() -> bool:
    return find_spec("wandb_workspaces") is not None


def built(page: Layout, entity: str) -> Any:
    """W&B's own object, not yet saved: a `wandb_workspaces.workspaces.Workspace`."""
    try:
        import wandb_workspaces.reports.v2 as panels
        import wandb_workspaces.workspaces as workspaces
        from wandb_workspaces import expr
    except ImportError as error:
        raise PoseError(f"{MISSING}.") from error
    wanted = []
    if page.protocol:
        wanted.append(expr.Summary("protocol") == page.protocol)
    if page.group:
        wanted.append(expr.Metric("Group") == page.group)
    runs = workspaces.RunsetSettings(
        filters=wanted,
        groupby=[expr.Config(key) for key in page.varied],
        order=[expr.Ordering(expr.Summary("val/score.max"), ascending=False)],
        pinned_columns=list(page.columns),
    )
    sections = [
        workspaces.Section(
            name=f"{number} {section.title}",
            panels=[_built(panel, panels) for panel in section.panels],
            is_open=True,
            layout_settings=workspaces.SectionLayoutSettings(columns=len(section.panels), rows=1),
        )
        for number, section in enumerate(page.sections, start=1)
    ]
    return workspaces.Workspace(
        entity=entity,
        project=page.project,
        name=page.name,
        sections=sections,
        runset_settings=runs,
    )


def _built(panel: Panel, panels: Any) -> Any:
    if panel.kind == TEXT:
        return panels.MarkdownPanel(markdown=panel.text)
    if panel.kind == CURVE:
        return panels.LinePlot(
            title=panel.title,
            x=panel.against,
            y=list(panel.keys),
            metric_regex=panel.pattern,
            groupby_aggfunc="mean",
            groupby_rangefunc="minmax",
        )
    if panel.kind == BARS:
        return panels.BarPlot(
            title=panel.title,
            metrics=list(panel.keys),
            groupby_aggfunc="mean",
            groupby_rangefunc="stddev",
        )
    if panel.kind == PICTURES:
        return panels.MediaBrowser(
            title=panel.title, media_keys=list(panel.keys), num_columns=1, gallery_axis="step"
        )
    return panels.WeavePanelSummaryTable(table_name=panel.keys[0])


def save(page: Layout) -> str:
    """Makes the page on W&B's server, in the user's own team where the layout names none; gives its address."""
    import wandb

    try:
        entity = page.entity or wandb.Api().default_entity
        return built(page, str(entity)).save().url
    except PoseError:
        raise
    except Exception as error:  # no network, a bad key, no permission
        raise PoseError(f"W&B did not take the page ({type(error).__name__}: {error}).") from error


def _same(values: Any) -> Any:
    """The one value that all have; None where they differ."""
    found = list(dict.fromkeys(values))
    return found[0] if len(found) == 1 else None


def _column(key: str) -> str:
    first, *rest = key.split(".")
    return "config:" + ".".join([first, "value", *rest])
