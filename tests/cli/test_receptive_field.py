"""`runs receptive-field` as it is typed."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from featherpose.cli.receptive_field import Wish, field_of, write
from featherpose.errors import PoseError, UsageError

SMALL = "model.channels=32 data.input_size=[64,64]"


def test_untrained_networks_by_name_and_setting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"hourglass model.stages={n} {SMALL}" for n in (1, 2)]
    write(names, tmp_path, Wish(pictures=2), tmp_path / "deep" / "field.png")
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(", untrained")[0] for line in lines[:2]] == names
    assert lines[0].endswith("(64x64)")
    assert cv2.imread(lines[2]).shape[1] > cv2.imread(lines[2]).shape[0]


def test_what_is_no_network_and_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="settings are for untrained networks"):
        field_of("nothing model.stages=2", tmp_path, Wish())
    with pytest.raises(PoseError, match="nothing"):
        field_of("nothing", tmp_path, Wish())
    with pytest.raises(UsageError, match="at least 1, not 0"):
        write(["lapx"], tmp_path, Wish(pictures=0), tmp_path / "field.png")
