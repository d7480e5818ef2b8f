"""Parts of a network by name, and the optimiser's groups that they make: rates of their own, no weight decay."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn

from featherpose.errors import PoseError
from featherpose.settings import number

HEADS = (
    "heatmaps",
    "final_layer",
    "places",
)  # the layers that give an output, in every network here


def is_of(name: str, part: str) -> bool:
    """Whether an entry or a module lies in a part: `stem`, `stages.0`, a glob, `trunk` or `heads`."""
    if part in ("trunk", "heads"):
        return any(word in HEADS for word in name.split(".")) == (part == "heads")
    return name == part or name.startswith(f"{part}.") or fnmatchcase(name, part)


def check_parts(network: nn.Module, parts: Iterable[str], key: str) -> None:
    """Each part has at least one parameter."""
    names = [name for name, _ in network.named_parameters()]
    for part in parts:
        if not any(is_of(name, part) for name in names):
            known = ", ".join(name for name, _ in network.named_children())
            raise PoseError(
                f"{key}: this {type(network).__name__} has no part {part!r}; it has {known}, "
                "and trunk and heads stand for all but its last layers and for these."
            )


def parameter_groups(
    network: nn.Module,
    rate: float,
    no_decay: bool = False,
    part_rates: Mapping[str, float] | None = None,
) -> list[dict[str, Any]]:
    """The optimiser's groups, each with its `name`; one group alone where nothing is asked for.

    Args:
        network: whose parameters are trained.
        rate: the learning rate of all that has none of its own.
        no_decay: no weight decay on norms, biases, gates and gamma.
        part_rates: what the rate is multiplied by, a part; of several that fit the last one counts.
    """
    part_rates = dict(part_rates or {})
    for part, factor in part_rates.items():
        number(f"schedule.part_rates.{part}", factor, above=0)
    check_parts(network, part_rates, "schedule.part_rates")
    found: dict[str, dict[str, Any]] = {}
    for name, parameter in network.named_parameters():
        part = next((p for p in reversed(part_rates) if is_of(name, p)), "")
        bare = no_decay and is_single(parameter)
        group = f"{part or 'network'}{', no decay' if bare else ''}"
        keys = {"name": group, "params": [], "lr": rate * part_rates.get(part, 1.0)}
        entry = found.setdefault(group, keys | ({"weight_decay": 0.0} if bare else {}))
        entry["params"].append(parameter)
    return list(found.values())


def is_single(parameter: Tensor) -> bool:
    """One number, or one a channel: scales and biases, gates (alpha, an ECA's kernel) and gamma."""
    return parameter.numel() == max(parameter.shape, default=1)
