"""`--help` lists what may be chosen, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from featherpose.cli.groups import choices, listed


def test_parents_are_not_offered_and_ones_own_configs_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    packaged = choices("data")
    assert {"coco", "mpii", "synthetic"} <= set(packaged)
    assert not [name for name in packaged if name.startswith("_")]
    (tmp_path / "conf" / "data").mkdir(parents=True)
    (tmp_path / "conf" / "data" / "mine.yaml").write_text("name: mine\n")
    assert set(choices("data")) - set(packaged) == {"mine"}
    assert listed("debug", "benchmark").splitlines()[0] == "debug: overfit, tiny"
