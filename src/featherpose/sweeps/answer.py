"""What a search found, in plain words: the winner, its command, its config, and which settings mattered."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import yaml
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from featherpose.files import write_atomically
from featherpose.place import CONF, command
from featherpose.runs.folder import Run
from featherpose.runs.sweep_folder import ANSWER
from featherpose.sweeps.space import Point, Space

# What makes the trainings of a search short, and what only a search has
SHORT = ("debug=", "schedule.epochs=", "schedule.steps=", "trainer.limit_", "trainer.max_")
OF_A_SEARCH = ("callbacks=halving", "callbacks.halving.", "search.", "sweep=")
FINALISTS = 3  # of one objective
SEEDS = "0,1,2"  # that they are trained with
ENOUGH = 10  # scored trials, below which nothing is said about importance
PARTS = 5  # the importance without each fifth of the trials says how sure it is


@dataclass(frozen=True)
class Winner:
    """The best trial, and how it is trained in full."""

    number: int
    values: Sequence[float]
    point: Point
    words: tuple[str, ...]  # overrides of the whole training
    left_out: tuple[str, ...]  # what made the search's trainings short


def winners(study: Study, space: Space, folder: Path) -> list[Winner]:
    """The best one, or all that no other beats in every objective; none where nothing was scored."""
    if not any(each.state == TrialState.COMPLETE for each in study.get_trials(deepcopy=False)):
        return []
    best = [study.best_trial] if len(study.directions) == 1 else unlike(study.best_trials)
    return [winner(each, space, folder) for each in best]


def finalists(study: Study, space: Space, folder: Path) -> list[Winner]:
    """Those that a deviation over seeds should tell apart: the front of several objectives, of one the best few."""
    if len(study.directions) > 1:
        return winners(study, space, folder)
    # one that was pruned has a value too, of the epoch at which it ended
    scored = [each for each in study.get_trials() if each.state == TrialState.COMPLETE]
    best = sorted(scored, key=lambda each: (each.values or [0.0])[0], reverse=True)
    best = list({str(sorted(each.params.items())): each for each in reversed(best)}.values())
    return [winner(each, space, folder) for each in best[::-1][:FINALISTS]]


def unlike(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """One of each point, in the order of the second objective."""
    found = {str(sorted(each.params.items())): each for each in reversed(trials)}
    return sorted(found.values(), key=lambda each: (each.values or [])[1])


def winner(trial: FrozenTrial, space: Space, folder: Path) -> Winner:
    point = space.point_of(trial.params)
    kept = [each for each in space.overrides(point) if not each.startswith(OF_A_SEARCH)]
    kept += solved(folder, trial.number)
    short = tuple(each for each in kept if each.startswith(SHORT))
    words = tuple(each for each in kept if each not in short)
    return Winner(trial.number, trial.values or [], point, words, short)


def solved(folder: Path, number: int) -> list[str]:
    """What the budget decided in a job, which the training in full has to be told."""
    run = next((Run(path.parent) for path in folder.glob(f"{number}_*/run.json")), None)
    key = run.select("search.solve") if run else None
    return [f"model.{key}={run.select(f'model.{key}')}"] if run and key else []


def importance(study: Study) -> dict[str, tuple[float, float, float]]:
    """Each setting's share of how much the first objective varies (fANOVA).

    With the least and the largest of it without a fifth of the trials; empty where too few say anything.
    """
    trials = [each for each in study.get_trials() if each.state == TrialState.COMPLETE]
    if len(trials) < ENOUGH or len({(each.values or [0])[0] for each in trials}) < 2:
        return {}
    whole = shares(study, trials)
    parts = [
        shares(study, [t for i, t in enumerate(trials) if i % PARTS != n]) for n in range(PARTS)
    ]
    return {
        key: (share, *_ends([share, *(part[key] for part in parts if key in part)]))
        for key, share in whole.items()
    }


def _ends(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)


def shares(study: Study, trials: Sequence[FrozenTrial]) -> dict[str, float]:
    some = optuna.create_study(directions=study.directions)
    some.add_trials(trials)
    return get_param_importances(
        some,
        evaluator=FanovaImportanceEvaluator(n_trees=16, seed=0),
        target=lambda each: (each.values or [0.0])[0],
    )


def write(
    study: Study, space: Space, folder: Path, objectives: Sequence[str], loader: ConfigLoader | None
) -> str:
    """`answer.md` in the sweep's folder, and the winner as an experiment; gives the text."""
    found = winners(study, space, folder)
    if not found:
        states = [each.state for each in study.get_trials(deepcopy=False)]
        text = f"No trial of {len(states)} has a score: the table above says what became of them."
    else:
        best = found[0] if len(objectives) == 1 else max(found, key=lambda each: each.values[0])
        file = write_experiment(best, folder, loader)
        text = "\n".join(
            [
                *told(found, objectives),
                *all_the_same(study, objectives[0]),
                *how_to_train(best, file),
                *how_to_compare(finalists(study, space, folder), objectives, folder, loader),
                *what_mattered(study),
            ]
        )
    write_atomically(folder / ANSWER, text + "\n")
    return text


