"""What Optuna keeps of a search: `search.journal` in the sweep's folder, which only remembers what was proposed.

How a job stands is in its own folder, as with every sweep; the journal learns it once, when the job has ended.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from featherpose.errors import UsageError
from featherpose.runs.journal import storage
from featherpose.runs.sweep_folder import JOURNAL, STUDY
from featherpose.sweeps.space import Point, Space

SAMPLERS = ("tpe", "random", "grid", "nsga2")
OPEN = TrialState.RUNNING  # proposed, and nobody has told yet how it ended
CLOSED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
ASKED = "asked"  # under this name the study keeps what it was asked for


# It would tell of every trial, and that parts of it may change
optuna.logging.set_verbosity(optuna.logging.WARNING)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


def open_study(folder: Path, directions: Sequence[Literal["maximize", "minimize"]]) -> Study:
    """The study of a sweep's folder, made where there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    return optuna.create_study(
        study_name=STUDY,
        storage=storage(folder / JOURNAL),
        directions=list(directions),
        load_if_exists=True,
    )


def asked(path: Path) -> dict[str, Any] | None:
    """What a search was asked for, by its journal."""
    found = {each.study_name: each for each in optuna.get_all_study_summaries(storage(path))}
    return found[STUDY].user_attrs.get(ASKED) if STUDY in found else None


def refuse_another(study: Study, wanted: dict[str, Any]) -> None:
    """A search goes on with the space that it began with; how many trials and jobs may change."""
    before = study.user_attrs.get(ASKED)
    if before is None:
        study.set_user_attr(ASKED, wanted)
    elif before != wanted:
        then = " ".join(before["space"])
        raise UsageError(
            f"That search was of other jobs ({then}): give the same overrides as then; what may change "
            "is hydra.sweeper.n_trials and n_jobs, the sampler, and the launcher."
        )


def started(study: Study) -> list[FrozenTrial]:
    """All that was proposed, without the points that still wait for their turn."""
    return [each for each in study.get_trials(deepcopy=False) if each.state != TrialState.WAITING]


def sampler_of(kind: str, seed: int, number: int, trials: int) -> optuna.samplers.BaseSampler:
    """A fresh sampler for each proposal: a search that was killed goes on as one that was not."""
    own = int(np.random.SeedSequence((seed, number)).generate_state(1)[0])
    if kind == "tpe":
        return optuna.samplers.TPESampler(seed=own, constant_liar=True)
    if kind == "nsga2":
        size = max(4, min(50, trials // 5))  # five generations, of the customary 50 at most
        return optuna.samplers.NSGAIISampler(seed=own, population_size=size)
    if kind in SAMPLERS:  # the points of a grid wait in the study
        return optuna.samplers.RandomSampler(seed=own)
    raise UsageError(f"There is no hydra.sweeper.sampler={kind}. Known: {', '.join(SAMPLERS)}.")


def begin(study: Study, space: Space, first: Mapping[str, Any], grid: bool) -> None:
    """Points that come before what a sampler proposes; said twice they are there once."""
    if first:
        study.enqueue_trial(space.read(first), skip_if_exists=True)
    for point in space.grid() if grid else []:
        study.enqueue_trial(space.read(point), skip_if_exists=True)


def propose(study: Study, sampler: optuna.samplers.BaseSampler) -> None:
    """One more trial; `complete` decides its values."""
    study.sampler = sampler
    study.ask()


def complete(
    study: Study, space: Space, number: int, sampler: optuna.samplers.BaseSampler
) -> Point:
    """The point of an open trial. What was decided before a kill stays, the rest is decided now."""
    study.sampler = sampler
    frozen = study.get_trials(deepcopy=False)[number]
    return space.suggest(Trial(study, frozen._trial_id))


def twins(study: Study, space: Space, point: Point, number: int) -> list[FrozenTrial]:
    """Earlier proposals of the same point."""
    earlier = study.get_trials(deepcopy=False)[:number]
    return [each for each in earlier if space.point_of(each.params) == point]
