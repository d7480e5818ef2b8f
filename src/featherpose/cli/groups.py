"""What `--help` lists of a verb's groups: the choices, without the parents of others and without foreign groups."""

from __future__ import annotations

from pathlib import Path

from featherpose.cli.own_conf import own_conf
from featherpose.place import CONF


def listed(*groups: str) -> str:
    """A line for each group, of the program's configs and of those in this folder: `${groups:model,data}`."""
    return "\n".join(f"{group}: {', '.join(choices(group))}" for group in groups)


def choices(group: str) -> list[str]:
    found = {path.stem for place in _places() for path in (place / group).glob("*.yaml")}
    return sorted(name for name in found if not name.startswith("_"))


def is_group(key: str) -> bool:
    return any((place / key.partition("@")[0]).is_dir() for place in _places())


def _places() -> list[Path]:
    return [CONF, own_conf() or CONF]
