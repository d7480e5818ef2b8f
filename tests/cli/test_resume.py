"""What of a run folder's first words a resumed run takes over."""

from __future__ import annotations

from pathlib import Path

import pytest

from featherpose.cli.resume import expand, first_overrides
from featherpose.errors import PoseError


def folder_with(tmp_path: Path, text: str) -> Path:
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "overrides.yaml").write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    "word",
    [
        "--experimental-rerun=x.pickle",
        "-m",
        "hydra.run.dir=/tmp",
        "hydra/launcher=joblib",
        "+hydra/job_logging@hydra.x=none",
        "+hydra.callbacks.x={_target_: sympy.sympify, a: b}",
        "+model.evil={_target_: sympy.sympify, a: b}",
        "+callbacks.evil={deep: [{_target_: os.system}]}",
        "trainer._target_=os.system",
        "+callbacks.x._target_=${name}",
        "no override at all",
        "callbacks.alerts.command=ls",
        "+callbacks.alerts={command: ls, finished: true}",
        "callbacks.resume.path=/home/me/thesis.tex",
        "callbacks.best.dirpath=/home/me",
        "paths.output=/home/me",
        "trainer.default_root_dir=/home/me",
        "experiment=../../../stranger/evil",
        "callbacks=[alerts,../../../stranger/evil]",
        "experiment=.${oc.decode:.}/stranger/evil",
    ],
)
def test_a_run_folder_says_neither_options_nor_what_to_run(word: str, tmp_path: Path) -> None:
    folder = folder_with(tmp_path, f"- '{word}'\n")
    with pytest.raises(PoseError, match="not taken from a file"):
        first_overrides(folder)


def test_what_is_said_at_the_prompt_need_not_be_taken_from_the_file(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, "- callbacks.alerts.command=theirs\n- seed=3\n")
    words = expand([f"resume={folder}", "callbacks.alerts.command=mine"])
    assert words[:2] == ["seed=3", "callbacks.alerts.command=mine"]


@pytest.mark.parametrize("text", ["a: {", "abc", "[" * 100_000, "\x00"])
def test_words_that_are_no_list_are_one_sentence(text: str, tmp_path: Path) -> None:
    with pytest.raises(PoseError, match="is damaged: it has to be a list of overrides"):
        first_overrides(folder_with(tmp_path, text))


def test_values_choices_and_parts_of_featherpose_are_taken(tmp_path: Path) -> None:
    words = [
        "model=lapx",
        "model.stages=2",
        "+tags=[a, b]",
        "~callbacks.previews",
        "schedule.optimiser={_target_: torch.optim.SGD, _partial_: true}",
        "data.metric._target_=featherpose.metrics.pck.PCKh",
        "data.root=../../mpii",
        "init=../other/run",
        "callbacks=[ema,alerts]",
        "callbacks.alerts.finished=true",
    ]
    text = "".join(f"- '{word}'\n" for word in words)
    assert first_overrides(folder_with(tmp_path, text)) == words
