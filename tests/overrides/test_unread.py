"""An added key that nothing reads is refused; every documented `+` key goes on working."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from featherpose.overrides import unread


def unread_of(conf: Path, *words: str, verb: str = "train") -> list[str]:
    """What nothing reads, as the command line finds it after Hydra has composed."""
    with initialize_config_dir(str(conf), version_base="1.3"):
        cfg = compose(verb, ["hydra.runtime.output_dir=/run", *words], return_hydra_config=True)
        HydraConfig.instance().set_config(cfg)
        plain = OmegaConf.masked_copy(cfg, [str(k) for k in cfg if k != "hydra"])
        return [".".join(path) for path in unread.unread(plain)]


def test_keys_that_nothing_reads(root: Path) -> None:
    words = {
        "+weights=/no/such/file": "weights",
        "+no_such_key=1": "no_such_key",
        "++no_other_key=1": "no_other_key",
        "+data.x=1": "data.x",
        "+data.read={published: false, publishd: true}": "data.read.publishd",
        "+schedule.epoch=3": "schedule.epoch",
        "+trainer.max_epoch=3": "trainer.max_epoch",
        "+callbacks.mine.every=3": "callbacks.mine.every",
        "+optimiser._target_=torch.optim.SGD": "optimiser._target_",
        "+w=32": "w",
    }
    assert unread_of(root / "conf", "data=mpii", *words) == list(words.values())


def test_what_something_reads_goes_on_working(root: Path) -> None:
    """The examples of the documentation, and one of each kind."""
    words = [
        "data=mpii",
        "callbacks=ema",
        "+data.read.published=false",
        "+data.read={annotations: a.json}",
        "+trainer.overfit_batches=1",
        "+trainer.max_time=00:01:00:00",
        "++seed=3",
        "+logger.comet._target_=lightning.pytorch.loggers.CometLogger",
        "+logger.comet.anything=its-keywords-are-passed-on",
        "+logger.mine._target_=lightning.pytorch.loggers.CSVLogger",
        "+logger.mine.save_dir=here",
        "+callbacks.mine._target_=lightning.pytorch.callbacks.LearningRateMonitor",
        "+callbacks.more={_target_: lightning.pytorch.callbacks.Timer, duration: 1}",
        "+callbacks.ema.update_starting_at_step=9",
        "+schedule.optimiser.weight_decay=0.01",
        "+w=32",
        "model.channels=${w}",
        "+size.side=96",
        "data.input_size=[${size.side},96]",
        "+tag=night",
        "hydra.job.name=${tag}",
    ]
    assert unread_of(root / "conf", *words) == []


def test_benchmarks_have_their_keys_at_the_top(root: Path) -> None:
    words = ["benchmark=latency", "+session_threads=1", "++rounds=1"]
    assert unread_of(root / "conf", *words, verb="benchmark") == ["session_threads"]


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("scedule.epochs", "schedule.epochs"),
        ("schedule.epoch", "schedule.epochs"),
        ("batch_size", "schedule.batch_size"),
        ("data.cutmix", None),
    ],
)
def test_the_nearest_setting_is_named(root: Path, key: str, near: str | None) -> None:
    with initialize_config_dir(str(root / "conf"), version_base="1.3"):
        found = unread.hint(key, "train", ["model=lap"])
        assert unread.hint(key, "train", ["model=no_such"]) == ""
    assert found == (f" (did you mean {near}?)" if near else "")
