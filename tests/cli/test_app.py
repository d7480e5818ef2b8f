"""The command line: order of flags, quick help, and one sentence for each mistake."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.errors import HydraException

from featherpose.cli import app
from featherpose.errors import PoseError, UsageError


def run(
    python: str, root: Path, *words: str, cwd: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    command = [python, str(root / "src" / words[0]), *words[1:]]
    env = {**os.environ, **variables}
    return subprocess.run(
        command, cwd=cwd or root, env=env, capture_output=True, text=True, timeout=800, check=False
    )


@pytest.mark.parametrize(
    ("given", "arranged"),
    [
        (
            ["model=lapx", "data=mpii", "-m", "model.stages=2,3"],
            ["-m", "model=lapx", "data=mpii", "model.stages=2,3"],
        ),
        (["--multirun", "seed=1,2", "-m"], ["--multirun", "seed=1,2"]),
        (["model=lap"], ["model=lap"]),
        (["--cfg", "job", "model=lap"], ["--cfg", "job", "model=lap"]),
        (["model=lap", "--cfg", "job", "seed=1"], ["--cfg", "job", "model=lap", "seed=1"]),
        (["seed=1", "--cfg=job", "--resolve"], ["--cfg=job", "--resolve", "seed=1"]),
        (["--info", "model=lap"], ["--info=all", "model=lap"]),
        (["model=lap", "--info", "plugins"], ["--info=plugins", "model=lap"]),
    ],
)
def test_options_may_stand_anywhere(given: list[str], arranged: list[str]) -> None:
    assert app.arrange("train", given) == arranged


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("data.root=/tmp/Bilder für alle", "/tmp/Bilder für alle"),
        ("source=/tmp/picture (1).jpg", "/tmp/picture (1).jpg"),
        ("source=it's.jpg", "it's.jpg"),
        ("source=日本.mp4", "日本.mp4"),
        ("source='schön'", "schön"),
        ("source=2024_05_12", "2024_05_12"),
        ("out=1e5", "1e5"),
        ("source=a=b,c[1]{2}.jpg", "a=b,c[1]{2}.jpg"),
        ("source=[a-g]*.jpg", "[a-g]*.jpg"),
        ("onnx=null", None),
        ("checkpoint=${paths.runs}/train/x", None),
        ("data.root=true", "true"),
        ("tags=[a,b]", ["a", "b"]),
        ("name=a=b", "a=b"),
        ("model.stages=3", 3),
        ("data.input_size=[64,64]", [64, 64]),
        ("+a={b: ü}", None),  # Hydra's own words, with its own error
    ],
)
def test_values_are_read_as_they_are_typed(word: str, value: object) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    (arranged,) = app.arrange("predict", [word])
    if value is None:
        assert arranged == word
    else:
        assert OverridesParser.create().parse_override(arranged).value() == value


@pytest.mark.parametrize("word", ["seed=1,2", "experiment=glob(lapx_*)", "seed=range(1,4)", "-m"])
def test_sweeps_stay_sweeps(word: str) -> None:
    assert app.arrange("predict", [word]) == [word]


@pytest.mark.parametrize(
    ("verb", "words", "sentence"),
    [
        ("predict", ["me.jpg"], r"me\.jpg is no setting; .* e\.g\. source=me\.jpg"),
        ("evaluate", ["runs/train/x"], r"e\.g\. checkpoint=runs/train/x"),
        ("train", ["lapx"], r"lapx is no setting; .* e\.g\. schedule\.epochs=3"),
        ("predict", ["source=a.jpg", "source=b.jpg"], "source= takes one picture"),
        ("predict", ["source=[a.jpg,b.jpg]"], "source= takes one picture"),
    ],
)
def test_what_is_no_setting_is_told(verb: str, words: list[str], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        app.arrange(verb, words)
    assert app.arrange(verb, ["~callbacks.previews"]) == ["~callbacks.previews"]


def test_places_are_swept_too() -> None:
    words = ["-m", "checkpoint=one,two", "data.root=2024_05_12"]
    assert app.arrange("evaluate", words) == [*words[:2], "data.root='2024_05_12'"]


def test_an_exports_formats_are_a_list() -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    def read(*words: str) -> object:
        arranged = [w for w in app.arrange("export", list(words)) if w != "-m"]
        override = OverridesParser.create().parse_override(arranged[0])
        return "a sweep" if override.is_sweep_override() else override.value()

    assert read("format=onnx,litert") == ["onnx", "litert"]
    assert read("format=[onnx,litert]") == ["onnx", "litert"]
    assert read("format=litert") == "litert"
    assert read("-m", "format=onnx,litert") == "a sweep"


def test_what_is_no_option_says_how_settings_are_written() -> None:
    with pytest.raises(UsageError, match=r"no option --epochs.*schedule\.epochs=3"):
        app.arrange("train", ["--epochs", "3"])
    with pytest.raises(UsageError, match="leave -m out"):
        app.arrange("train", ["seed=1,2", "-m", "--cfg", "job"])


def test_a_run_is_shown_before_it_is_resumed(tmp_path: Path) -> None:
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "overrides.yaml").write_text("- model=lap\n")
    words = app.arrange("train", [f"resume={tmp_path}", "--cfg", "job", "seed=1"])
    assert words[:4] == ["--cfg", "job", "model=lap", "seed=1"]


def test_a_python_without_the_packages_is_told_which_to_take(root: Path, tmp_path: Path) -> None:
    """`python src/train.py` with the system's Python, without the environment being activated."""
    command = [sys.executable, "-S", str(root / "src" / "train.py")]
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 1
    assert "has no package hydra" in done.stderr
    assert ".venv" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_sweeps_folder_is_known_before_hydra_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hydra's sweeper resolves it before `${hydra:...}` can be; every `-m` ended there."""
    from hydra import compose, initialize_config_dir
    from hydra.core.hydra_config import HydraConfig

    monkeypatch.setenv("FEATHERPOSE_ROOT", "/somewhere")
    HydraConfig.instance().cfg = None
    with initialize_config_dir(str(app.CONF), version_base="1.3"):
        cfg = compose("train", return_hydra_config=True)
    assert str(cfg.hydra.sweep.dir).startswith("/somewhere/runs/sweeps/")


