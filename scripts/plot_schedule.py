"""Draws a schedule: learning rate and gamma over the epochs.

python scripts/plot_schedule.py lapx data=mpii out=schedule.png
python scripts/plot_schedule.py lapx schedule.gamma.freeze=10 schedule.epochs=100

The first word is a schedule, a file of conf/schedule; all others are overrides as train.py takes them.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import matplotlib

matplotlib.use("Agg")
from hydra import compose, initialize_config_dir
from matplotlib import pyplot as plt
from omegaconf import OmegaConf

from featherpose.cli.app import CONF, report
from featherpose.errors import UsageError
from featherpose.training.schedules import Gamma, Schedule, gamma_at, phase

PHASES = {"frozen": "#d7dbe2", "ramp": "#f3e2b3", "free": "#d9ecd9"}


def main(words: list[str]) -> None:
    flags = [word for word in words if word.startswith("-")]
    if flags:
        raise UsageError(f"There is no option {flags[0]}; see plot_schedule.py --help.")
    out = next(
        (word.partition("=")[2] for word in words if word.startswith("out=")), "schedule.png"
    )
    words = [
        word if "=" in word else f"schedule={word}" for word in words if not word.startswith("out=")
    ]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", [*words, "logger=none"])
    schedule = Schedule.of(OmegaConf.to_container(cfg.schedule, resolve=True))
    total, unit = schedule.length, schedule.unit
    at = range(0, total, max(1, total // 1000))
    figure, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
    rates = [schedule.first_rate * schedule.factor(i) for i in at]
    axes.step(at, rates, where="post", color="#1f4e79", label="learning rate")
    axes.set(yscale="log", xlabel=f"{unit}s", ylabel="learning rate", xlim=(0, total))
    axes.set_title(f"{cfg.schedule.name} on {cfg.data.name}, batch {schedule.batch_size}")
    if schedule.gamma and unit == "epoch":
        draw_gamma(axes, schedule.gamma, total)
    figure.savefig(out, dpi=150)
    print(out)


def draw_gamma(axes: plt.Axes, gamma: Gamma, epochs: int) -> None:
    """The line that the schedule sets, up to where gamma is learned; the phases as background."""
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


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv[1:]):
        sys.exit(print(__doc__))
    try:
        main(sys.argv[1:] or ["lapx", "data=mpii"])
    except Exception as error:
        sys.exit(report(error))
