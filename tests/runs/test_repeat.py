"""A run again: the line that repeats it, what it needs beside, and the archive for a colleague."""

from __future__ import annotations

import shlex
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from featherpose.errors import PoseError
from featherpose.runs import recording
from featherpose.runs.folder import Run, find_run
from featherpose.runs.repeat import pack, repeating, warnings_of

WriteRun = Callable[..., Path]


def test_the_line_has_the_overrides_and_the_seed(write_run: WriteRun) -> None:
    people = "data.people={train: 24, val: 12}"
    words = ("model=lapx", people, "resume=runs/train/x", "+note='two words'")
    run = Run(write_run("a", seed=3, overrides=words))
    again = shlex.split(repeating(run))
    assert again[-4:] == ["model=lapx", people, "+note='two words'", "seed=3"]
    line = "python src/train.py --config-dir '/my conf' -m experiment=winner hydra.run.dir=x"
    mine = Run(write_run("c", seed=0, overrides=("experiment=winner",), command=line))
    assert shlex.split(repeating(mine))[-4:] == [
        "--config-dir",
        "/my conf",
        "experiment=winner",
        "seed=0",
    ]
    named = Run(write_run("b", seed=1, overrides=("seed=1",)))
    assert shlex.split(repeating(named))[-1:] == ["seed=1"]
    assert repeating(named).count("seed") == 1


def test_what_the_line_does_not_bring_back_is_told(write_run: WriteRun) -> None:
    clean = Run(write_run("clean"))
    assert warnings_of(clean) == []
    dirty = Run(write_run("dirty", git={"commit": "b" * 40, "dirty": True}))
    assert warnings_of(dirty) == [
        "the working tree had changes beyond the commit: the changes were not kept"
    ]
    (dirty.folder / "changes.diff").write_text("diff")
    assert warnings_of(dirty)[0].endswith(f"git apply {dirty.folder / 'changes.diff'}")
    own = Run(write_run("own", own_configs=["conf/data/mine.yaml"]))
    assert "conf/data/mine.yaml" in warnings_of(own)[0]


def test_changes_beyond_the_commit_are_kept_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "code"
    source.mkdir()
    (source / "a.py").write_text("1\n")
    for words in ("init -q", "add a.py", "-c user.name=a -c user.email=b commit -qm one"):
        subprocess.run(["git", *words.split()], cwd=source, check=True)
    monkeypatch.setattr(recording, "__file__", str(source / "a.py"))
    recording.keep_changes(tmp_path / "none.diff")
    assert not (tmp_path / "none.diff").exists()
    (source / "a.py").write_text("2\n")
    recording.keep_changes(tmp_path / "some.diff")
    subprocess.run(["git", "checkout", "-q", "a.py"], cwd=source, check=True)
    subprocess.run(["git", "apply", str(tmp_path / "some.diff")], cwd=source, check=True)
    assert (source / "a.py").read_text() == "2\n"
    (source / "a.py").write_text("3\n")
    recording.keep_changes(tmp_path / "some.diff")
    assert "+2" in (tmp_path / "some.diff").read_text()


def test_an_archive_is_a_run_again_without_its_weights(write_run: WriteRun, tmp_path: Path) -> None:
    folder = write_run("lapx", score=81.5)
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "best.ckpt").write_bytes(b"0" * 1000)
    (folder / "heartbeat").touch()
    place = pack(Run(folder), folder / "lapx.zip")
    with zipfile.ZipFile(place) as archive:
        names = {Path(name).relative_to(folder.name).as_posix() for name in archive.namelist()}
        archive.extractall(tmp_path / "colleague")
    assert names == {"run.json", "config.yaml", "metrics.csv", ".hydra/overrides.yaml"}
    run = find_run("last", tmp_path / "colleague")
    assert (run.name, run.score, len(run.metrics)) == ("lapx", 81.5, 3)
    with pytest.raises(PoseError, match=r"should end in \.zip"):
        pack(run, tmp_path / "lapx.tar.gz")
