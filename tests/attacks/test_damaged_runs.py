"""One bad run folder never ends what is asked of all: it is left out by name, or the part that is bad is; and a run
that cannot go on stays as it was."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featherpose.cli import app

from ..small_runs import writer_of_runs
from .hostile import DEEP, HARM, objects, of_run
from .trying import RAW, files_of

Damage = Callable[[Path], Any]
Said = Callable[..., tuple[int, str, str]]
SCRIPT = "<script>alert(1)</script>"


def holds(name: str, content: str | bytes) -> Damage:
    """Another content of one of the run's files."""

    def damage(run: Path) -> None:
        path = run / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return damage


def says(**values: Any) -> Damage:
    """Other values in run.json."""

    def damage(run: Path) -> None:
        path = run / "run.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return damage


def predictions(cut: int | None = None, bomb: bool = False) -> Damage:
    def damage(run: Path) -> None:
        path = run / "predictions" / "val.npz"
        path.parent.mkdir()
        np.savez(path, **(dict.fromkeys(of_run(), objects()) if bomb else of_run()))
        path.write_bytes(path.read_bytes()[:cut])

    return damage


WRONG_TYPES = {
    "scores": "abc",
    "best": "x",
    "data": 3,
    "network": [1],
    "protocol": "q",
    "started": 5,
}
HOSTILE_TEXT = dict.fromkeys(("name", "command", "error", "host"), SCRIPT)
SURROGATE = '{"name":"\\ud800","state":"finished","scores":{"val/score":1.0},"best":{"score":1.0}}'

DAMAGES: dict[str, Damage] = {
    "run_json_half": holds("run.json", '{"name": "a", "sta'),
    "run_json_list": holds("run.json", "[]"),
    "run_json_null": holds("run.json", "null"),
    "run_json_bin": holds("run.json", b"\xff\xfe\x00"),
    "run_json_zero": holds("run.json", ""),
    "run_json_types": says(**WRONG_TYPES),
    "score_str": says(best={"score": "abc"}),
    "deep": holds("run.json", DEEP),
    "metrics_half": holds("metrics.csv", "epoch,step,val/score\n0,4,1.0\n1,8"),
    "metrics_bin": holds("metrics.csv", bytes(range(256)) + b"\xff" * 44),
    "metrics_ragged": holds("metrics.csv", "epoch,step\n0,1\n1,2,3,4\n"),
    "metrics_noepoch": holds("metrics.csv", "a,b\n1,2\n"),
    "metrics_text": holds("metrics.csv", "epoch,step,val/score\nx,y,z\n"),
    "metrics_header": holds("metrics.csv", "epoch,step\n"),
    "metrics_none": holds("metrics.csv", ""),
    "config_half": holds("config.yaml", "data: {a: [1"),
    "config_list": holds("config.yaml", "- 1"),
    "config_pyobj": holds("config.yaml", f"!!python/object/apply:os.system ['{HARM}']"),
    "overrides_bad": holds(".hydra/overrides.yaml", "a: {"),
    "npz_trunc": predictions(cut=300),
    "npz_pickle": predictions(bomb=True),
    "png_trunc": holds("pictures/predictions.png", b"\x89PNG\r\n\x1a\n"),
    "mathtext": says(name="cost $x_$ \\frac$"),
    "markup": says(name="a [/b] [red]"),
    "percent": says(name="$title ${body} %s {0}"),
    "surrogate": holds("run.json", SURROGATE),
    "xss": says(**HOSTILE_TEXT, state="failed"),
}
# what of them is read for tables and reports, by the sentence that leaves the folder out
LEFT_OUT = {
    "run_json_half": r"run\.json can't be read",
    "run_json_list": r"run\.json is \[\], not the record of a run",
    "run_json_null": r"run\.json is None, not the record of a run",
    "run_json_bin": r"run\.json can't be read",
    "run_json_zero": r"run\.json can't be read",
    "run_json_types": r"run\.json: started is 5, which should be of the kind str",
    "score_str": r"run\.json: best: score is 'abc'",
    "deep": r"run\.json can't be read \(maximum recursion depth",
    "metrics_bin": r"metrics\.csv can't be read",
    "metrics_ragged": r"metrics\.csv, line 3 can't be read \(a row that does not fit the head",
    "metrics_noepoch": r"metrics\.csv can't be read \(.* has no epoch",
    "metrics_text": r"metrics\.csv can't be read \(could not convert string to float: 'x'",
    "config_half": r"config\.yaml can't be read",
    "config_list": r"config\.yaml is \[1\], not the dict of a run",
    "config_pyobj": r"config\.yaml can't be read \(could not determine a constructor",
    "overrides_bad": r"overrides\.yaml can't be read",
    "surrogate": r"run\.json: name holds half a character",
}
WRITTEN = {"report": "r.html", "samples": "s.png", "curves": "c.png"}


@dataclass
class Looked:
    """What the verbs said of one folder that holds a good run and every damaged one."""

    folders: dict[str, Path]
    answers: dict[str, tuple[int, str, list[str]]]
    page: str


@pytest.fixture(scope="module")
def looked(tmp_path_factory: pytest.TempPathFactory) -> Looked:
    """Together, since a page of all is drawn once where one of each takes seconds."""
    root = tmp_path_factory.mktemp("damaged")
    write_run = writer_of_runs(root)
    write_run("good", score=87.5)
    folders = {name: write_run(name) for name in DAMAGES}
    for name, damage in DAMAGES.items():
        damage(folders[name])
    before, answers = files_of(root / "train"), {}
    for verb in ("list", "table", "report"):
        out = ("--out", str(root / "r.html")) if verb == "report" else ()
        with redirect_stdout(StringIO()) as told, redirect_stderr(StringIO()) as complaint:
            try:
                app.main("runs", "--runs", str(root / "train"), verb, *out)
            except SystemExit as ended:
                code = int(ended.code or 0)
        answers[verb] = (code, told.getvalue(), complaint.getvalue().splitlines())
    assert files_of(root / "train") == before
    page = root / "r.html"
    return Looked(folders, answers, page.read_text(encoding="utf-8") if page.is_file() else "")


