"""What Non-Local's gamma does in a trained network: the score, and how far a place sees, while gamma grows from 0."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from featherpose.data.datamodule import PoseDataModule
from featherpose.errors import PoseError
from featherpose.evaluation.by_network import score_sample
from featherpose.evaluation.receptive_field import Field, receptive_field
from featherpose.inference.checkpoints import Loaded, TorchBackend
from featherpose.inference.estimator import Estimator
from featherpose.models.layers import NonLocal

FACTORS = (0.0, 0.5, 1.0, 1.5, 2.0)


def modules(network: nn.Module) -> dict[str, NonLocal]:
    """The network's Non-Local modules by their names."""
    found = {name: each for name, each in network.named_modules() if isinstance(each, NonLocal)}
    if not found:
        raise PoseError(f"{type(network).__name__} has no Non-Local modules in this configuration.")
    return found


@contextmanager
def scaled(network: nn.Module, factor: float) -> Generator[None]:
    """Every gamma times a factor, for a while: 0 is the network without global context."""
    gammas = [module.gamma for module in modules(network).values()]
    kept = [gamma.detach().clone() for gamma in gammas]
    try:
        with torch.no_grad():
            for gamma in gammas:
                gamma.mul_(factor)
        yield
    finally:
        with torch.no_grad():
            for gamma, value in zip(gammas, kept, strict=True):
                gamma.copy_(value)


def scores(
    trained: Loaded, data: PoseDataModule, factors: Sequence[float] = FACTORS, most: int = 200
) -> pd.DataFrame:
    """The score on up to `most` validation people with every gamma times each factor; 1 is the network as trained."""
    estimator = Estimator(TorchBackend(trained, "cpu"))
    rows = {}
    for factor in factors:
        with scaled(trained.network, factor):
            found = score_sample(estimator, data, most)
        rows[factor] = {found.name: found.score, "persons": found.persons}
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("gamma times")
    return table.assign(mean_gamma=[_mean_gamma(trained.network) * f for f in factors])


def receptive_fields(
    network: nn.Module, images: Tensor, factors: Sequence[float] = FACTORS
) -> list[Field]:
    """The effective receptive field with every gamma times each factor, for `receptive_field.figure`."""
    fields = []
    for factor in factors:
        with scaled(network, factor):
            fields.append(Field(f"gamma x {factor:g}", receptive_field(network, images)))
    return fields


def _mean_gamma(network: nn.Module) -> float:
    return float(np.mean([module.gamma.item() for module in modules(network).values()]))
