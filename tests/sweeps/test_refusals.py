"""What is looked at before a sweep: data that are not there, once for all jobs; and which jobs are one training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from featherpose.sweeps import refusals
from featherpose.sweeps.job import Job


def test_each_distinct_folder_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    roots = ["data/mpii", "data/mpii", "data/lsp", None]
    configs = [{"seed": n, "data": {"read": {"sets": 1}, "root": r}} for n, r in enumerate(roots)]
    configs.append({"seed": 4, "data": {"read": {"sets": 1}}})  # painted: there is no folder
    jobs = [Job(n, [], tmp_path / str(n), [], OmegaConf.create(c)) for n, c in enumerate(configs)]
    looked: list[Any] = []
    monkeypatch.setattr(refusals, "elsewhere", lambda function, node: looked.append(node))
    monkeypatch.setattr(refusals.unread, "suspects", lambda cfg: [])
    monkeypatch.setattr(HydraConfig.instance(), "set_config", lambda cfg: None)
    refusals.refuse_what_none_can_run(jobs)
    assert [node["root"] for node in looked] == ["data/mpii", "data/lsp"]


def test_a_name_makes_no_other_training() -> None:
    def of(**values: Any) -> str:
        config = {
            "seed": 0,
            "name": None,
            "logger": "${none}",
            "model": {"stages": 2},
            "none": None,
        }
        return refusals.training_of(OmegaConf.create(config | values))

    assert of() == of(name="second", tags=["x"], paths={"runs": "/elsewhere"})
    assert of() != of(seed=1)
    assert of() != of(model={"stages": 3})
