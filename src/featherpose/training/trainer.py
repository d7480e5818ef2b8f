"""Lightning's Trainer from the config's `trainer`, and in one sentence what it cannot be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning as L
import torch

from featherpose.errors import PoseError
from featherpose.settings import number, whole
from featherpose.targets import build
from featherpose.training.private import cpu_multiplies_bfloat16
from featherpose.training.schedules import FOREVER

LARGEST_SEED = 2**32 - 1  # NumPy's


def make_trainer(settings: Mapping[str, Any], **given: Any) -> L.Trainer:
    """The Trainer; `given` replaces settings and adds what is no setting: loggers and callbacks."""
    check(settings)
    try:
        return build(settings, **given)
    except PoseError:
        raise
    except Exception as error:  # Lightning's are of many kinds
        what = ", ".join(
            f"trainer.{key}={settings[key]}"
            for key in ("accelerator", "devices", "strategy", "precision")
            if settings.get(key) is not None
        )
        said = " ".join(str(error).split()).rstrip(".")
        raise PoseError(f"Lightning can't train with {what}: {said}.") from error


def check(settings: Mapping[str, Any]) -> None:
    """What Lightning takes without a word, or refuses only in the middle of an epoch or in words of its own."""
    clip, devices = settings.get("gradient_clip_val"), settings.get("devices")
    whole("trainer.accumulate_grad_batches", settings.get("accumulate_grad_batches", 1), least=1)
    if clip is not None:
        number("trainer.gradient_clip_val", clip, least=0)
    if isinstance(devices, int) and devices != -1:
        whole("trainer.devices", devices, least=1)
    if "num_nodes" in settings:
        whole("trainer.num_nodes", settings["num_nodes"], least=1)
    if settings.get("limit_train_batches") is not None:
        number("trainer.limit_train_batches", settings["limit_train_batches"], above=0)
    if settings.get("limit_val_batches") is not None:
        number("trainer.limit_val_batches", settings["limit_val_batches"], least=0)
    for key in ("max_epochs", "max_steps"):  # -1 leaves the end to the other, or to the clock
        if settings.get(key, FOREVER) not in (FOREVER, None):
            whole(f"trainer.{key}", settings[key], least=1)
    if settings.get("accelerator") in ("gpu", "cuda") and not torch.cuda.is_available():
        mps = settings["accelerator"] == "gpu" and torch.backends.mps.is_available()
        if not mps:
            raise PoseError(
                f"trainer.accelerator={settings['accelerator']}: this machine has no GPU that PyTorch can use "
                f"(torch {torch.__version__}); leave trainer=auto, or take trainer=cpu."
            )


def check_seed(seed: Any) -> int:
    return whole("seed", seed, least=0, most=LARGEST_SEED)


def precision(choice: str, accelerator: str) -> str:
    """`auto` is bfloat16 autocast where the hardware multiplies it natively, else float32.

    Weights, batch norm statistics, loss and decoding stay float32. Measured for LAPX at 128x128 on two AVX-512 cores:
    2.5 times the images per second; on CPUs without native bfloat16 it would be slower.
    """
    if choice != "auto":
        return choice
    if accelerator != "cpu" and torch.cuda.is_available():
        return (
            "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
        )
    return "bf16-mixed" if cpu_multiplies_bfloat16() else "32-true"
