"""Draws a schedule: learning rate and gamma over the epochs."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featherpose.errors import PoseError, UsageError
from featherpose.place import CONF, command

if TYPE_CHECKING:
    from featherpose.training.schedules import Gamma

PHASES = {"frozen": "#d7dbe2", "ramp": "#f3e2b3", "free": "#d9ecd9"}


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="featherpose schedule",
        description=__doc__,
        epilog=f"examples:\n  {command('schedule lapx data=mpii out=schedule.png')}\n"
        f"  {command('schedule lapx schedule.gamma.freeze=0.1 schedule.epochs=100')}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        default=["lapx", "data=mpii"],
        help="one of conf/schedule, and any override; out=FILE says where the picture goes",
    )
    options = [word for word in words if word.startswith("-") and word not in ("-h", "--help")]
    if options:
        raise UsageError(
            f"There is no option {options[0]}; {command('schedule --help')} says more."
        )
    asked = parser.parse_args(words).overrides
    outs = [word.partition("=")[2] for word in asked if word.startswith("out=")]
    words = [word for word in asked if not word.startswith("out=")]
    print(draw([word if "=" in word else f"schedule={word}" for word in words], *outs))
    return 0


def draw(overrides: list[str], out: str | Path = "schedule.png") -> str | Path:
    import matplotlib

    matplotlib.use("Agg")
    from hydra import compose, initialize_config_dir
    from matplotlib import pyplot as plt
    from omegaconf import OmegaConf

    from featherpose.training.schedules import Schedule

    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", [*overrides, "logger=none"])
    settings: Any = OmegaConf.to_container(cfg.schedule, resolve=True)
    schedule = Schedule.of(settings)
    if schedule.endless:
        raise PoseError(
            "This schedule ends by the clock: set schedule.epochs or schedule.steps to draw it."
        )
    if math.isinf(schedule.length):
        raise PoseError(
            f"Nobody says how many {schedule.unit}s the run has: set schedule.{schedule.unit}s, or schedule.unit."
        )
    total, unit = int(schedule.length), schedule.unit
    at = range(0, total, max(1, total // 1000))
    figure, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
    rates = [schedule.first_rate * schedule.factor(i) for i in at]
    axes.step(at, rates, where="post", color="#1f4e79", label="learning rate")
    axes.set(yscale="log", xlabel=f"{unit}s", ylabel="learning rate", xlim=(0, total))
    axes.set_title(f"{cfg.schedule.name} on {cfg.data.name}, batch {schedule.batch_size}")
    if schedule.gamma and unit == "epoch":
        draw_gamma(axes, schedule.gamma, total)
    figure.savefig(out, dpi=150)
    plt.close(figure)
    return out


def draw_gamma(axes: Any, gamma: Gamma, epochs: int) -> None:
    """The line that the schedule sets, up to where gamma is learned; the phases as background."""
    from featherpose.training.schedules import gamma_at, phase

    freeze, ramp = gamma.in_epochs(epochs)
    ends = [("frozen", 0, freeze), ("ramp", freeze, freeze + ramp), ("free", freeze + ramp, epochs)]
    for name, start, end in ends:
        if end > start:
            axes.axvspan(start, min(end, epochs), color=PHASES[name], zorder=0, lw=0)
            axes.text(
                (start + min(end, epochs)) / 2,
                0.02,
                name,
                transform=axes.get_xaxis_transform(),
                ha="center",
            )
    right = axes.twinx()
    steps = [i * epochs / 500 for i in range(501)]
    shown = [
        (s, gamma_at(s, freeze, ramp, gamma.target))
        for s in steps
        if phase(s, freeze, ramp) != "free"
    ]
    right.plot(*zip(*shown, strict=True), color="#b3541e")
    right.plot(freeze + ramp, gamma.target, "o", color="#b3541e")
    right.set_ylim(0, max(gamma.target * 1.25, 0.01))
    right.set_ylabel("gamma set by the schedule", color="#b3541e")
