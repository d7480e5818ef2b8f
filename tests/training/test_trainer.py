"""What the Trainer is given: mistakes in one sentence that names the setting."""

import lightning as L
import pytest
from omegaconf import OmegaConf

from featherpose.errors import PoseError
from featherpose.training.trainer import check_seed, make_trainer

RIGHT = {
    "_target_": "lightning.Trainer",
    "accelerator": "cpu",
    "devices": 1,
    "precision": "32-true",
    "accumulate_grad_batches": 1,
    "gradient_clip_val": None,
}


def build(**changes: object) -> L.Trainer:
    quiet = {"enable_checkpointing": False, "enable_progress_bar": False, "logger": False}
    return make_trainer(OmegaConf.create({**RIGHT, **changes}), **quiet)


def test_right_settings_make_a_trainer() -> None:
    trainer = build(gradient_clip_val=0, max_epochs=2)
    assert isinstance(trainer, L.Trainer) and trainer.max_epochs == 2


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"accumulate_grad_batches": 0}, r"trainer\.accumulate_grad_batches is 0; .* at least 1"),
        ({"gradient_clip_val": -1}, r"trainer\.gradient_clip_val is -1; .* at least 0"),
        ({"devices": 0}, r"trainer\.devices is 0"),
        ({"num_nodes": 0}, r"trainer\.num_nodes is 0"),
        ({"limit_train_batches": 0}, r"trainer\.limit_train_batches is 0; .* above 0"),
        ({"max_epochs": "two"}, r"trainer\.max_epochs is two; .* whole number"),
        ({"max_steps": 0}, r"trainer\.max_steps is 0"),
        ({"limit_val_batches": -1}, r"trainer\.limit_val_batches is -1"),
        ({"precision": "7"}, r"can't train with .*trainer\.precision=7"),
        ({"accelerator": "abacus"}, r"can't train with trainer\.accelerator=abacus"),
        ({"strategy": "nope"}, r"trainer\.strategy=nope"),
    ],
)
def test_a_wrong_setting_is_refused_in_one_sentence(wrong: dict, sentence: str) -> None:
    with pytest.raises(PoseError, match=sentence) as caught:
        build(**wrong)
    assert "\n" not in str(caught.value)


def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(PoseError, match=r"no GPU that PyTorch can use .*trainer=cpu"):
        build(accelerator="cuda")


@pytest.mark.parametrize("seed", ["abc", -1, 1.5, 2**32, None])
def test_a_seed_is_a_whole_number(seed: object) -> None:
    with pytest.raises(PoseError, match=r"seed is .*; it has to be a whole number from 0 to"):
        check_seed(seed)
