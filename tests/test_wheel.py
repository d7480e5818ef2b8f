"""The wheel, installed in an environment of its own outside the checkout: a command, its configs, and a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

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
