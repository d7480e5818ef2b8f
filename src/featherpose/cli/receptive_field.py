"""`runs receptive-field`: the effective receptive fields of runs and of untrained networks, side by side."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from featherpose.errors import UsageError
from featherpose.evaluation import look
from featherpose.evaluation.receptive_field import (
    SHARES,
    Field,
    figure,
    receptive_field,
    settle,
)
from featherpose.place import CONF
from featherpose.runs.folder import find_run


@dataclass(frozen=True)
class Wish:
    """With what the networks are asked."""

    pictures: int = 8
    gamma: float | None = None  # of untrained networks


def write(networks: Sequence[str], root: Path, wish: Wish, out: Path) -> None:
    """The picture, and a line for each network."""
    if wish.pictures < 1:
        raise UsageError(f"--pictures takes a number of at least 1, not {wish.pictures}.")
    fields = [field_of(words, root, wish) for words in networks]
    for field in fields:
        height, width = field.gradient.shape
        within = ", ".join(f"{share:.0%} within {field.radius(share):.1f} px" for share in SHARES)
        far = f"{field.beyond:.1%} beyond a quarter of the crop"
        print(f"{field.name}: {within}, {far} ({height}x{width})")
    out.parent.mkdir(parents=True, exist_ok=True)
    figure(fields).savefig(out, dpi=150)
    print(out)


def field_of(words: str, root: Path, wish: Wish) -> Field:
    """Of a network's name with its settings, as 'lapx model.stages=2', or of a run's best checkpoint."""
    chosen = _choice(words)
    if chosen is not None:
        return _of_name(words, chosen, wish)
    run = find_run(words, root)
    trained = look.load_network(run)
    data = look.load_data(run.config, trained)
    images = look.batch_of(data.val_dataset(), wish.pictures)["image"]
    return Field(run.name, receptive_field(trained.network, images))


def _choice(words: str) -> list[str] | None:
    """The overrides that compose an untrained network; None of a run."""
    name, *overrides = shlex.split(words) or [""]
    for group in ("model", "experiment"):
        if name and any((conf / group / f"{name}.yaml").is_file() for conf in (Path("conf"), CONF)):
            natural = ["data.input_size=null"] if group == "model" else []
            return [f"{group}={name}", *natural, *overrides]
    if overrides:
        raise UsageError(
            f"There is no network or experiment {name} to take {' '.join(overrides)}: "
            "settings are for untrained networks, a run has its own."
        )
    return None


def _of_name(words: str, overrides: list[str], wish: Wish) -> Field:
    """An untrained network is asked with painted people: of white noise deep layers see the mean alone."""
    import torch

    from featherpose.benchmarks.sizes import composed
    from featherpose.models.network import natural_height_of
    from featherpose.overrides.as_dict import as_dict
    from featherpose.targets import build

    cfg = composed(overrides)
    torch.manual_seed(0)
    network = build(as_dict(cfg.model))
    natural = natural_height_of(network)
    height, width = cfg.data.input_size or (natural, round(natural * cfg.data.get("aspect", 1.0)))
    size = f"data.input_size=[{height},{width}]"
    painted = composed(["data=synthetic", f"data.people.val={wish.pictures}", size]).data
    data = build(as_dict(painted), augment=None)
    images = look.batch_of(data.val_dataset(), wish.pictures)["image"]
    settle(network, images, wish.gamma)
    return Field(f"{words}, untrained", receptive_field(network, images))
