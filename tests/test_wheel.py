"""The wheel, installed in an environment of its own outside the checkout: a command, its configs, and a run."""

from __future__ import annotations

import email
import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from what git knows of, so that no build leaves anything in the checkout."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        wanted = name.startswith(("src/", "conf/")) or "/" not in name
        if wanted and (root / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((root / name).read_bytes())
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        str(source),
        "--no-deps",
        "--wheel-dir",
        str(out),
    ]
    done = subprocess.run(
        [*build, "--no-build-isolation", "--no-index", "--quiet"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (built,) = out.glob("*.whl")
    return built


def test_every_config_file_travels(root: Path, wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    configs = [p.relative_to(root) for p in (root / "conf").rglob("*.yaml")]
    wanted = {f"featherpose/{p}" for p in configs if p.parts[1] != "local"}
    assert wanted <= names
    assert {f"featherpose/export/page/{name}" for name in ("index.html", "main.js")} <= names
    assert "hydra_plugins/featherpose_launcher/processes.py" in names
    assert "hydra_plugins/featherpose_conf/search_path.py" in names


@pytest.fixture(scope="module")
def command(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`featherpose` of a fresh environment, which borrows this one's other packages."""
    place = tmp_path_factory.mktemp("environment")
    venv.create(place, symlinks=True)
    python = place / "bin" / "python"
    (site,) = place.glob("lib/python*/site-packages")
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    subprocess.run([*install, "--no-deps", "--no-index", str(wheel)], check=True)
    return place / "bin" / "featherpose"


def test_it_trains_evaluates_predicts_and_exports_from_an_empty_folder(
    command: Path, tmp_path: Path
) -> None:
    # What verbs of this very process have set would send its runs elsewhere
    environment = {
        name: value
        for name, value in os.environ.items()
        if name != "PYTHONPATH" and not name.startswith("FEATHERPOSE_")
    }
    environment |= {"COLUMNS": "200"}

    def run(*words: str) -> str:
        done = subprocess.run(
            [str(command), *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    small = ["model.stages=1", "model.channels=16", "data.people={train: 8, val: 4, test: 2}"]
    trained = run("train", "debug=tiny", *small, "logger=none")
    assert "featherpose predict checkpoint=" in trained
    (folder,) = (tmp_path / "runs" / "train").iterdir()
    assert json.loads((folder / "run.json").read_text())["state"] == "finished"
    assert "PCKh" in run("evaluate", f"checkpoint={folder}")
    picture = folder / "pictures" / "predictions.png"
    assert "keypoints.json" in run("predict", f"checkpoint={folder}", f"source={picture}")
    run("export", f"checkpoint={folder}", "check=2", "rewrite=false")
    assert list(folder.rglob("*.onnx"))
    assert "finished" in run("runs", "list")


def needed(requirement: str, found: set[str]) -> None:
    """Adds the distributions that a requirement brings here, its own requirements with it."""
    wanted = Requirement(requirement)
    name = re.sub(r"[-_.]+", "-", wanted.name).lower()
    if name in found or (wanted.marker and not wanted.marker.evaluate({"extra": ""})):
        return
    found.add(name)
    for other in metadata.requires(name) or ():
        needed(other, found)


def test_what_it_brings_without_extras_is_enough_to_predict(
    root: Path, wheel: Path, tmp_path: Path
) -> None:
    """An environment that has the wheel and, of this one's packages, those that it asks for."""
    with zipfile.ZipFile(wheel) as file:
        (about,) = (name for name in file.namelist() if name.endswith(".dist-info/METADATA"))
        asked = email.message_from_bytes(file.read(about)).get_all("Requires-Dist") or []
    brought: set[str] = set()
    for requirement in asked:
        needed(requirement, brought)
    assert not {"torch", "lightning", "scipy", "pandas", "matplotlib"} & brought
    venv.create(tmp_path / "light", symlinks=True)
    python = tmp_path / "light" / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    subprocess.run([*install, "--no-deps", "--no-index", str(wheel)], check=True)
    (site,) = (tmp_path / "light").glob("lib/python*/site-packages")
    for name in brought:
        for path in metadata.distribution(name).files or ():
            top = Path(path.parts[0])
            here = Path(str(metadata.distribution(name).locate_file(top)))
            if top.name not in ("..", "__pycache__") and not (site / top).exists():
                (site / top).symlink_to(here)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        plain = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        command = [str(python.with_name("featherpose")), *words]
        return subprocess.run(
            command, cwd=tmp_path, env=plain, capture_output=True, text=True, check=False
        )

    done = run("predict", f"source={root / 'docs' / 'images' / 'astronaut_pose.jpg'}")
    assert done.returncode == 0, done.stderr
    assert "1 poses" in done.stdout
    for words in (("train", "debug=tiny"), ("runs", "list")):
        done = run(*words)
        assert done.returncode == 1
        assert done.stderr.count("error: ") == 1
        assert "pip install 'featherpose[train]'" in done.stderr
