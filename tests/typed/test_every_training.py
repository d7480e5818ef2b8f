"""Every training that is offered makes two steps and one validation: experiments, networks and datasets.

On painted people in their dataset's format and at 64x64, within this process. Experiments that are one training under
two names are trained once, and so are the networks and datasets that an experiment has covered.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from featherpose.models.peers.lite_hrnet import NaiveLiteHRNet
from featherpose.sweeps.refusals import training_of
from featherpose.synthetic import formats

from ..data.test_packs import painted_set
from ..test_configs import choices, composed
from ..zoo.test_openvino_weights import write_tinypose
from .laid_out import leeds, own_people

SMALL = (
    "debug=tiny trainer=cpu logger=none evaluate_best=false callbacks.previews=null callbacks.progress=null"
    " schedule.batch_size=2 trainer.limit_train_batches=2 trainer.limit_val_batches=1"
    " trainer.num_sanity_val_steps=0"
)
TRAINED: dict[str, str] = {}  # what was trained, and under which name
COVERED: set[str] = set()  # model=..., data=...


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data/ as people lay it out, with few people; and a teacher's file."""
    folder = tmp_path_factory.mktemp("datasets")
    for kind in ("coco", "mpii"):
        formats.write(kind, folder / "data" / kind, 12)
    leeds(folder / "data" / "lsp", "im{:04d}.jpg", 2000)
    leeds(folder / "data" / "lspet", "im{:05d}.jpg", 10000)
    (folder / "data" / "people17").mkdir()
    painted_set(folder / "data" / "people17", people=12)
    own_people(folder / "data" / "custom")
    torch.manual_seed(0)
    write_tinypose(NaiveLiteHRNet(17).eval(), folder / "tinypose256.xml")
    return folder


@pytest.fixture
def train(typed: Callable[[str], Any], datasets: Path, tmp_path: Path) -> Callable[..., None]:
    """`train("model=lapx")`: two steps and a validation, unless the same was trained before."""

    def run(*words: str) -> None:
        words = (*words, *SMALL.split())
        cfg = composed("train", *words)
        chosen = dict(cfg.hydra.runtime.choices)
        if chosen["loss"] == "distil":
            teacher = datasets / "tinypose256.xml"  # its numbers; OpenVINO does not run it
            words = (*words, f"loss.teacher={teacher}", "loss.runtime=torch")
        if cfg.callbacks.get(
            "time_budget"
        ):  # it counts from the start of the program: here, pytest's
            words = (*words, "callbacks.time_budget.seconds=100000")
        training = training_of(composed("train", *words))
        COVERED.update({f"model={chosen['model']}", f"data={chosen['data']}"})
        if training in TRAINED:
            return
        TRAINED[training] = words[0]
        (tmp_path / "data").symlink_to(datasets / "data")
        answer = typed(" ".join(["train", *words]))
        assert answer.code == 0, answer.text[-3000:]
        (folder,) = (tmp_path / "runs" / "train").iterdir()
        assert json.loads((folder / "run.json").read_text())["state"] == "finished"
        rows = list(csv.DictReader((folder / "metrics.csv").open()))
        assert [row["step"] for row in rows if row["val/score"]] == ["1"]

    return run


@pytest.mark.parametrize("name", choices("experiment"))
def test_experiment(train: Callable[..., None], name: str) -> None:
    train(f"experiment={name}")


@pytest.mark.parametrize("name", choices("model"))
def test_network(train: Callable[..., None], name: str) -> None:
    if f"model={name}" not in COVERED:
        train(f"model={name}")


@pytest.mark.parametrize("name", choices("data"))
def test_dataset(train: Callable[..., None], name: str) -> None:
    if f"data={name}" not in COVERED:
        train(f"data={name}", "model=lapx")
