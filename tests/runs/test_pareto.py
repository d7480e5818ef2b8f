"""Score against milliseconds in the report: what lies on the front, what deviates, what is a paper's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from featherpose.runs import pareto
from featherpose.runs.folder import find_runs
from featherpose.runs.report import page
from featherpose.runs.table import Table, tables


def table_of(write_run: Callable[..., Path], *rows: dict[str, Any]) -> Table:
    """A run each; what differs is the width."""
    for row in rows:
        row = {"seed": 0, **row}
        width = row.pop("width")
        config = {"model": {"channels": width}}
        overrides = (f"model.channels={width}",)
        folder = write_run(f"w{width}", config=config, overrides=overrides, **row)
    (found,) = tables(find_runs(folder.parent))[0]
    return found


def test_the_front_holds_what_no_other_beats(write_run: Callable[..., Path]) -> None:
    table = table_of(
        write_run,
        {"width": 32, "score": 60.0, "ms": 5.0},
        {"width": 64, "score": 70.0, "ms": 9.0},
        {"width": 96, "score": 69.0, "ms": 12.0},  # slower and worse than 64
        {"width": 128, "score": 80.0, "ms": 20.0},
        {"width": 160, "score": 99.0},  # nobody has timed it
    )
    found = pareto.points(table)
    assert [each.ms for each in found] == [5, 9, 12, 20]
    assert [each.score for each in pareto.front(found)] == [60, 70, 80]


def test_seeds_of_one_configuration_are_one_point_with_its_deviation(
    write_run: Callable[..., Path],
) -> None:
    same = [{"width": 32, "score": 60.0 + seed, "ms": 5.0, "seed": seed} for seed in (0, 2)]
    table = table_of(write_run, *same, {"width": 64, "score": 70.0, "ms": 9.0})
    first, second = pareto.points(table)
    assert (first.score, round(first.deviation, 3)) == (61.0, 1.414)
    drawn = ElementTree.fromstring(pareto.svg(table))
    told = [each.text or "" for each in drawn.iter("title")]
    assert "61.00 at 5.0 ms ± 1.41 over seeds" in told[0]
    assert "model.channels=64\n70.00 at 9.0 ms" in told[1]
    assert second.label.endswith("model.channels=64")


def test_a_papers_own_configuration_is_marked() -> None:
    ends = [0.0, 10.0], [0.0, 10.0]
    paper = pareto.Point(5.0, 5.0, float("nan"), True, "LAPX <3>")
    drawn = pareto.dot(paper, True, *ends)
    assert "as in the paper" in drawn
    assert "LAPX &lt;3&gt;" in drawn
    ours = pareto.Point(5.0, 5.0, float("nan"), False, "ours")
    assert drawn.split("stroke=")[1][:9] != pareto.dot(ours, True, *ends).split("stroke=")[1][:9]


def test_the_page_shows_it_where_runs_were_timed(write_run: Callable[..., Path]) -> None:
    folder = write_run("a", score=60.0, config={"model": {"channels": 32}})
    assert "Score against milliseconds" not in page(find_runs(folder.parent))
    table_of(
        write_run,
        {"width": 64, "score": 60.0, "ms": 5.0},
        {"width": 128, "score": 80.0, "ms": 20.0},
    )
    text = page(find_runs(folder.parent))
    assert "Score against milliseconds" in text
    assert "80.00 at 20.0 ms" in text
