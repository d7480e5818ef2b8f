"""Weights that are known by name: `weights=NAME`, `init=NAME`, `checkpoint=NAME` (predict), `Pose("NAME")` and
`featherpose zoo` understand them.

What ships lies in the package. The rest is fetched once, by `featherpose zoo get NAME`, into a folder of its own:
$FEATHERPOSE_ZOO, or ~/.cache/featherpose.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from featherpose.errors import PoseError

LIST = Path(__file__).with_name("known.yaml")


@dataclass(frozen=True)
class Known:
    name: str
    line: str  # the overrides that make its network
    score: str  # as its source says
    licence: str
    url: str = ""
    file: str = ""  # inside the package, of what ships
    network: Mapping[str, Any] = field(default_factory=dict)  # what `line` makes, for who predicts

    @property
    def path(self) -> Path:
        """Where it lies on this machine, whether or not it has been fetched."""
        if self.file:
            return LIST.parent / self.file
        return cache() / self.url.rsplit("/", 1)[1]

    @property
    def data(self) -> dict[str, Any]:
        """Skeleton and input size, where that is not the network's own."""
        size = re.search(r"data\.input_size=\[(\d+),(\d+)\]", self.line)
        skeleton = re.search(r"data=(\w+)", self.line)
        found: dict[str, Any] = {"skeleton": skeleton[1] if skeleton else "coco"}
        return found | ({"input_size": [int(size[1]), int(size[2])]} if size else {})

    @property
    def sha256(self) -> str:
        """The first digits of the file's SHA-256, which its publisher writes into its name."""
        found = re.search(r"-([0-9a-f]{8})_\d{8}\.pth$", self.url)
        return found[1] if found else ""


@lru_cache(maxsize=1)
def known() -> dict[str, Known]:
    listed = yaml.safe_load(LIST.read_text(encoding="utf-8"))
    return {name: Known(name, **fields) for name, fields in listed.items()}


def cache() -> Path:
    asked = os.environ.get("FEATHERPOSE_ZOO")
    return Path(asked) if asked else Path.home() / ".cache" / "featherpose"


def hint(name: str, options: Iterable[str]) -> str:
    """` Did you mean light?`, or nothing."""
    near = get_close_matches(name, list(options), n=3, cutoff=0.4)
    return f" Did you mean {' or '.join(near)}?" if near else ""


def by_name(name: str) -> Known:
    if name not in known():
        raise PoseError(
            f"The zoo has no {name}.{hint(name, known())} featherpose zoo list shows them all."
        )
    return known()[name]


def path_of_name(name: str | Path) -> Path | None:
    """The file of a known name that has been fetched; None where it is no such name."""
    if str(name) not in known():
        return None
    found = known()[str(name)]
    if not found.path.is_file():
        raise PoseError(
            f"{name} is not on this machine: fetch it with `featherpose zoo get {name}`, or put the file of "
            f"{found.url} into {cache()}."
        )
    return found.path
