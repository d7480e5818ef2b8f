"""The networks that ship inside the package, and the finder of people: they need no download and no network."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).with_name("shipped")
DEFAULT = "light"  # what a stranger's photograph gets
FINDER = FOLDER / "finder.onnx"  # of people's boxes


def names() -> list[str]:
    """The pose networks that ship, by name; each has NAME.onnx and its card NAME.md in `FOLDER`."""
    return sorted(path.stem for path in FOLDER.glob("*.onnx") if path != FINDER)


def file_of_name(name: str) -> Path | None:
    """The file of a shipped network; None where nothing of that name ships."""
    path = FOLDER / f"{name}.onnx"
    return path if name in names() else None