def test_a_benchmark_is_named_by_a_word() -> None:
    assert app.arrange("benchmark", ["latency", "threads=1"]) == ["benchmark=latency", "threads=1"]
    assert app.arrange("benchmark", ["benchmark=sizes"]) == ["benchmark=sizes"]


def test_errors_become_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(app.TRACEBACK, raising=False)
    assert app.describe(PoseError("No such picture.")) == (1, "No such picture.")
    assert app.describe(UsageError("No such word."))[0] == 2
    interval = HydraException("BasicSweeper does not support sweep type : INTERVAL_SWEEP")
    assert "add hydra/sweeper=search" in app.describe(interval)[1]
    code, sentence = app.describe(OSError(errno.ENOSPC, "No space left on device", "runs/x"))
    assert code == 1
    assert "disk is full" in sentence
    assert "runs/x" in sentence
    assert "permission" in app.describe(PermissionError(errno.EACCES, "denied", "/root/x"))[1]
    wrapped = RuntimeError("Error in call to target")
    wrapped.__cause__ = PoseError("The file is cut off.")
    assert app.describe(wrapped) == (1, "The file is cut off.")


def test_help_and_config_need_no_heavy_import(root: Path) -> None:
    """Time is not asserted: that torch is not among the imported modules is what makes it quick."""
    code = (
        "import sys; sys.argv = ['train.py', '--cfg', 'job']; from featherpose.cli.app import launch; launch('train');"
        "print('heavy:', [m for m in ('torch', 'lightning', 'cv2', 'wandb') if m in sys.modules])"
    )
    env = {**os.environ, "PYTHONPATH": str(root / "src")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert "heavy: []" in done.stdout
    assert "stages: 3" in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["model=lappx"], 2, ["no model=lappx", "did you mean", "lapx"]),
        (["model.stagess=3"], 2, ["no setting model.stagess (did you mean model.stages?)"]),
        (["epochs=3", "model=lap"], 2, ["no setting epochs (did you mean schedule.epochs?)"]),
        (
            ["model=lapx", "data=mpii", "data.root=/nowhere/mpii"],
            1,
            ["/nowhere/mpii", "check_data.py"],
        ),
        # as the README writes it, and said once, before the jobs
        (
            ["model=lapx", "data=mpii", "-m", "model.stages=2,3,4,5"],
            1,
            ["mpii data is missing", "scripts/get_data.py mpii", "data/mpii is not there"],
        ),
        (
            ["-m", "model.neck=choice(null,eca)"],
            2,
            ["model.neck=choice(null,eca): choice(...) takes no null"],
        ),
        (["-m", "experiment=glob(nonexist_*)"], 2, ["experiment=glob(nonexist_*) fits nothing"]),
        (["seed=0,1", "-m", "+no_such_key=1"], 2, ["Nothing reads +no_such_key"]),
        (["+no_such_key=1"], 2, ["Nothing reads +no_such_key"]),
        (["ckpt_path=/nowhere/last.ckpt", "data.people=40"], 1, ["/nowhere/last.ckpt"]),
    ],
)
def test_a_mistake_gets_one_sentence_and_no_traceback(
    root: Path, python: str, tmp_path: Path, words: list[str], code: int, expected: list[str]
) -> None:
    done = run(python, root, "train.py", *words, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    for word in expected:
        assert word in done.stderr
    assert done.stderr.count("error: ") == 1
    assert not list(tmp_path.glob("runs/sweeps/*/sweep.json"))


def test_traceback_on_demand(root: Path, python: str, tmp_path: Path) -> None:
    done = run(
        python, root, "train.py", "model=lappx", "--traceback", FEATHERPOSE_RUNS=str(tmp_path)
    )
    assert done.returncode == 2
    assert "Traceback" in done.stderr


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as end:
        app.main(*words)
    return int(end.value.code or 0), "".join(capsys.readouterr())


def test_every_verb_is_listed_and_has_its_room(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    monkeypatch.setenv("FEATHERPOSE_ROOT", "/")  # set for good otherwise
    code, text = said(capsys, "--help")
    assert code == 0
    for verb in app.VERBS:
        assert f"  {verb} " in text
        assert (root / "src/featherpose/cli" / f"{verb.replace(' ', '_')}.py").is_file()
    code, text = said(capsys, "data", "chek")
    assert code == 2
    assert (
        "data get or data import or data check or data hardest or data sigmas or data paint" in text
    )
    assert said(capsys, "trian")[1].count("train") == 1
    for verb in set(app.VERBS) - set(app.COMPOSED):
        code, text = said(capsys, *verb.split(), "--help")
        assert code == 0
        assert f"usage: featherpose {verb}" in text


def test_a_rank_or_a_job_is_started_by_overrides_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning and the launcher of sweeps repeat the program's name and its arguments, but no verb."""
    launched = []
    monkeypatch.setattr(app, "launch", lambda verb: launched.append((verb, sys.argv[1:])))
    monkeypatch.setattr(sys, "argv", ["featherpose", "train", "seed=1"])
    monkeypatch.setenv(app.VERB, "")
    app.main()
    monkeypatch.setattr(sys, "argv", ["featherpose", "seed=2", "hydra.run.dir=x"])
    app.main()
    assert launched == [("train", ["seed=1"]), ("train", ["seed=2", "hydra.run.dir=x"])]
