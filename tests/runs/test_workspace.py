"""The page that W&B is given: what it shows is what runs log, and W&B's own object says the same. No network."""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

from featherpose.cli import runs as cli
from featherpose.errors import PoseError
from featherpose.runs import workspace
from featherpose.runs.folder import Run, find_runs
from featherpose.runs.wandb_runs import read_offline

WriteRun = Callable[..., Path]


def test_panels_show_what_runs_log(sweep: Path) -> None:
    runs = find_runs(sweep)
    page = workspace.layout(runs)
    assert (page.group, page.protocol, page.varied) == (
        sweep.name,
        "paper_no_tta",
        ("model.stages",),
    )
    for run in (runs[0], runs[-1]):  # two and three stages
        theirs = read_offline(run.record.dashboard("wandb")["dir"])
        logged = set(theirs.history) | set(theirs.summary) | {"val/score.max"}
        assert theirs.summary["val/score"].keys() == {"max"}
        for panel in page.panels:
            for key in panel.keys:
                steps = panel.against == workspace.STEP  # 3 epochs of 2 steps log no row by step
                assert steps or {key, f"{key}.path"} & logged, f"nobody logs {key}"
            if panel.pattern:
                assert [name for name in logged if re.fullmatch(panel.pattern, name)]
        assert "protocol" in theirs.summary
    titles = [section.title for section in page.sections]
    assert titles == [
        "Question",
        "Scores over seeds",
        "Main curve",
        "Do later stages help?",
        "Gammas",
        "Joints",
        "Previews",
        "Machine",
    ]
    assert page.panels[0].text.startswith("# What does `model.stages` change?")


def test_the_panels_are_drawn_from_offline_runs(root: Path, sweep: Path) -> None:
    drawn = runpy.run_path(str(root / "scripts" / "draw_workspace.py"))["draw"](sweep, "Why?")
    panels = workspace.layout(find_runs(sweep)).panels
    shown = {axes.get_title(loc="left").rpartition(": ")[2] for axes in drawn.axes}
    assert {panel.title.rpartition(": ")[2] for panel in panels if panel.title} <= shown
    assert len([axes for axes in drawn.axes if axes.lines]) >= 5  # score, losses, stages, gammas


def grid(write_run: WriteRun) -> list[Run]:
    """Two stages by two rates by two seeds; one setting follows another."""
    return [
        Run(
            write_run(
                f"lapx-s{stages}",
                seed=seed,
                config={
                    "model": {"stages": stages, "channels": 64 * stages},
                    "schedule": {"learning_rate": rate},
                    "logger": {"wandb": {"project": "hourglasses", "entity": "team"}},
                    "seed": seed,
                },
                scores={"joint/wrist": 70.0},
                overrides=(f"model.stages={stages}", f"schedule.learning_rate={rate}"),
            )
        )
        for stages in (2, 3)
        for rate in (0.001, 0.002)
        for seed in (0, 1)
    ]


def test_as_few_settings_as_tell_runs_apart(write_run: WriteRun) -> None:
    runs = grid(write_run)
    assert workspace.told_apart_by(runs) == ("model.stages", "schedule.learning_rate")
    assert workspace.told_apart_by(runs[:2]) == ()
    with pytest.raises(PoseError, match="no runs to lay a page out for"):
        workspace.layout([])


def test_wandbs_object_says_the_same(write_run: WriteRun) -> None:
    api = pytest.importorskip("wandb_workspaces.workspaces")
    page = workspace.layout(grid(write_run), question="Which rate?", name="Rates")
    made = workspace.built(page, "team")
    spec = made._model.model_dump(by_alias=True, exclude_none=True)
    back = api.Workspace._from_model(type(made._model).model_validate(spec))
    assert (back.entity, back.project, back.name) == ("team", "hourglasses", "Rates")
    assert [section.name for section in back.sections] == [
        f"{number} {section.title}" for number, section in enumerate(page.sections, start=1)
    ]
    first, scores, curve, *_ = (section.panels for section in back.sections)
    assert first[0].markdown.startswith("# Which rate?")
    assert [name.name for name in scores[0].metrics] == ["best.score"]
    assert (curve[0].x.name, [y.name for y in curve[0].y]) == ("epoch", ["val/score"])
    assert curve[2].x.name == "trainer/global_step"
    shown = back.runset_settings
    assert [key.name for key in shown.groupby] == ["model.stages", "schedule.learning_rate"]
    assert shown.pinned_columns[:2] == ["run:displayName", "summary:best.score"]
    assert "config:model.value.stages" in shown.pinned_columns
    assert shown.filters == "SummaryMetric(\"protocol\") == 'paper_no_tta'"


@pytest.fixture
def typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    monkeypatch.chdir(tmp_path)

    def type_it(*words: str) -> str:
        assert cli.main(["--runs", ".", "workspace", *words]) == 0
        return capsys.readouterr().out

    return type_it


def test_without_wandbs_package_the_description_says_it(
    write_run: WriteRun, monkeypatch: pytest.MonkeyPatch, typed: Callable[..., str]
) -> None:
    grid(write_run)
    monkeypatch.setattr(workspace, "find_spec", lambda name: None)
    said = typed("--question", "Which rate?", "--out", "page.json")
    # they logged no score of a stage
    assert said.startswith("page.json: 14 panels in 7 sections\n")
    assert "pip install 'featherpose[workspace]'" in said
    page = json.loads(Path("page.json").read_text())
    assert page["varied"] == ["model.stages", "schedule.learning_rate"]
    assert page["sections"][0]["panels"][0]["text"].startswith("# Which rate?")


def test_logged_out_and_refused(
    write_run: WriteRun, monkeypatch: pytest.MonkeyPatch, typed: Callable[..., str]
) -> None:
    grid(write_run)
    monkeypatch.setattr(workspace, "find_spec", lambda name: name)
    monkeypatch.setenv("NETRC", "none")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    assert "not logged in (wandb login)" in typed()
    monkeypatch.setenv("WANDB_API_KEY", "0123456789" * 4)
    monkeypatch.setattr(workspace, "built", lambda page, entity: 1 / 0)
    with pytest.raises(PoseError, match=r"W&B did not take the page \(ZeroDivisionError"):
        typed()
