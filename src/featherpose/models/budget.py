"""How wide a stacked hourglass may be: the paper trades stages against channels within one parameter budget."""

from __future__ import annotations

from itertools import count

BUDGET = 2_300_000  # parameters of the plain network with 16 joints (LAPX, Table 3: "2.30M")


def plain_parameters(stages: int, channels: int, joints: int = 16, depth: int = 4) -> int:
    """Parameters of the hourglass network without attention and soft gates, without building it."""

    def block(inputs: int, outputs: int) -> int:
        middle = outputs // 2
        convolutions = inputs * middle + 9 * middle + middle * outputs + outputs
        skip = 0 if inputs == outputs else inputs * outputs + outputs
        return convolutions + skip + 2 * (inputs + 2 * middle)

    c = channels
    stem = 3 * 49 * (c // 4) + 2 * (c // 4) + block(c // 4, c // 2) + block(c // 2, c) + block(c, c)
    stage = (3 * depth + 2) * block(c, c) + c * c + 2 * c + joints * (c + 1)
    between = c * c + c + joints * c + c
    return stem + stages * stage + (stages - 1) * between


def channels_for(stages: int) -> int:
    """The largest multiple of 4 whose plain network fits the budget: 256, 208, 180, 160 for 2, 3, 4, 5 stages."""
    return next(c - 4 for c in count(8, 4) if plain_parameters(stages, c) > BUDGET)
