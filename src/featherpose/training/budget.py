"""A budget that a network has to keep before an epoch is spent on it."""

from __future__ import annotations

import copy
import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from featherpose.errors import BrokenOff, PoseError
from featherpose.models.count import count
from featherpose.models.network import PoseNetwork
from featherpose.runs.record import OVER_BUDGET, NetworkFacts
from featherpose.settings import number
from featherpose.targets import build
from featherpose.training.width import on_meta, width_of, widths

START, TRIES = 16, 8  # of widths that are timed: the first one's place, and how many at most
NEAR = 0.95  # of a limit in milliseconds is close enough


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


Clock = Callable[[PoseNetwork], float]
"""Milliseconds of one picture in the graph that `export` would write."""


def keep(
    search: Mapping[str, Any],
    network: PoseNetwork,
    counted: NetworkFacts,
    clock: Clock,
    known: float | None = None,
) -> dict[str, float]:
    """What the record gets of a network's time, where it was asked for; one beyond its budget ends the run here.

    Args:
        search: conf/search.
        network: as it is before its first step.
        counted: its size.
        clock: measures it.
        known: what `solve` has measured.
    """
    budget = Budget(**search["budget"])
    used: dict[str, float | None] = {"params": counted.parameters, "macs": counted.macs}
    refuse(budget.broken(used, "the network"))
    if budget.ms is None and not search["measure"]:
        return {}
    spent = clock(network) if known is None else known
    refuse(budget.broken({"ms": spent}, "one picture"))
    return {"ms": round(spent, 2)}


def refuse(why: str | None) -> None:
    if why:
        raise BrokenOff(OVER_BUDGET, why)


def solve(config: dict[str, Any], clock: Clock, solved: Any = None) -> float | None:
    """Sets `model.<search.solve>` to the widest whose network keeps the budget; gives its milliseconds if measured.

    Args:
        config: of the run; `search.solve` becomes the name of the key in it.
        clock: measures a network.
        solved: what this very run has found before, which stays.
    """
    key, budget = config["search"]["solve"], Budget(**config["search"]["budget"])
    if key is None:
        return None
    model, size = config["model"], config["data"]["input_size"]
    key = width_of(model) if key == "width" and key not in model else key
    config["search"]["solve"] = key
    if solved is not None:
        model[key] = solved
        return None
    refuse_what_cannot_be_solved(key, model, size, budget)
    values = widths(model, key)

    def over(index: int) -> str | None:
        used = used_by({**model, key: values[index]}, size, budget)
        return budget.broken(used, f"even with {key}={values[0]} the network")

    refuse(over(0))
    low, high = 0, len(values) - 1  # low keeps the budget
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if over(middle) is None else (low, middle - 1)
    model[key] = values[low]
    if budget.ms is None:
        return None
    model[key], spent = widest_in_time(model, key, values[: low + 1], size, budget.ms, clock)
    return spent


def refuse_what_cannot_be_solved(
    key: str, model: Mapping[str, Any], size: Any, budget: Budget
) -> None:
    if key not in model:
        raise PoseError(
            f"search.solve={key}: this model has no such key; it has {', '.join(model)}."
        )
    if not budget.given():
        raise PoseError(
            f"search.solve={key} needs a search.budget to solve for: params, macs or ms."
        )
    if size is None and (budget.macs is not None or budget.ms is not None):
        raise PoseError(f"search.solve={key} by MACs or ms needs data.input_size=[height,width].")


def widest_in_time(
    model: Mapping[str, Any],
    key: str,
    values: Sequence[Any],
    size: Sequence[int],
    limit: float,
    clock: Clock,
) -> tuple[Any, float]:
    """A width whose measured time is at most the limit and within a few percent of it, and that time.

    Each measurement says by the MACs where to look next: four are usual.
    """

    def macs(index: int) -> int:
        return count(on_meta({**model, key: values[index]}), *size).convolution_macs

    low, high = -1, len(values)  # low keeps the limit, high does not
    found: tuple[Any, float] | None = None
    least: float = math.inf
    index = min(len(values) - 1, START)
    for _ in range(TRIES):
        spent = clock(build(copy.deepcopy({**model, key: values[index]})))
        least = min(least, spent)
        if spent <= limit:
            low, found = index, (values[index], spent)
        else:
            high = index
        if high - low <= 1 or limit * NEAR <= spent <= limit:
            break
        wanted = macs(index) * limit * (1 + NEAR) / 2 / spent
        index = bisect_left(range(low + 1, high), wanted, key=macs) + low
        index = min(max(index, low + 1), high - 1)
    if found is None:
        refuse(
            f"even with {key}={values[high]} one picture has {in_words('ms', least)}; "
            f"search.budget.ms allows {in_words('ms', limit)}."
        )
    assert found is not None
    return found


def used_by(model: Mapping[str, Any], size: Any, budget: Budget) -> dict[str, float | None]:
    """On the meta device: shapes only."""
    network = on_meta(model)
    counted = count(network, *size).convolution_macs if budget.macs is not None else None
    return {"params": sum(each.numel() for each in network.parameters()), "macs": counted}
