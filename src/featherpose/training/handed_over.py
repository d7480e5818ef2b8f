"""What Lightning hands to callbacks, where its own types say less than is there."""

from __future__ import annotations

from typing import Any, TypeVar

from lightning import Callback, Trainer

Kind = TypeVar("Kind", bound=Callback)


def data_of(trainer: Trainer) -> Any:
    """The data module; None where it trains on bare loaders."""
    return getattr(trainer, "datamodule", None)


def callbacks_of(trainer: Trainer, kind: type[Kind]) -> list[Kind]:
    """Those of one kind, in their order."""
    callbacks: list[Callback] = getattr(trainer, "callbacks", [])
    return [each for each in callbacks if isinstance(each, kind)]
