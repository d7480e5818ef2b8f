"""Files out of a bare git directory: those of the pattern, once, by their paths."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from featherpose.errors import PoseError
from featherpose.teaching.snapshots import ORIGINS, unpack


def write_snapshot(folder: Path, repository: str, files: dict[str, bytes]) -> Path:
    """A bare git directory FOLDER/OWNER+NAME/repo whose last commit holds the files."""
    tree = folder / "tree" / repository.replace("/", "+")
    for name, data in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(data)
    bare = folder / repository.replace("/", "+") / "repo"
    bare.mkdir(parents=True)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "--git-dir", str(bare)]
    for words in (["init", "-q", "--bare"], ["add", "-A"], ["commit", "-q", "-m", "all"]):
        command = [*git, "--work-tree", str(tree), *words] if words[0] != "init" else [*git, *words]
        subprocess.run(command, check=True, capture_output=True)
    return folder


def test_pictures_lie_by_their_paths_and_nothing_else_does(tmp_path):
    write_snapshot(
        tmp_path / "snapshots",
        "bearpaw/clothing-co-parsing",
        {"photos/1.jpg": b"one", "photos/2.jpg": b"two", "README.md": b"words"},
    )
    folder = unpack("ccp", tmp_path / "snapshots", tmp_path / "out")
    assert (folder / "photos/1.jpg").read_bytes() == b"one"
    assert not (folder / "README.md").exists()
    ids = json.loads((folder / "ids.json").read_text())
    assert sorted(ids.values()) == ["photos/1.jpg", "photos/2.jpg"]
    assert all(len(name) == 12 for name in ids)


def test_what_is_unpacked_stays(tmp_path):
    write_snapshot(tmp_path, "bearpaw/clothing-co-parsing", {"photos/1.jpg": b"one"})
    folder = unpack("ccp", tmp_path, tmp_path / "out")
    (folder / "photos/1.jpg").write_bytes(b"mine")
    assert unpack("ccp", tmp_path, tmp_path / "out") == folder
    assert (folder / "photos/1.jpg").read_bytes() == b"mine"


def test_a_missing_snapshot_says_how_to_get_it(tmp_path):
    with pytest.raises(PoseError, match=r"git clone --bare https://github\.com/bearpaw/clothing"):
        unpack("ccp", tmp_path, tmp_path / "out")


def test_every_set_states_its_terms():
    assert all(origin.terms and origin.cite for origin in ORIGINS.values())
