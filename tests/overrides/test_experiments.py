"""A second name for a training is gone, and says which one fills its row."""

from __future__ import annotations

from pathlib import Path

import pytest

from featherpose.overrides.experiments import SAME_TRAINING, renamed


@pytest.mark.parametrize("name", SAME_TRAINING)
def test_a_gone_name_leads_to_a_file_that_is_there(name: str, root: Path) -> None:
    folder = root / "conf" / "experiment"
    assert not (folder / f"{name}.yaml").exists()
    first = SAME_TRAINING[name][0]
    assert (folder / f"{first.removeprefix('experiment=')}.yaml").is_file()


def test_an_old_run_goes_on_under_the_name_of_today() -> None:
    words = ["experiment=lapx_table1_tta", "seed=3"]
    assert renamed(words) == ["experiment=lapx_table3_12", "protocol=paper_tta", "seed=3"]
    chosen = ["experiment=lapx_table1_tta", "protocol=raw"]
    assert renamed(chosen) == ["experiment=lapx_table3_12", "protocol=raw"]
    assert renamed(["experiment=lapx_table3_05"]) == ["experiment=lapx_table3_05"]


def test_the_prompt_says_which_one_has_the_row(typed) -> None:
    done = typed("train experiment=repose_table4_blocks_4")
    assert done.code == 2
    assert "say experiment=repose_table1_table2." in done.err


def test_parents_are_not_offered(typed) -> None:
    done = typed("train experiment=repose_tabel1")
    assert done.code == 2
    assert "repose_table1_table2" in done.err
    assert "_repose" not in done.err.replace("lapx_repose", "").split("Known:")[1].split(", ")[0]
    assert ", _" not in done.err
