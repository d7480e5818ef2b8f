"""The networks that ship inside the package: they need no download and no network."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).with_name("shipped")
DEFAULT = "light"  # what a stranger's photograph gets


def names() -> list[str]:
    """What ships, by name; each has NAME.onnx and its card NAME.md in `FOLDER`."""
    return sorted(path.stem for path in FOLDER.glob("*.onnx"))


def file_of_name(name: str) -> Path | None:
    """The file of a shipped network; None where nothing of that name ships."""
    path = FOLDER / f"{name}.onnx"
    return path if name in names() else None
