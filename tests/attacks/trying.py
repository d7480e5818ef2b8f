"""How a row is tried: the verb's own function on a composed config, within this process."""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from featherpose.cli.app import CONF, describe

# a training of a second
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
RAW = re.compile(r"[\w.]*(Error|Exception|Interrupt)\b: |.*run it again with --traceback")


@cache
def composed(verb: str, *choices: str) -> DictConfig:
    """Once for all rows: that takes longer than most mistakes."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(verb, list(choices), return_hydra_config=True)


def is_choice(word: str) -> bool:
    """Whether a word chooses from a group, or adds a key: only Hydra can."""
    key = word.partition("=")[0]
    return key[0] in "+~" or (CONF / key).is_dir()


def run(verb: str, *words: str) -> Any:
    """`python src/VERB.py WORDS`, from where Hydra has composed them to the end."""
    whole = composed(verb, *(word for word in words if is_choice(word)))
    values = OmegaConf.from_dotlist([word for word in words if not is_choice(word)])
    HydraConfig.instance().set_config(whole)
    try:
        cfg = OmegaConf.masked_copy(whole, [str(key) for key in whole if key != "hydra"])
        return importlib.import_module(f"featherpose.cli.{verb}").main(OmegaConf.merge(cfg, values))
    finally:
        HydraConfig.instance().cfg = None


def files_of(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def judge(error: BaseException, says: str, code: int) -> None:
    """The error is one sentence that says what is wrong, with its exit code."""
    found, sentence = describe(error)
    assert re.search(says, sentence), sentence
    assert not RAW.match(sentence), sentence
    assert "\n" not in sentence
    assert found == code, sentence


def refused(verb: str, words: Sequence[str], says: str, folder: Path, code: int = 1) -> None:
    """The words end in one sentence, and no file below the folder is lost or changed by them."""
    before = files_of(folder)
    with pytest.raises((Exception, SystemExit)) as caught:
        run(verb, *words)
    judge(caught.value, says, code)
    after = files_of(folder)
    assert {path: after.get(path) for path in before} == before