@pytest.mark.parametrize("verb", ["list", "table", "report"])
def test_a_good_run_is_shown_beside_all_damaged_ones(verb: str, looked: Looked) -> None:
    code, told, complaint = looked.answers[verb]
    assert code == 0, complaint
    assert "good" in (looked.page if verb == "report" else told) or verb == "table"
    assert len(complaint) == len(LEFT_OUT)


ROWS = {
    f"n_{name}_{verb}": (name, verb) for name in DAMAGES for verb in ("list", "report", "table")
}


@pytest.mark.parametrize("row", ROWS)
def test_a_damaged_run_is_left_out_by_name_or_shown(row: str, looked: Looked) -> None:
    name, verb = ROWS[row]
    _, _, complaint = looked.answers[verb]
    mine = [line for line in complaint if line.startswith(f"left out: {looked.folders[name]}/")]
    if name not in LEFT_OUT:
        assert not mine
        return
    (line,) = mine
    assert re.search(LEFT_OUT[name], line)
    assert not RAW.match(line.removeprefix("left out: "))


def test_a_page_takes_over_no_script_and_says_what_is_missing(looked: Looked) -> None:
    assert SCRIPT not in looked.page
    assert "class='warning'>No " in looked.page  # the cut picture, the cut and the hostile arrays


SHOWN = {  # of the bad run alone: exit code, and what it is complained of
    "n_run_json_types_show": ("run_json_types", ("show",), 1, "started is 5"),
    "n_config_list_show": ("config_list", ("show",), 1, r"config\.yaml is \[1\], not the dict"),
    "n_mathtext_show": ("mathtext", ("show",), 0, ""),
    "n_markup_show": ("markup", ("show",), 0, ""),
    "n_xss_show": ("xss", ("show",), 0, ""),
    "n_npz_trunc_samples": ("npz_trunc", ("samples",), 1, r"val\.npz can't be read"),
    "n_npz_pickle_samples": ("npz_pickle", ("samples",), 1, r"val\.npz can't be read"),
}


@pytest.mark.parametrize("row", SHOWN)
def test_a_look_at_one_damaged_run(row: str, write_run, said: Said, tmp_path: Path) -> None:
    name, words, expected, complaint = SHOWN[row]
    DAMAGES[name](write_run("bad"))
    before = files_of(tmp_path)
    out = ("--out", str(tmp_path / "s.png")) if words == ("samples",) else ()
    code, told, err = said("runs", "--runs", str(tmp_path / "train"), *words, "bad", *out)
    assert code == expected
    assert re.search(complaint, err)
    assert not err or (err.startswith("error: ") and not RAW.match(err.removeprefix("error: ")))
    assert err or told
    assert {path: path.read_bytes() for path in before} == before


EMPTY = {
    "n_empty_list": ("list", 0, ""),
    "n_empty_show": ("show", 1, "There is no run 'last' below"),
    "n_empty_diff": ("diff x", 1, "There is no run 'x' below"),
    "n_empty_table": ("table", 1, "None of the 0 runs has a final score"),
    "n_empty_report": ("report --out r.html", 1, "There are no runs to report on"),
    "n_empty_curves": ("curves --out c.png", 1, "None of the 0 runs has a column val/score"),
    "n_empty_samples": ("samples --out s.png", 1, "There is no run 'last' below"),
    "n_empty_status": ("status", 1, "There are no sweeps in"),
}


@pytest.mark.parametrize("row", EMPTY)
def test_a_look_at_no_run(
    row: str, said: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words, expected, complaint = EMPTY[row]
    monkeypatch.chdir(tmp_path)
    code, told, err = said("runs", "--runs", str(tmp_path), *words.split())
    assert code == expected
    assert err.startswith(f"error: {complaint}") if complaint else "no runs" in told
    assert not list(tmp_path.iterdir())


# going on with a damaged run


def halved(run: Path) -> None:
    path = run / "checkpoints" / "last.ckpt"
    os.truncate(path, path.stat().st_size // 2)


RESUMES: dict[str, tuple[Damage, str]] = {
    "k_trunc_last": (halved, r"last\.ckpt is not a checkpoint"),
    "k_runjson_half_resume": (holds("run.json", '{"na'), r"run\.json can't be read"),
    "k_overrides_bad_resume": (holds(".hydra/overrides.yaml", "a: {"), r"overrides\.yaml"),
    "k_overrides_str_resume": (holds(".hydra/overrides.yaml", "abc"), r"a list of overrides"),
}


@pytest.mark.parametrize("row", RESUMES)
def test_a_run_that_cannot_go_on_stays_as_it_was(
    row: str, a_run: Path, typed: Callable[[str], Any]
) -> None:
    damage, complaint = RESUMES[row]
    damage(a_run)
    before = files_of(a_run)
    answer = typed(f"train 'resume={a_run}'")
    assert answer.code == 1, answer.text
    (line,) = [line for line in answer.err.splitlines() if line.startswith("error: ")]
    assert re.search(complaint, line), line
    assert not RAW.match(line.removeprefix("error: ")), line
    assert files_of(a_run) == before
