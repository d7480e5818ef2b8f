"""What a search says at its end: the best, how it is trained in full, and what mattered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from featherpose.sweeps import answer
from featherpose.sweeps.space import Space, space_of
from featherpose.sweeps.study import sampler_of

WORDS = ("debug=tiny", "model=lapx", "schedule.epochs=2", "callbacks=halving")
AXES = ("model.stages=2,3,4", "schedule.learning_rate=tag(log,interval(1e-4,1e-2))")


def searched(trials: int, directions: int = 1) -> tuple[optuna.Study, Space]:
    """The score is the number of stages and hardly anything else; a stage costs ten milliseconds."""
    space = space_of((*WORDS, *AXES), {}, {})
    study = optuna.create_study(directions=["maximize", "minimize"][:directions])
    for number in range(trials):
        study.sampler = sampler_of("random", 0, number, trials)
        trial = study.ask()
        point = space.suggest(trial)
        stages = float(point["model.stages"])
        score = 10 * stages + 10 * float(point["schedule.learning_rate"])
        study.tell(trial, [score, 10 * stages][:directions])
    return study, space


def text_of(folder: Path, study: optuna.Study, space: Space, *objectives: str) -> str:
    return answer.write(study, space, folder, objectives or ["score"], None)


def test_the_best_is_named_with_the_command_that_trains_it_in_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    study, space = searched(6)
    text = text_of(tmp_path, study, space)
    best = study.best_trial
    assert f"#{best.number}  score {best.value:.6g}  model.stages=4 schedule.learning_rate=" in text
    command = next(line for line in text.splitlines() if "model=lapx" in line)
    assert "train" in command
    assert "model.stages=4" in command
    assert "debug" not in command and "halving" not in command and "epochs" not in command
    assert "(without debug=tiny schedule.epochs=2, which made the search short)" in text
    assert "too few scored trials" in text
    assert (tmp_path / "answer.md").read_text() == text + "\n"


def test_scores_that_are_all_the_same_say_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    study, space = searched(0)
    for number in range(3):
        study.sampler = sampler_of("random", 0, number, 3)
        trial = study.ask()
        space.suggest(trial)
        study.tell(trial, 0.0)
        told = "all 3 have the same score, 0: nothing says which is better" in text_of(
            tmp_path, study, space
        )
        assert told == (number == 2)
    last = study.ask()
    space.suggest(last)
    study.tell(last, 1.0)
    assert "nothing says" not in text_of(tmp_path, study, space)


def test_a_solved_width_is_told_to_the_whole_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    study, space = searched(3)
    for number in range(3):
        job = tmp_path / f"{number}_lapx-mpii"
        job.mkdir()
        (job / "run.json").write_text("{}")
        config = {"search": {"solve": "channels"}, "model": {"channels": 100 + number}}
        (job / "config.yaml").write_text(yaml.safe_dump(config))
    (best,) = answer.winners(study, space, tmp_path)
    assert best.words[-1] == f"model.channels={100 + best.number}"


def test_what_mattered_is_said_with_how_sure_it_is() -> None:
    found = answer.importance(searched(20)[0])
    share, low, high = found["model.stages"]
    assert low <= share <= high
    assert low > found["schedule.learning_rate"][2]
    assert sum(share for share, _, _ in found.values()) == pytest.approx(1)


def test_of_several_objectives_the_ones_that_no_other_beats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    study, space = searched(9, directions=2)
    text = text_of(tmp_path, study, space, "score", "ms")
    lines = [line for line in text.splitlines() if line.startswith("  #")]
    assert [line.split("ms ")[1].split()[0] for line in lines] == ["20", "30", "40"]


def experiments_of(text: str) -> tuple[list[str], str]:
    """Of the command that trains the finalists: its configs, and the whole line."""
    line = next(line for line in text.splitlines() if "seed=0,1,2" in line)
    (word,) = [word for word in line.split() if word.startswith("experiment=")]
    return word.removeprefix("experiment=").split(","), line


def test_the_front_is_trained_over_seeds_by_one_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    study, space = searched(9, directions=2)
    names, line = experiments_of(text_of(tmp_path / "night", study, space, "score", "ms"))
    front = answer.winners(study, space, tmp_path)
    assert names == [f"finalist_night_{each.number}" for each in front]
    assert line.split()[-1] == "search.measure=true" and " -m " in line
    for name, each in zip(names, front, strict=True):
        config = yaml.safe_load((tmp_path / "conf" / "experiment" / f"{name}.yaml").read_text())
        assert str(config["model"]["stages"]) == each.point["model.stages"]
        assert "callbacks" not in config and "epochs" not in config["schedule"]


def test_of_one_objective_the_best_three_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    study, space = searched(9)
    pruned = study.ask()
    space.suggest(pruned)
    pruned.report(1000.0, 1)
    study.tell(pruned, state=optuna.trial.TrialState.PRUNED)
    names, line = experiments_of(text_of(tmp_path / "night", study, space))
    scored = [each for each in study.get_trials() if each.number != pruned.number]
    order = sorted(scored, key=lambda each: -(each.value or 0))
    assert names == [f"finalist_night_{each.number}" for each in order[:3]]
    assert "search.measure" not in line


def test_one_alone_is_compared_with_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    study, space = searched(1)
    assert "over seeds" not in text_of(tmp_path / "night", study, space)


def test_nothing_scored_is_said_so(tmp_path: Path) -> None:
    space = space_of(AXES, {}, {})
    study = optuna.create_study()
    study.tell(study.ask(), state=optuna.trial.TrialState.PRUNED)
    assert "No trial of 1 has a score" in text_of(tmp_path, study, space)


@pytest.mark.slow
def test_the_winners_config_composes_to_what_its_command_does(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["experiment=lspet_cpu", "model=lapx_fast", "logger=csv", "model.stages=2"]
    words += ["data.input_size=[128,96]"]
    with initialize_config_dir(str(root / "conf"), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        best = answer.Winner(3, [1.0], {}, tuple(words), ())
        file = answer.write_experiment(best, tmp_path / "night", loader)
        wanted: Any = compose("train", words)
    assert file == tmp_path / "conf" / "experiment" / "winner_night.yaml"
    assert yaml.safe_load(file.read_text())["defaults"][0] == "lspet_cpu"
    with initialize_config_dir(str(root / "conf"), version_base="1.3"):
        search = f"hydra.searchpath=[file://{tmp_path}/conf]"
        found: Any = compose("train", ["experiment=winner_night", search])
    for key in ("model", "data", "schedule", "logger", "augment"):
        assert found[key] == wanted[key], key


def test_in_the_programs_own_checkout_the_config_lies_in_the_sweeps_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(answer, "CONF", tmp_path / "conf")
    study, space = searched(2)
    text = text_of(tmp_path / "night", study, space)
    assert f"--config-dir {tmp_path}/night/conf experiment=winner_night" in text
    assert not (tmp_path / "conf").exists()
