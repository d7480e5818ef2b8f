"""The table and the picture of what goes wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from featherpose.errors import PoseError
from featherpose.metrics.breakdown import Part, write
from featherpose.runs.wrong import figure, read

PARTS = [
    Part("joint", "left_wrist", 10, 71.5, 70.0, 10.0, 5.0, 5.0, 10.0),
    Part("size", "40 to 55 px", 20, 80.0, 80.0, 20.0, 0.0, 0.0, 0.0),
    Part("rotation", "90", 20, 12.25, 10.0, 0.0, 0.0, 0.0, 90.0),
]


def test_what_is_written_is_drawn_a_panel_for_each_division(tmp_path: Path) -> None:
    write(tmp_path / "errors.csv", PARTS)
    table = read(tmp_path / "errors.csv")
    assert table["name"].tolist() == ["left_wrist", "40 to 55 px", "90"]
    assert table.loc[2, ["joints", "score", "miss"]].tolist() == [20, 12.25, 90]
    panels = figure(table, "PCK@0.2").axes
    assert [each.get_title("left") for each in panels] == [
        f"by {by}; number behind a bar: PCK@0.2" for by in ("joint", "size", "rotation")
    ]
    assert panels[0].get_legend_handles_labels()[1][0] == "correct"  # "right" is a side, too
    assert panels[2].get_yticklabels()[0].get_text() == "90°"
    widths = [bar.get_width() for bar in panels[0].patches]
    assert widths == [70, 10, 5, 5, 10]
    assert panels[0].texts[0].get_text() == "71.5"


@pytest.mark.parametrize("text", ["", "by,name\n", "a,b\n1,2\n", "\0\0"])
def test_another_file_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "errors.csv").write_text(text)
    with pytest.raises(PoseError, match=r"errors\.csv"):
        read(tmp_path / "errors.csv")
