"""Values as Hydra's grammar takes them."""

from __future__ import annotations


def quoted(value: str) -> str:
    """A value that Hydra's grammar takes as one string, whatever is in it."""
    escaped = value.replace("\\", "\\\\") if value.endswith("\\") else value
    return "'" + escaped.replace("'", "\\'") + "'"
