"""A budget that a network has to keep before an epoch is spent on it."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from statistics import median
from typing import Any

import torch

from featherpose.errors import BrokenOff, PoseError
from featherpose.models.count import count
from featherpose.models.network import PoseNetwork
from featherpose.runs.record import OVER_BUDGET, NetworkFacts
from featherpose.settings import number
from featherpose.targets import build

PASSES = 5  # of which the median counts, after one to warm up: about a second for LAPX at 256x192
LEAST, STEP, MOST = 16, 4, 1024  # what is solved for: from the first to the last in such steps


@dataclass(frozen=True)
class Budget:
    """Limits, `search.budget`; None: none."""

    params: float | None = None
    macs: float | None = None
    ms: float | None = None

    def __post_init__(self) -> None:
        for name, limit in self.given().items():
            number(f"search.budget.{name}", limit, above=0)

    def given(self) -> dict[str, float]:
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: limit for name, limit in found.items() if limit is not None}

    def broken(self, used: Mapping[str, float | None], what: str) -> str | None:
        """The first limit that is not kept, in a sentence."""
        for name, limit in self.given().items():
            value = used.get(name)
            if value is not None and value > limit:
                most = in_words(name, limit)
                return f"{what} has {in_words(name, value)}; search.budget.{name} allows {most}."
        return None


def in_words(name: str, value: float) -> str:
    unit, word = {"params": (1e6, "M parameters"), "macs": (1e9, " G MACs"), "ms": (1, " ms")}[name]
    return f"{value / unit:.4g}{word}"


def keep(
    search: Mapping[str, Any], network: PoseNetwork, size: Sequence[int], counted: NetworkFacts
) -> dict[str, float]:
    """What the record gets of a network's time, where it was asked for; one beyond its budget ends the run here."""
    budget = Budget(**search["budget"])
    used: dict[str, float | None] = {"params": counted.parameters, "macs": counted.macs}
    refuse(budget.broken(used, "the network"))
    if budget.ms is None and not search["measure"]:
        return {}
    spent = milliseconds(network, size)
    refuse(budget.broken({"ms": spent}, "one picture"))
    return {"ms": round(spent, 2)}


def refuse(why: str | None) -> None:
    if why:
        raise BrokenOff(OVER_BUDGET, why)


def milliseconds(network: PoseNetwork, size: Sequence[int]) -> float:
    """CPU time of one picture in torch at one thread, which is wall time on a quiet machine."""
    network = copy.deepcopy(network).cpu().eval()
    picture = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # values of untrained networks may vanish, and would cost more
    try:
        with torch.inference_mode():
            return 1000 * median([seconds(network, picture) for _ in range(PASSES + 1)][1:])
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(threads)


def seconds(network: PoseNetwork, picture: torch.Tensor) -> float:
    began = time.process_time()
    network(picture)
    return time.process_time() - began


def solve(config: dict[str, Any]) -> None:
    """Sets `model.<search.solve>` to the largest multiple of 4 whose network keeps the budget."""
    key, budget = config["search"]["solve"], Budget(**config["search"]["budget"])
    if key is None:
        return
    model, size = config["model"], config["data"]["input_size"]
    if key not in model:
        raise PoseError(
            f"search.solve={key}: this model has no such key; it has {', '.join(model)}."
        )
    if budget.params is None and budget.macs is None:
        raise PoseError(
            f"search.solve={key} needs search.budget.params or search.budget.macs to solve for."
        )
    if budget.macs is not None and size is None:
        raise PoseError(f"search.solve={key} by MACs needs data.input_size=[height,width].")
    least = used_by({**model, key: LEAST}, size, budget)
    refuse(budget.broken(least, f"even with {key}={LEAST} the network"))
    low, high = LEAST // STEP, MOST // STEP  # in steps; low keeps the budget
    while low < high:
        middle = (low + high + 1) // 2
        fits = budget.broken(used_by({**model, key: middle * STEP}, size, budget), "") is None
        low, high = (middle, high) if fits else (low, middle - 1)
    model[key] = low * STEP


def used_by(model: Mapping[str, Any], size: Any, budget: Budget) -> dict[str, float | None]:
    """On the meta device: shapes only."""
    with torch.device("meta"):
        network = build(model)
    counted = count(network, *size).convolution_macs if budget.macs is not None else None
    return {"params": sum(each.numel() for each in network.parameters()), "macs": counted}
