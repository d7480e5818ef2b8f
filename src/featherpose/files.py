"""Files that a kill or a power cut can't break."""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from featherpose.errors import PoseError

_PART = re.compile(r"\..*\.(\d+)\.part(\.[^.]*)?")  # what `replacing` writes to
_LONGEST = 60  # letters of the name that it keeps: a name of 255 bytes has to stay one


@contextmanager
def replacing(path: str | Path, flush: bool = True) -> Generator[Path]:
    """A place beside `path` to write to. It takes the place of `path` when the block ends, and is removed if it fails.

    A reader, or a kill in the middle, sees the old file or the new one, never half of one. The name keeps its ending,
    which many writers go by.

    Args:
        path: the file; its folder is made.
        flush: whether it also has to outlast a power cut. It costs some milliseconds for each file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.stem[:_LONGEST]}.{os.getpid()}.part{path.suffix}")
    try:
        yield beside
        if flush:
            _flush(beside, os.O_RDWR)
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    if flush and os.name == "posix":  # the move itself; no other system opens folders
        _flush(path.parent, os.O_RDONLY)


def _flush(path: Path, how: int) -> None:
    descriptor = os.open(path, how)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, text: str) -> None:
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def below_shared_folder(paths: Sequence[Path]) -> list[str]:
    """What tells the paths apart: each as it is seen from the folder that all share. A link keeps its own name."""
    whole = [Path(os.path.abspath(path)) for path in paths]
    above = os.path.commonpath([path.parent for path in whole])
    return [path.relative_to(above).as_posix() for path in whole]


def refuse_strangers(key: str, folder: Path, mark: str) -> None:
    """Before a folder is filled: one that holds files and not `mark` was made by somebody else, who may need them."""
    there = [path for path in folder.iterdir() if path.name[0] != "."] if folder.is_dir() else []
    if there and not (folder / mark).exists():
        raise PoseError(
            f"{key}={folder} holds other files, as {there[0].name}: name a new folder, or one that {key}= made before."
        )


def remove_leftovers(folder: Path) -> list[Path]:
    """Removes what processes of this machine that died while they wrote have left below a folder; gives what it was."""
    import psutil

    removed = []
    for path in sorted(folder.rglob(".*.part*")):
        found = _PART.fullmatch(path.name)
        if found and not psutil.pid_exists(int(found[1])) and path.is_file():
            path.unlink(missing_ok=True)
            removed.append(path)
    return removed


@contextmanager
def locked(path: Path, wait: bool = True) -> Generator[None]:
    """Held by one process at a time, and given back by the system when that process dies.

    Without `wait` a BlockingIOError where another holds it. What the file holds stays as it is.
    """
    with path.open("ab") as file:
        lock(file, wait)
        yield


def lock(file: IO[bytes], wait: bool = True) -> None:
    """Until the file is closed, also by every process that was started with it."""
    try:
        import fcntl
    except ImportError:  # Windows: two that build at once only cost time, the last rename wins
        return
    fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
