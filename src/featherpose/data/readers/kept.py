"""What a reader made of a large file, kept beside it as plain arrays: later starts map it, and share its pages.

A kept file is used where the source still has its size and its time, or else its hash. It is written beside its place
and moved when whole, under a lock: of several jobs that start at once, one reads and the others wait. Where nothing can
be written, the source is read every time.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from rich.console import Console

from featherpose.data.readers.source import checksum
from featherpose.files import locked, replacing
from featherpose.person import Texts

FORMAT = 1  # raise it when a reader gives other columns for the same file
LEAST = 1 << 20  # bytes: a smaller source is read nearly as fast as its columns
MAGIC = b"featherpose columns\n"
ALIGNED = 64
BLOCK = 1 << 20
Record = TypeVar("Record")  # a dataclass of arrays, texts, and texts by number
Facts = dict[str, Any]  # what json can say


@dataclass(frozen=True)
class Request:
    """Which source, and what is made of it."""

    source: Path
    what: Mapping[str, Any]  # reader and options, as json can say them

    @cached_property
    def stamp(self) -> list[int]:
        status = os.stat(self.source)
        return [status.st_size, status.st_mtime_ns]

    @cached_property
    def digest(self) -> str:
        return checksum(self.source)

    @property
    def name(self) -> str:
        said = json.dumps([FORMAT, str(self.source.absolute()), self.what], sort_keys=True)
        return f"{self.source.name[:60]}-{hashlib.sha256(said.encode()).hexdigest()[:16]}.columns"

    @property
    def places(self) -> list[Path]:
        """Beside the data or, where nothing can be written there, in the user's cache."""
        return [folder / self.name for folder in (self.source.parent / ".featherpose", own())]


def own() -> Path:
    """The user's folder."""
    return Path.home() / ".cache" / "featherpose" / "columns"


def kept(
    kind: type[Record],
    source: Path,
    what: Mapping[str, Any],
    make: Callable[[], tuple[Record, Facts]],
) -> tuple[Record, Facts, str]:
    """What `make` gives, or gave once, and the source's SHA-256."""
    request = Request(source, what)
    if request.stamp[0] < LEAST:
        return *make(), request.digest
    found = _find(request, kind)
    if found is not None:
        return found
    with ExitStack() as held:
        target = _lock(request, held)
        found = _find(request, kind) if target else None  # another job has made it meanwhile
        if found is not None:
            return found
        record, facts = make()
        if target is None or Request(source, what).stamp != request.stamp:
            return record, facts, request.digest
        try:
            _write(target, request, _arrays(record), facts)
        except OSError:  # a full disk, mostly
            return record, facts, request.digest
        return _find(request, kind) or (record, facts, request.digest)


def _lock(request: Request, held: ExitStack) -> Path | None:
    for target in request.places:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(locked(target.with_suffix(".lock")))
        except OSError:
            continue
        return target
    return None


def _find(request: Request, kind: type[Record]) -> tuple[Record, Facts, str] | None:
    for path in request.places:
        try:
            header, arrays = _read(path)
            if header["stamp"] != request.stamp:
                same = header["stamp"][0] == request.stamp[0]
                if not same or header["sha256"] != request.digest:
                    continue
                _write(path, request, arrays, header["facts"])  # the time is known from now on
            return _record(kind, arrays), header["facts"], header["sha256"]
        except OSError:  # mostly because it isn't there
            continue
        except (ValueError, KeyError, TypeError, IndexError, OverflowError) as error:
            said = f"{path} is damaged ({error}); it is made again from {request.source}."
            Console(stderr=True).print(said, highlight=False, markup=False)
    return None


def _write(path: Path, request: Request, arrays: dict[str, np.ndarray], facts: Facts) -> None:
    check, offset, table = 0, 0, []
    for name, array in arrays.items():
        table.append([name, array.dtype.str, array.shape, offset])
        offset += -(-array.nbytes // ALIGNED) * ALIGNED
    for block in _blocks(arrays):
        check = zlib.crc32(block, check)
    header = json.dumps(
        {
            "stamp": request.stamp,
            "sha256": request.digest,
            "facts": facts,
            "arrays": table,
            "bytes": offset,
            "crc32": check,
        }
    ).encode()
    start = MAGIC + b"%d %d\n" % (len(header), zlib.crc32(header)) + header
    with replacing(path) as beside, beside.open("wb") as file:
        file.write(start + bytes(-len(start) % ALIGNED))
        for block in _blocks(arrays):
            file.write(block)


def _blocks(arrays: dict[str, np.ndarray]) -> Iterator[bytes | memoryview]:
    for array in arrays.values():
        yield np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
        yield bytes(-array.nbytes % ALIGNED)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The header and the mapped arrays of a whole file."""
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise ValueError("its beginning is another")
        length, check = (int(word) for word in file.readline(64).split())
        said = file.read(length)
        if zlib.crc32(said) != check:
            raise ValueError("its header is not what was written")
        header = json.loads(said)
        start = -(-file.tell() // ALIGNED) * ALIGNED
        file.seek(start)
        count, check = 0, 0
        while block := file.read(BLOCK):  # read, not mapped: these pages are not this process's
            count, check = count + len(block), zlib.crc32(block, check)
    if count != header["bytes"] or check != header["crc32"]:
        raise ValueError("its numbers are not what was written")
    pages = (
        np.asarray(np.memmap(path, np.uint8, "r", offset=start)) if count else np.empty(0, np.uint8)
    )
    arrays = {}
    for name, kind, shape, offset in header["arrays"]:
        size = int(np.prod(shape)) * np.dtype(kind).itemsize
        arrays[name] = pages[offset : offset + size].view(kind).reshape(shape)
    return header, arrays


def _arrays(record: Any) -> dict[str, np.ndarray]:
    arrays = {}
    for each in fields(record):
        value = getattr(record, each.name)
        if isinstance(value, np.ndarray):
            arrays[each.name] = value
            continue
        if not isinstance(value, Texts):  # texts by number
            arrays[f"{each.name}.numbers"] = np.array(list(value), np.int64)
            value = Texts.of(value.values())
        arrays[f"{each.name}.letters"], arrays[f"{each.name}.ends"] = value.letters, value.ends
    return arrays


def _record(kind: type[Record], arrays: dict[str, np.ndarray]) -> Record:
    values: dict[str, Any] = {}
    for each in fields(kind):  # ty: ignore[invalid-argument-type]
        if each.name in arrays:
            values[each.name] = arrays[each.name]
            continue
        texts = Texts(arrays[f"{each.name}.letters"], arrays[f"{each.name}.ends"])
        numbers = arrays.get(f"{each.name}.numbers")
        values[each.name] = (
            texts if numbers is None else dict(zip(numbers.tolist(), texts, strict=True))
        )
    return kind(**values)
