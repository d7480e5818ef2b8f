"""People's own configs lie in conf/ of the folder where they stand."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest
import yaml

from featherpose.synthetic import painted

Typed = Callable[[str], Any]
EXPERIMENT = """# @package _global_
defaults:
  - override /data: mine
  - override /model: lapx
model: {stages: 1, channels: 16}
logger: null
"""


def test_ones_own_data_and_experiment_come_first_and_are_named(
    typed: Typed, tmp_path: Path, root: Path
) -> None:
    for group in ("data", "experiment", "schedule"):
        (tmp_path / "conf" / group).mkdir(parents=True)
    own = yaml.safe_load((root / "conf" / "data" / "synthetic.yaml").read_text())
    own |= {"name": "mine", "people": {"train": 8, "val": 4, "test": 2}}
    (tmp_path / "conf" / "data" / "mine.yaml").write_text(yaml.safe_dump(own))
    (tmp_path / "conf" / "experiment" / "mine.yaml").write_text(EXPERIMENT)
    quick = (root / "conf" / "schedule" / "quick.yaml").read_text()
    (tmp_path / "conf" / "schedule" / "quick.yaml").write_text(quick + "# mine\n")

    done = typed("train experiment=mine debug=tiny schedule=quick")
    assert done.code == 0, done.text
    (run,) = (tmp_path / "runs" / "train").iterdir()
    record = json.loads((run / "run.json").read_text())
    expected = ["conf/data/mine.yaml", "conf/experiment/mine.yaml", "conf/schedule/quick.yaml"]
    assert sorted(record["own_configs"]) == expected
    for file in expected:
        assert f"from this folder: {file}" in done.out
    assert record["data"]["train"] == 8

    unknown = typed("train data=mime")
    assert unknown.code == 2
    assert "did you mean mine" in unknown.err


def test_a_file_at_the_top_is_refused_by_name(typed: Typed, tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "train.yaml").write_text("seed: 5\n")
    done = typed("train --cfg job")
    assert done.code == 2
    assert str(tmp_path / "conf" / "train.yaml") in done.err
    assert "seed" not in done.out


def test_a_network_a_reader_and_a_loss_of_ones_own_as_the_page_has_them(
    typed: Typed, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (root / "docs" / "extend.md").read_text(encoding="utf-8")
    for name, text in re.findall(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", page, re.DOTALL):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    folder = tmp_path / "data" / "mine"
    folder.mkdir(parents=True)
    for split, people in (("train", 8), ("val", 4)):
        entries = []
        for person in painted.read(split=split, people=people, skeleton="coco").persons:
            picture = f"{split}{len(entries)}.png"
            cv2.imwrite(str(folder / picture), painted.load(person)[..., ::-1])
            entries.append({"picture": picture, "joints": person.joints[[0, 9, 10]].tolist()})
        (folder / f"{split}.json").write_text(json.dumps(entries))

    monkeypatch.setattr(sys, "path", list(sys.path))
    commands = re.findall(r"^\$ featherpose (.*)$", page, re.MULTILINE)
    assert [line.split()[0] for line in commands] == ["train", "evaluate", "export"]
    for line in commands:
        done = typed(line)
        assert done.code == 0, done.text
    (run,) = (tmp_path / "runs" / "train").iterdir()
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert [config[part]["_target_"] for part in ("model", "loss")] == [
        "mine.Small",
        "mine.Absolute",
    ]
    assert list(run.rglob("*.onnx"))

    untrusted = typed("evaluate checkpoint=last")
    assert untrusted.code == 1
    assert "trust=true" in untrusted.err
