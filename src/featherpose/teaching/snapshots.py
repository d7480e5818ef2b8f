"""Pictures and their labels out of bare git snapshots of public repositories."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from featherpose.errors import PoseError
from featherpose.files import write_atomically


@dataclass(frozen=True)
class Origin:
    """Where a set of pictures comes from, and on what terms."""

    repository: str
    pattern: str  # of the paths of its pictures and labels
    terms: str
    cite: str


ORIGINS = {
    "mpii": Origin(
        "DomChey/ORIU_Project",
        r"^images/.*\.jpg$",
        "MPII Human Pose: research",
        "Andriluka et al., CVPR 2014",
    ),
    "stanford40": Origin(
        "Mehranai/stanford40_pose",
        r"^(JPEGImages/.*\.jpg|XMLAnnotations/.*\.xml)$",
        "Stanford 40 Actions: research",
        "Yao et al., ICCV 2011",
    ),
    "ccp": Origin(
        "bearpaw/clothing-co-parsing",
        r"^photos/.*\.jpg$",
        "Apache-2.0",
        "Yang et al., CVPR 2014",
    ),
    "human_v2": Origin(
        "brianhuster/human-dataset",
        r"^\w+/(images/.*\.jpg|labels/.*\.txt)$",
        "CC BY 4.0",
        "Human Dataset v2, Roboflow Universe",
    ),
    "flickr8k": Origin(
        "quantumnaan/sic_translator",
        r"^data/images/.*\.jpg$",
        "Flickr8k: research",
        "Hodosh et al., JAIR 2013",
    ),
}


def unpack(name: str, snapshots: Path, out: Path) -> Path:
    """The files of a set below `out`, by their paths in the repository's last commit; nothing is done twice.

    A snapshot is a bare git directory at snapshots/OWNER+NAME/repo. `ids.json`, written last, gives the path of each
    git id's first 12 digits.
    """
    origin = ORIGINS[name]
    folder = out / name
    if (folder / "ids.json").is_file():
        return folder
    git = ["git", "-C", str(snapshots / origin.repository.replace("/", "+") / "repo")]
    wanted = []
    for line in _output([*git, "ls-tree", "-r", "-z", "HEAD"], origin).split(b"\0"):
        kind, _, path = line.partition(b"\t")
        name_of = path.decode(errors="replace")
        if re.search(origin.pattern, name_of, re.IGNORECASE) and ".." not in Path(name_of).parts:
            wanted.append((kind.split()[2], folder / name_of))
    _write(git, wanted)
    ids = {kind[:12].decode(): str(path.relative_to(folder)) for kind, path in wanted}
    write_atomically(folder / "ids.json", json.dumps(ids))
    return folder


def _output(command: list[str], origin: Origin) -> bytes:
    found = subprocess.run(command, capture_output=True, check=False, env=_quiet())
    if found.returncode:
        raise PoseError(
            f"There is no snapshot of {origin.repository} ({found.stderr.decode().strip()}); "
            f"make one with: git clone --bare https://github.com/{origin.repository} "
            f"SNAPSHOTS/{origin.repository.replace('/', '+')}/repo"
        )
    return found.stdout


def _write(git: list[str], wanted: list[tuple[bytes, Path]]) -> None:
    """Each file's bytes as they are; those that the snapshot lacks are left out."""
    with subprocess.Popen(
        [*git, "cat-file", "--batch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_quiet()
    ) as reader:
        assert reader.stdin is not None and reader.stdout is not None
        for name, path in wanted:
            reader.stdin.write(name + b"\n")
            reader.stdin.flush()
            head = reader.stdout.readline().split()
            if len(head) == 3 and head[1] == b"blob":
                data = reader.stdout.read(int(head[2]))
                reader.stdout.read(1)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
        reader.stdin.close()


def _quiet() -> dict[str, str]:
    return {**os.environ, "GIT_NO_LAZY_FETCH": "1"}  # a partial clone fetches nothing now
