"""A setting that cannot be ends in one sentence that names it, before the first step; the exit code is not 0."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from featherpose.cli.app import CONF, describe
from featherpose.cli.train import main

SMALL = (
    "data.people={train: 4, val: 2, test: 2}",
    "data.workers=0",
    "data.input_size=[64,64]",
    "schedule.epochs=1",
    "schedule.batch_size=2",
    "model.stages=1",
    "model.channels=16",
    "trainer=cpu",
    "logger=none",
)


@pytest.fixture(scope="module")
def small() -> Generator[DictConfig, None, None]:
    """Composed once: that takes longer than most mistakes."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", [*SMALL], return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)
    with open_dict(cfg):
        del cfg["hydra"]
    yield cfg
    HydraConfig.instance().cfg = None


@pytest.fixture
def refusal(small: DictConfig, tmp_path: Path) -> Callable[..., str]:
    """What `python src/train.py` with these words prints, once its exit code is known to be above 0."""

    def run(*words: str) -> str:
        places = (f"paths.runs={tmp_path}", f"paths.output={tmp_path}/run")
        with pytest.raises(Exception) as caught:
            main(OmegaConf.merge(small, OmegaConf.from_dotlist([*places, *words])))  # ty: ignore[invalid-argument-type]
        code, sentence = describe(caught.value)
        assert code > 0
        return sentence

    return run


@pytest.mark.parametrize(
    "word",
    [
        "schedule.epochs=three", "schedule.epochs=1.5", "schedule.epochs=0", "schedule.epochs=-1",
        "schedule.learning_rate=-1", "schedule.learning_rate=nan", "schedule.learning_rate=abc",
        "schedule.batch_size=0", "schedule.batch_size=-4", "schedule.unit=epochs",
        "schedule.milestones=[0.8,0.4]", "schedule.milestones=[-1]", "schedule.warmup=-3",
        "schedule.gamma.freeze=2", "schedule.gamma.target=-1",
        "data.workers=-1", "data.input_size=[63,64]", "data.input_size=[0,0]",
        "data.input_size=64", "data.input_size=[64,64,3]", "data.input_size=[-64,64]",
        "augment.scale=1", "augment.flip=2",
        "loss.sigma=0", "loss.reduction=mse", "protocol.decoder=foo", "protocol.mean=median",
        "seed=abc", "seed=-1",
        "trainer.precision=7", "trainer.accelerator=abacus", "trainer.devices=0",
        "trainer.accumulate_grad_batches=0", "trainer.gradient_clip_val=-1",
    ],
)  # fmt: skip
def test_one_wrong_setting(word: str, refusal: Callable[..., str]) -> None:
    sentence = refusal(word)
    assert word.partition("=")[0].split(".")[-1] in sentence
    assert not re.match(r"\w*(Error|Exception)\b", sentence), sentence
    assert sentence.endswith((".", ")")) and "\n" not in sentence


def test_a_recipe_longer_than_its_run_is_warned_of_and_goes_on(
    refusal: Callable[..., str],
) -> None:
    late = ("schedule.milestones=[50]", "schedule.warmup=20")
    with pytest.warns(UserWarning, match="ends after 1 epoch, before milestone 50, .* are reached"):
        # the second mistake only ends the test early: it is met behind the schedule
        sentence = refusal(*late, "trainer.devices=0")
    assert "devices" in sentence
