"""The HTML page: one file, everything in it, true to the runs; and what a network sees."""

from __future__ import annotations

import base64
import html
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
import torch

from featherpose.cli.receptive_field import Wish, field_of
from featherpose.errors import PoseError
from featherpose.evaluation import look
from featherpose.metrics.breakdown import Part, write
from featherpose.runs import charts
from featherpose.runs.folder import Run, find_runs
from featherpose.runs.grid import grid
from featherpose.runs.repeat import repeating
from featherpose.runs.report import page, write_report
from featherpose.runs.table import tables
from featherpose.training.callbacks.previews import preview


class Addresses(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [
            value or "" for name, value in attrs if name in ("src", "href", "srcset", "data")
        ]
        if tag not in ("img", "meta", "br", "link", "input", "hr"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def report(sweep: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = write_report(
        find_runs(sweep),
        tmp_path_factory.mktemp("report") / "below" / "report.html",
        "Stages & seeds",
    )
    return path.read_text(encoding="utf-8")


def test_the_page_needs_nothing_outside_itself(report: str) -> None:
    parser = Addresses()
    parser.feed(report)
    assert parser.open == []
    assert parser.found
    assert all(address.startswith(("data:image/", "#")) for address in parser.found)
    assert report.count("<script") == 1
    assert "<script src" not in report
    assert "url(http" not in report
    assert "@import" not in report
    assert len(report) < 1_000_000


def test_the_page_holds_scores_plots_and_pictures(report: str, sweep: Path) -> None:
    runs = find_runs(sweep)
    (table,) = tables(runs)[0]
    for row in table.cells()[1]:
        index, name, *rest = row
        cells = "".join(f"<td>{cell}</td>" for cell in rest)
        assert f"<td>{index}</td><td class='name'>{name}</td>{cells}" in report
    for run in runs:
        assert str(run.record.git.commit) in report
    plots = re.findall(r"<svg.*?</svg>", report, flags=re.DOTALL)
    assert len(plots) == 5 + 4 * len(runs)
    for plot in plots:
        ElementTree.fromstring(plot)
    pictures = re.findall(r"data:image/webp;base64,([^']+)'", report)
    # predictions, first and last preview, what goes wrong, worst samples
    assert len(pictures) == 5 * len(runs)
    for content in pictures:
        picture = cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_COLOR)
        assert picture.std() > 15
    assert "Stages &amp; seeds" in report


def test_rows_lead_to_runs_and_samples_and_seeds_are_one_column(report: str, sweep: Path) -> None:
    for number, run in enumerate(find_runs(sweep)):
        assert f"<a href='#run-{number}'>{run.name}</a>" in report
        assert f"href='#samples-{number}'" in report
        assert f"id='samples-{number}'" in report
        assert html.escape(repeating(run)) in report.replace("&#39;", "&#x27;")
    (differs,) = re.findall(r"<section id='differs'>.*?</section>", report, flags=re.DOTALL)
    assert re.findall(r"<th>([^<]+)</th>", differs) == [
        "setting",
        "lapx-s2-synthetic-g0.2 (2 seeds)",
        "lapx-s3-synthetic-g0.2 (2 seeds)",
    ]
    assert re.findall(r"<td>([^<]*)</td>", differs) == ["model.stages", "2", "3"]


def test_two_settings_are_a_grid(write_run: Any) -> None:
    for stages, depth, score in ((2, 1, 70.0), (2, 2, 80.0), (10, 1, 90.0)):
        words = (f"model.stages={stages}", f"model.depth={depth}", "trainer=cpu")
        config = {"model": {"stages": stages, "depth": depth}}
        for seed in (0, 1):
            write_run("lapx", seed=seed, score=score + seed, config=config, overrides=words)
    found = grid(tables(find_runs(Path(write_run("x", score=None, state="failed")).parent))[0])
    assert found is not None
    assert (found.down, found.across, found.columns) == ("model.stages", "model.depth", ("1", "2"))
    assert [(name, [text for text, _ in cells]) for name, cells in found.rows] == [
        ("2", ["70.50", "80.50"]),
        ("10", ["90.50", ""]),
    ]
    assert found.rows[0][1][0][1] == "#ffffff"
    text = page(find_runs(Path(write_run("y", score=None, state="failed")).parent))
    assert "by model.stages and model.depth" in text


def test_a_cell_without_a_score_is_empty_and_no_colour_of_others(write_run: Any) -> None:
    for stages, depth, score in ((2, 1, float("nan")), (2, 2, 70.0), (4, 1, 80.0), (4, 2, 90.0)):
        words = (f"model.stages={stages}", f"model.depth={depth}")
        config = {"model": {"stages": stages, "depth": depth}}
        write_run("lapx", score=score, config=config, overrides=words)
    found = grid(tables(find_runs(Path(write_run("x", score=None, state="failed")).parent))[0])
    assert found is not None
    assert [list(cells) for _, cells in found.rows] == [
        [("", "none"), ("70.00", "#ffffff")],
        [("80.00", "#c3e1ff"), ("90.00", "#87c3ff")],
    ]


def test_many_runs_and_one_epoch_can_be_drawn(write_run: Any) -> None:
    runs = [Run(write_run(f"run{i:02}", score=60.0 + i)) for i in range(50)]
    for run in runs:
        (run.folder / "metrics.csv").write_text(f"epoch,step,val/score\n0,3,{run.score}\n")
    chart = charts.by_run(runs, "val/score")
    assert {line.name for line in chart.named} == {f"run{i}" for i in range(42, 50)}
    drawn = charts.svg(chart)
    ElementTree.fromstring(drawn)
    assert drawn.count("<circle") == 50
    along = re.findall(r"class='along'[^>]*>([^<]*)<", drawn)
    assert along == ["0", "epoch"]  # there are no halves of one
    text = page(runs)
    assert len(text) < 1_000_000
    assert text.count("<details class='run'>") == 50  # folded, else nobody finds the end
    assert "score by joint: the best 8 of 50 runs" in text
    assert "run49</text>" in text
    assert "run41</text>" not in text


def test_outputs_are_called_what_they_are(write_run: Any) -> None:
    names = ["before the updates", "after the updates", "refined 1", "final"]
    early = {f"stage{n}/score": 50.0 + n for n in range(1, 4)}
    folder = write_run("repose", scores=early, network={"outputs": names})
    (folder / "metrics.csv").write_text("epoch,step,val/score,val/stage1/score\n0,3,2.0,1.5\n")
    text = page([Run(folder)])
    assert "val/before the updates/score" in text
    drawn = charts.svg(charts.by_stage({"run": Run(folder)}, ""))
    words = [each.text for each in ElementTree.fromstring(drawn).iter("text")]
    assert words[-7:] == ["before the", "updates", "after the", "updates", *names[2:], "output"]
    assert "stage" not in drawn


def test_runs_of_one_name_are_told_apart_in_every_part(write_run: Any) -> None:
    """Whoever types `python src/train.py` twice has two, and the better one must not be called like the other."""
    several = {"stage1/score": 60.0, "joint/head": 1.0}
    runs = [
        Run(write_run("lapx", score=score, scores=several, config={"model": {"stages": stages}}))
        for stages, score in ((1, 70.0), (2, 80.0))
    ]
    text = page(runs)
    ours = re.findall(r"<(?:td|th|h2|text|/i)[^>]*>(?:<a href='#run-\d'>)?(lapx[^<]*)<", text)
    assert set(ours) == {"lapx (0_lapx)", "lapx (1_lapx)"}
    # overview, scores, two curves, scores by output, bars of the joints, settings, the run's own part
    assert ours.count("lapx (0_lapx)") == ours.count("lapx (1_lapx)") == 8


def test_what_goes_wrong_is_a_table_and_a_picture(write_run: Any) -> None:
    run = Run(write_run("lapx"))
    parts = [Part("joint", "left_wrist", 10, 71.5, 70.0, 10.0, 5.0, 5.0, 10.0)]
    write(run.folder / "predictions" / "errors.csv", parts)
    turned = run.folder / "turned.csv"  # of a later evaluation
    write(turned, [*parts, replace(parts[0], by="rotation", name="90")])
    replace(run.own_score, split="test").write(run.folder, errors=turned.read_text())
    text = page([Run(run.folder)])
    assert text.count("<summary>errors by part") == 2
    (label,) = re.findall(r"<figcaption>(what goes wrong[^<]*)", text)
    assert "mpii test" in label  # the fullest one
    (run.folder / "predictions" / "errors.csv").write_text("nonsense")
    assert "No table of errors" in page([Run(run.folder)])


def test_few_runs_have_large_pictures_and_many_have_small_ones(write_run: Any) -> None:
    runs = [Run(write_run(f"run{i:02}")) for i in range(20)]
    noise = np.random.default_rng(0).integers(0, 255, (600, 900, 3), np.uint8)
    (runs[0].folder / "pictures").mkdir()
    cv2.imwrite(
        str(runs[0].folder / "pictures" / "predictions.png"), cv2.GaussianBlur(noise, (0, 0), 3)
    )
    for count, least, most in ((1, 24_000, 150_000), (20, 1_000, 12_000)):
        (picture,) = re.findall(r"data:image/webp;base64,[^']+", page(runs[:count]))
        assert least < len(picture) <= most


def test_failed_runs_and_other_protocols_are_told(write_run: Any) -> None:
    failed = Run(write_run("broken", state="failed", error="ValueError: <b>bad</b>", score=None))
    early = {"stage1/score": 70.0}
    flipped = Run(write_run("flipped", protocol={"flip": True}, scores=early))
    text = page([Run(write_run("plain", scores=early)), flipped, failed])
    assert "do not compare" in text
    assert "broken (failed)" in text
    for wrong in (">nan<", ">0.0<", "? persons"):
        assert wrong not in text, re.findall(f".{{80}}{re.escape(wrong)}.{{60}}", text)
    assert "<b>bad</b>" not in text
    assert "score after each output" not in text  # no plot that mixes the two
    with pytest.raises(PoseError, match="no runs"):
        write_report([], "report.html")


def test_outputs_are_a_plot_where_there_are_several(write_run: Any) -> None:
    several = Run(write_run("two", scores={"stage1/score": 70.0}))
    one = Run(write_run("one"))
    assert "score after each output" not in page([one])
    assert "score after each output" in page([one, several])


def test_previews_of_training(sweep: Path) -> None:
    for run in find_runs(sweep):
        shown = sorted(path.name for path in (run.folder / "pictures").glob("*_0*.jpg"))
        # every fifth epoch, and the last
        assert shown == [f"{kind}_000{n}.jpg" for kind in ("preview", "worst") for n in (0, 2)]
        first, last, *_ = (
            cv2.imread(str(run.folder / "pictures" / name)).astype(int) for name in shown
        )
        stages = run.record.network.stages
        assert first.shape == last.shape
        assert first.shape[1] == (1 + stages) * 196 + 4
        # the same sample, as annotated; up to what JPEG makes of its neighbour
        assert np.abs(first - last)[8:184, 8:184].max() < 3
        assert np.abs(first - last)[4:196, 200:].mean() > 0.5  # seen differently


def test_what_a_network_sees(sweep: Path) -> None:
    run = find_runs(sweep)[1]
    module = look.load_network(run)
    data = look.load_data(run.config, module)
    batch = look.batch_of(data.val_dataset(), 3)
    maps = look.attention_maps(module.network, batch["image"])
    assert len(maps) == 2  # the necks of stages 1 and 3
    for weights in maps.values():
        assert weights.shape == (3, 1, 1, 1, 1)  # 64x64 crops leave one place at the neck
        torch.testing.assert_close(weights.sum(dim=(3, 4)), torch.ones(3, 1, 1))
    larger = torch.nn.functional.interpolate(batch["image"].float(), size=(256, 128)).byte()
    for weights in look.attention_maps(module.network, larger).values():
        assert weights.shape == (3, 4, 2, 4, 2)
        torch.testing.assert_close(weights.sum(dim=(3, 4)), torch.ones(3, 4, 2))
    assert look.attention_sheet(module, batch, joint=9).shape[2] == 3
    assert preview(module, batch, side=64).shape[1] == 7 * 68 + 4
    assert field_of(run.name, sweep, Wish(pictures=2)).gradient.shape == (64, 64)
    targets = look.target_sheet(batch, stride=4, sigma=2.0)
    assert targets.shape[2] == 3
    with pytest.raises(PoseError, match="has no checkpoint"):
        look.load_network(run, "nothing")


def test_attention_maps_are_what_the_module_multiplies_with() -> None:
    from featherpose.models.layers import NonLocal

    torch.manual_seed(0)
    module = NonLocal(16)
    torch.nn.init.constant_(module.gamma, 0.7)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 8, 8), module)
    images = torch.randint(0, 256, (2, 3, 24, 32), dtype=torch.uint8)
    (weights,) = look.attention_maps(network, images).values()
    from featherpose.pixels import normalise

    features = network[0](normalise(images))
    values = module.g(features).flatten(2)
    context = (values @ weights.reshape(2, 12, 12).transpose(1, 2)).unflatten(2, (3, 4))
    torch.testing.assert_close(module(features), 0.7 * module.project(context) + features)
