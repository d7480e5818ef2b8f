"""A checkout, data and runs in folders with spaces, umlauts and brackets; the data can only be read."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ..small_sets import write_coco

# Several commands of one user in one process, which imports once
DRIVER = """
import json, sys
from featherpose.cli import app
for line in map(json.loads, sys.argv[1:]):
    sys.argv = [f"src/{line[0]}.py", *line[1:]]
    print(">", *line, flush=True)
    app.launch(line[0])
"""
READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'


def where_it_can_only_be_read(folder: Path) -> list[str]:
    """What to put before a command: root may write into any folder, but not through such a mount."""
    if os.geteuid() != 0:
        for path in (folder, *folder.rglob("*")):
            path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
        return []
    mounted = ["unshare", "--mount", "sh", "-c", READ_ONLY, str(folder)]
    if not shutil.which("unshare") or subprocess.run([*mounted, "true"]).returncode:
        return []  # what was written there would still be seen by its times
    return mounted


def entries(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in (folder, *folder.rglob("*"))}


@pytest.mark.slow
def test_everything_works_in_odd_folders_and_data_is_only_read(root: Path, tmp_path: Path) -> None:
    home = tmp_path / "Jürgens Übungen (neu)"
    clone, data, runs = home / "feder pose", home / "Bilder für alle", home / "Läufe & mehr"
    for part in ("src", "conf"):
        shutil.copytree(root / part, clone / part, ignore=shutil.ignore_patterns("__pycache__"))
    write_coco(data)
    shutil.copy(data / "val2017" / "000000000001.jpg", home / "schönes Bild (1).jpg")
    runs.mkdir()
    before = entries(data)

    run = runs / "erster Lauf ß"
    size = ("data.input_size=[64,64]", "data.workers=0", "schedule.batch_size=2", "trainer=cpu")
    small = ("model.stages=1", "model.channels=16", "schedule.epochs=1", "logger=none", *size)
    cache = ("data.cache=crops", f"data.cache_folder={home / 'Zwischenablage é'}")
    lines = [
        ["train", "data=coco", f"data.root={data}", *small, *cache, f"hydra.run.dir={run}"],
        ["train", f"resume={run}", "schedule.epochs=2"],
        ["evaluate", f"checkpoint={run}", "workers=0", f"out={runs / 'Wertung ö'}"],
        ["predict", f"checkpoint={run}", "source=schönes Bild (1).jpg", f"out={runs / 'Pose ñ'}"],
    ]
    command = [sys.executable, "-c", DRIVER, *map(json.dumps, lines)]
    done = subprocess.run(
        [*where_it_can_only_be_read(data), *command],
        cwd=home,
        env={**os.environ, "PYTHONPATH": str(clone / "src"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=800,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    record = json.loads((run / "run.json").read_text())
    assert record["state"] == "finished"
    assert (run / "metrics.csv").read_text().count("\n") == 3, "a header and two epochs"
    assert (runs / "Wertung ö" / "metrics.json").is_file()
    (person,) = json.loads((runs / "Pose ñ" / "keypoints.json").read_text())
    assert len(person["keypoints"]) == 51
    assert entries(data) == before, "nothing was written beside the data"
