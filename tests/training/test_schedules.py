"""Schedules without a Trainer: the papers' numbers, epoch by epoch."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from featherpose.errors import PoseError
from featherpose.training.schedules import Gamma, Schedule, gamma_at, phase, warmup_factor

SCHEDULES = Path(__file__).resolve().parents[2] / "conf" / "schedule"


def schedule(paper: str, data: str, **changed: object) -> Schedule:
    cfg = OmegaConf.create(
        {
            "data": {"name": data},
            "schedule": OmegaConf.merge(
                *(OmegaConf.load(SCHEDULES / f"{file}.yaml") for file in ("_base", paper))
            ),
        }
    )
    for key, value in changed.items():
        OmegaConf.update(cfg, f"schedule.{key}", value)
    return Schedule.of(OmegaConf.to_container(cfg, resolve=True)["schedule"])


def rates(of: Schedule, *at: int) -> list[float]:
    return [of.first_rate * of.factor(i) for i in at]


def test_lapx_on_mpii_halves_at_its_four_milestones() -> None:
    mpii = schedule("lapx", "mpii")
    assert mpii.epochs == 200
    assert mpii.batch_size == 32
    expected = [3e-4, 3e-4, 1.5e-4, 1.5e-4, 7.5e-5, 3.75e-5, 1.875e-5, 1.875e-5]
    assert rates(mpii, 0, 104, 105, 149, 150, 175, 190, 199) == pytest.approx(expected, rel=1e-12)


def test_lapx_on_coco_takes_two_fifths_three_times() -> None:
    coco = schedule("lapx", "coco")
    assert coco.epochs == 210
    assert rates(coco, 0, 120, 160, 190) == pytest.approx([2e-4, 8e-5, 3.2e-5, 1.28e-5], rel=1e-12)


def test_le_hrnet_decays_tenfold() -> None:
    coco, mpii = schedule("le_hrnet", "coco"), schedule("le_hrnet", "mpii")
    assert (coco.epochs, coco.batch_size, mpii.epochs, mpii.batch_size) == (
        300,
        16,
        210,
        8,
    )
    assert rates(coco, 119, 120, 170, 200, 260) == pytest.approx(
        [1e-3, 1e-4, 1e-5, 1e-6, 1e-7], rel=1e-12
    )
    assert rates(mpii, 169, 170, 200) == pytest.approx([1e-3, 1e-4, 1e-5], rel=1e-12)


def test_repose_counts_steps() -> None:
    steps = schedule("repose", "lsp_mpii")
    assert (steps.unit, steps.steps, steps.batch_size) == ("step", 2_000_000, 64)
    assert rates(steps, 999_999, 1_000_000, 1_300_000) == pytest.approx(
        [1e-3, 5e-4, 1e-6], rel=1e-12
    )


@pytest.mark.parametrize("paper", ["lapx", "le_hrnet", "repose", "quick"])
@pytest.mark.parametrize("data", ["mpii", "coco", "lsp", "lspet", "lsp_mpii", "synthetic", "mine"])
def test_every_paper_has_a_row_for_every_data_and_its_rate_only_falls(
    paper: str, data: str
) -> None:
    of = schedule(paper, data)
    found = rates(of, *range(0, of.length, max(1, of.length // 200)))
    assert found[0] == of.learning_rate
    assert all(a >= b for a, b in pairwise(found))
    assert found[-1] < found[0]


def test_shares_follow_the_length_of_the_run() -> None:
    assert rates(schedule("quick", "mpii", epochs=10), 5, 6, 8) == pytest.approx([1e-3, 3e-4, 9e-5])
    assert rates(schedule("quick", "mpii", epochs=100), 59, 60, 85) == pytest.approx(
        [1e-3, 3e-4, 9e-5]
    )


def test_the_rate_follows_the_batch_only_where_a_reference_is_given() -> None:
    assert rates(schedule("lapx", "mpii", batch_size=128), 0) == [3e-4]
    assert rates(schedule("lapx", "mpii", batch_size=128, reference_batch=32), 0) == pytest.approx(
        [1.2e-3]
    )


@pytest.mark.parametrize("milestones", [{}, {"milestones": None}, {"milestones": []}])
def test_without_milestones_the_rate_stays(milestones: dict[str, object]) -> None:
    constant = Schedule.of({"epochs": 5, "learning_rate": 2e-3, **milestones})
    assert [constant.factor(at) for at in (0, 4, 1000)] == [1, 1, 1]
    assert constant.beyond_the_end() is None


def test_warmup_is_a_line_up_to_one() -> None:
    assert [warmup_factor(i, 4) for i in range(6)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])
    assert warmup_factor(0, 0) == 1.0
    assert rates(schedule("lapx", "mpii", warmup=1), 0, 1) == pytest.approx([1.5e-4, 3e-4])


def test_gamma_is_frozen_then_a_line_then_its_own() -> None:
    at = {
        epoch: gamma_at(epoch, freeze=30, ramp=50, target=0.2)
        for epoch in (0, 29, 30, 31, 55, 79, 80, 199)
    }
    assert at == pytest.approx(
        {0: 0.0, 29: 0.0, 30: 0.0, 31: 0.004, 55: 0.1, 79: 0.196, 80: None, 199: None}
    )
    assert [phase(e, 30, 50) for e in (0, 29, 30, 79, 80)] == [
        "frozen",
        "frozen",
        "ramp",
        "ramp",
        "free",
    ]


def test_without_freeze_and_ramp_gamma_is_free_at_once() -> None:
    assert phase(0, 0, 0) == "free"
    assert gamma_at(0, 0, 0, 0.2) is None


def test_phases_as_shares_of_the_run() -> None:
    assert Gamma(0.2, 0.15, 0.25, "share").in_epochs(200) == (30, 50)
    assert Gamma(0.2, 30, 50).in_epochs(12) == (30, 50)


WRONG = {
    "epochs": [
        ("three", "whole number"),
        (1.5, "whole number"),
        (0, "at least 1"),
        (-2, "at least 1"),
    ],
    "batch_size": [(0, "at least 1"), (-4, "at least 1")],
    "learning_rate": [
        ("abc", "above 0"),
        (-1, "above 0"),
        (float("nan"), "is nan"),
        (None, "e.g."),
    ],
    "reference_batch": [(0, "above 0")],
    "milestones": [
        ([5, 3], "has to rise"),
        ([5, 5], "has to rise"),
        ([-1], "above 0"),
        (3, "a list of numbers"),
    ],
    "factors": [([0.5], "1 numbers for 4 milestones"), (0, "above 0"), ("half", "above 0")],
    "warmup": [(-3, "at least 0")],
    "validate_every": [(0, "at least 1")],
    "unit": [("epochs", "known: epoch, step")],
    "gamma": [
        ({"target": -1}, r"schedule\.gamma\.target is -1"),
        ({"target": 0.2, "freeze": -1}, r"schedule\.gamma\.freeze is -1"),
        ({"target": 0.2, "unit": "days"}, "known: epochs, share"),
        ({"target": 0.2, "freeze": 0.8, "ramp": 0.4, "unit": "share"}, "together at most 1"),
        ({"freeze": 1}, "says target"),
        (3, "says target"),
    ],
}


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [(key, value, words) for key, wrong in WRONG.items() for value, words in wrong],
)
def test_a_wrong_setting_is_refused_in_one_sentence(key: str, value: object, words: str) -> None:
    given = {"epochs": 200, "learning_rate": 1e-3, "milestones": [105, 150, 175, 190]}
    with pytest.raises(PoseError, match=words):
        Schedule.of({**given, key: value})


def test_shares_need_the_runs_length_in_their_unit() -> None:
    given = {"epochs": 9, "learning_rate": 1e-3, "unit": "step", "milestones": [0.5]}
    with pytest.raises(PoseError, match=r"shares of the run, .* set schedule\.steps"):
        Schedule.of(given)
    assert Schedule.of({**given, "milestones": [50]}).factor(50) == pytest.approx(0.1)


def test_a_run_by_the_clock_has_no_end_of_its_own() -> None:
    endless = Schedule.of({"epochs": -1, "learning_rate": 1e-3, "milestones": [0.5, 9]})
    assert endless.endless and endless.beyond_the_end() is None
    assert endless.factor(10**9) == pytest.approx(0.1), "the share is never reached, the ninth is"


def test_steps_may_be_written_short() -> None:
    short = Schedule.of({"unit": "step", "steps": 1e5, "learning_rate": 1e-3})
    assert repr(short.length) == "100000"


def test_a_paper_cut_short_is_told_once_what_is_never_reached() -> None:
    said = schedule("lapx", "mpii", epochs=150, warmup=200).beyond_the_end()
    assert said is not None
    assert "ends after 150 epochs, before milestone 150, milestone 175, milestone 190" in said
    assert "the warm-up, 200, are reached" in said
    assert schedule("lapx", "mpii").beyond_the_end() is None
    assert schedule("quick", "mpii", epochs=1).beyond_the_end() is None, "shares follow the run"
    one = schedule("lapx", "mpii", epochs=1, milestones=[1]).beyond_the_end()
    assert one is not None and "after 1 epoch, before milestone 1 is reached" in one


COSINE = {"_target_": "torch.optim.lr_scheduler.CosineAnnealingLR", "T_max": 10, "eta_min": 1e-5}


def test_torchs_schedulers_give_their_own_rates() -> None:
    """Step by step the same as the scheduler on a real optimiser; behind a warm-up that multiplies them."""
    optimiser = torch.optim.AdamW([torch.zeros(1)], lr=1e-3)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=10, eta_min=1e-5)
    optimiser.step()
    ours = Schedule.of({"epochs": 10, "learning_rate": 1e-3, "rate": COSINE})
    warm = Schedule.of({"epochs": 10, "learning_rate": 1e-3, "rate": COSINE, "warmup": 3})
    for at in range(11):
        expected = optimiser.param_groups[0]["lr"]
        assert 1e-3 * ours.factor(at) == pytest.approx(expected, rel=1e-12)
        assert warm.factor(at) == ours.factor(at) * warmup_factor(at, 3)
        theirs.step()


def test_a_rate_is_the_same_wherever_a_run_goes_on() -> None:
    given = {"epochs": 10, "learning_rate": 1e-3, "rate": COSINE}
    whole = [Schedule.of(given).factor(at) for at in range(10)]
    assert Schedule.of(given).factor(7) == whole[7]


@pytest.mark.parametrize(
    "length",
    [{"epochs": 8}, {"unit": "step", "steps": 8}, {"unit": "step", "steps": 8, "epochs": 2}],
)
def test_a_cosine_is_as_long_as_the_run_whatever_counts_it(length: dict[str, object]) -> None:
    cosine = schedule("cosine_adamw", "mpii", warmup=0, **length)
    factors = [cosine.factor(at) for at in range(9)]
    assert factors == pytest.approx([(1 + math.cos(math.pi * at / 8)) / 2 for at in range(9)])
    with pytest.raises(
        PoseError, match=r"rate\.T_max is the run's length, whose steps are not said"
    ):
        schedule("cosine_adamw", "mpii", unit="step")
    longer = Schedule.of({"epochs": 8, "learning_rate": 1e-3, "rate": COSINE})
    assert "before the end of schedule.rate, 10, is reached" in str(longer.beyond_the_end())
    schedule("cosine_adamw", "mpii", epochs=-1, rate={**COSINE, "T_max": None})  # by the clock


def test_a_cycle_that_is_shorter_than_the_run_is_told() -> None:
    cycle = {"_target_": "torch.optim.lr_scheduler.OneCycleLR", "max_lr": 0.01, "total_steps": 8}
    schedule = Schedule.of({"unit": "step", "steps": 8, "learning_rate": 1e-3, "rate": cycle})
    factors = [schedule.factor(at) for at in range(8)]
    assert 9 < max(factors) <= 10 and factors[0] == pytest.approx(10 / 25)
    with pytest.raises(PoseError, match=r"schedule\.rate is at its end after 8"):
        schedule.factor(9)


@pytest.mark.parametrize(
    ("rate", "sentence"),
    [
        ({"_target_": "os.system", "command": "true"}, "it has to be one of torch.optim"),
        ({"_target_": "torch.optim.lr_scheduler.Nothing"}, "it has to be one of torch.optim"),
        ({"_target_": "torch.optim.lr_scheduler.ReduceLROnPlateau"}, "needs only numbers"),
        ({"_target_": "torch.optim.lr_scheduler.CosineAnnealingLR"}, "T_max"),
        ({**COSINE, "T_max": "ten"}, r"schedule\.rate\.T_max is ten"),
        ({**COSINE, "T_max": -1}, r"schedule\.rate\.T_max is -1"),
    ],
)
def test_a_rate_that_is_none_is_refused_in_one_sentence(rate: dict, sentence: str) -> None:
    with pytest.raises(PoseError, match=sentence):
        Schedule.of({"epochs": 10, "learning_rate": 1e-3, "rate": rate})