def told(found: Sequence[Winner], objectives: Sequence[str]) -> list[str]:
    lines = ["best:" if len(objectives) == 1 else "none is better than these in everything:"]
    for each in found:
        values = ", ".join(
            f"{name} {value:.6g}" for name, value in zip(objectives, each.values, strict=True)
        )
        lines.append(
            f"  #{each.number}  {values}  {' '.join(f'{k}={v}' for k, v in each.point.items())}"
        )
    return lines


def all_the_same(study: Study, objective: str) -> list[str]:
    """A line where the trials were too short to tell one from another."""
    scored = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    values = {(each.values or [0.0])[0] for each in scored}
    if len(scored) < 2 or len(values) > 1:
        return []
    return [
        f"all {len(scored)} have the same {objective}, {values.pop():.6g}: nothing says which is better; train longer"
    ]


def how_to_train(best: Winner, file: Path | None) -> list[str]:
    lines = [f"to train #{best.number} in full:"]
    lines.append("  " + " ".join([command("train"), *map(shlex.quote, best.words)]))
    if best.left_out:
        lines.append(f"  (without {' '.join(best.left_out)}, which made the search short)")
    if file is not None:
        lines.append(f"the same as a config, {file}:")
        lines.append("  " + " ".join([command("train"), *where(file), f"experiment={file.stem}"]))
    return lines


def where(file: Path) -> list[str]:
    """How Hydra is told of a config that does not lie in the user's own conf/."""
    conf = file.parents[1]
    return [] if conf == Path.cwd() / "conf" else ["--config-dir", shlex.quote(str(conf))]


def how_to_compare(
    found: Sequence[Winner], objectives: Sequence[str], folder: Path, loader: ConfigLoader | None
) -> list[str]:
    """The finalists in full over seeds, as one sweep of configs; nothing where there is but one."""
    named = [(each, f"finalist_{folder.name}_{each.number}") for each in found]
    files = [write_experiment(each, folder, loader, name) for each, name in named]
    written = [file for file in files if file is not None]
    if len(written) < 2 or len(written) < len(found):
        return []
    experiments = "experiment=" + ",".join(file.stem for file in written)
    words = [command("train"), "-m", *where(written[0]), experiments, f"seed={SEEDS}"]
    words += ["search.measure=true"] if "ms" in objectives else []
    numbers = " ".join(f"#{each.number}" for each in found)
    return [
        f"one training each says little: {numbers} in full over seeds:",
        "  " + " ".join(words),
        "whose mean and deviation `runs report` then shows",
    ]


def what_mattered(study: Study) -> list[str]:
    found = importance(study)
    if not found:
        return [
            f"which setting mattered: too few scored trials to say (it takes {ENOUGH} that differ)"
        ]
    lines = [
        "which setting mattered (share of what the scores vary; from to without a fifth of the trials):"
    ]
    for key, (share, low, high) in sorted(found.items(), key=lambda each: -each[1][0]):
        lines.append(f"  {share:4.0%}  {low:.0%} to {high:.0%}  {key}")
    return lines


def write_experiment(
    best: Winner, folder: Path, loader: ConfigLoader | None, name: str | None = None
) -> Path | None:
    """An experiment where the user stands, `winner_SWEEP` or of another name; in the program's own checkout in the
    sweep's folder.

    None where an override is of a kind that a config cannot say.
    """
    content = as_experiment(best.words, loader)
    if content is None:
        return None
    here = Path.cwd() / "conf"
    conf = folder / "conf" if here.resolve() == CONF.resolve() else here
    file = conf / "experiment" / f"{name or f'winner_{folder.name}'}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    head = f"# @package _global_\n# Trial {best.number} of the search in {folder}\n"
    write_atomically(file, head + yaml.safe_dump(content, sort_keys=False))
    return file


def as_experiment(words: Sequence[str], loader: ConfigLoader | None) -> dict[str, Any] | None:
    """Choices of groups as defaults, values at their places."""
    chosen: list[Any] = []
    values = OmegaConf.create()
    for override in OverridesParser.create(loader).parse_overrides(list(words)):
        key = override.key_or_group
        if override.is_delete() or override.package is not None:
            return None
        group = loader is not None and bool(loader.get_group_options(key))
        if group and key == "experiment":  # which this one begins with
            chosen.insert(0, override.value())
        elif group:
            chosen.append({f"override /{key}": override.value()})
        else:
            OmegaConf.update(values, key, override.value(), force_add=True)
    plain: Any = OmegaConf.to_container(values, resolve=False)
    return {"defaults": [*chosen, "_self_"], **plain}
