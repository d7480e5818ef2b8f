"""TFLite files: LiteRT runs them where it is installed, OpenVINO otherwise.

What such a file says of itself lies in a ZIP archive behind its graph, as files that belong to a TFLite graph do: the
runtimes pass over it, `unzip FILE.tflite` shows it.
"""

from __future__ import annotations

import threading
import typing
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from featherpose.errors import PoseError
from featherpose.inference.description import KEY, Description, description_of
from featherpose.machine import cores

SUFFIX = ".tflite"
NOTE = f"{KEY}.json"
LARGEST_NOTE = 2**20  # bytes


class Runtime(typing.Protocol):
    """What runs a file's graph."""

    size: list[int | None]  # of its input, batch first
    batch: int | None
    takes_bytes: bool
    shapes: dict[str, list]

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]: ...


def is_first_choice() -> bool:
    """Or no OpenVINO either, so that the error names LiteRT."""
    return find_spec("ai_edge_litert") is not None or find_spec("openvino") is None


class LiteRT:
    """A TFLite file in LiteRT's interpreter."""

    def __init__(self, path: str | Path, threads: int = 0) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise PoseError(
                "TFLite files need LiteRT, or OpenVINO: pip install 'featherpose[litert]'."
            ) from error
        if not Path(path).is_file():
            raise PoseError(f"There is no file {path}.")
        try:
            self.interpreter = Interpreter(model_path=str(path), num_threads=threads or cores())
            self.interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            reason = (str(error).strip().splitlines() or ["no reason given"])[-1]
            raise PoseError(f"{path} is not a file that LiteRT can run: {reason}") from error
        entries, self.outputs = (
            self.interpreter.get_input_details(),
            self.interpreter.get_output_details(),
        )
        if len(entries) != 1 or any(each["dtype"] is not np.float32 for each in self.outputs):
            raise PoseError(
                f"{path} does not take one batch of images and give numbers of 32 bits."
            )
        self.entry = entries[0]
        self.size = _lengths(self.entry["shape_signature"])
        # of a file that leaves its batch open, too, only one image at a time was tried
        self.batch: int | None = 1 if self.size[:1] == [None] else (self.size or [None])[0]
        self.takes_bytes = self.entry["dtype"] is np.uint8
        self.shapes = {each["name"]: _lengths(each["shape_signature"]) for each in self.outputs}
        self.one_at_a_time = threading.Lock()

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        with self.one_at_a_time:
            self.interpreter.set_tensor(self.entry["index"], images)
            self.interpreter.invoke()
            return {
                each["name"]: self.interpreter.get_tensor(each["index"]) for each in self.outputs
            }


def _lengths(shape: Any) -> list[int | None]:
    return [int(side) if side >= 0 else None for side in shape]


class ChannelsFirst:
    """A TFLite file, whose images and heatmaps have their channels last, seen as files of the other kinds are."""

    def __init__(self, path: str | Path, runtime: Runtime) -> None:
        self.path, self.runtime = path, runtime
        self.metadata = note_in(path)
        self.batch, self.takes_bytes = runtime.batch, runtime.takes_bytes
        self.turned = len(runtime.size) == 4 and runtime.size[3] == 3 and runtime.size[1] != 3
        self.size = self._turned_sizes(runtime.size)
        self.shapes = {name: self._turned_sizes(shape) for name, shape in runtime.shapes.items()}

    @property
    def description(self) -> Description:
        return description_of(self.path, self.metadata, self.size)

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        if not self.turned:
            return self.runtime.run(images)
        found = self.runtime.run(np.ascontiguousarray(images.transpose(0, 2, 3, 1)))
        return {
            name: np.ascontiguousarray(each.transpose(0, 3, 1, 2)) if each.ndim == 4 else each
            for name, each in found.items()
        }

    def _turned_sizes(self, shape: list) -> list:
        return [shape[i] for i in (0, 3, 1, 2)] if self.turned and len(shape) == 4 else shape


def note_in(path: str | Path) -> str | None:
    """What a TFLite file says of itself; None of one that says nothing."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo(NOTE).file_size > LARGEST_NOTE:
                raise PoseError(f"The featherpose metadata of {path} is damaged: export it again.")
            return archive.read(NOTE).decode("utf-8")
    except (zipfile.BadZipFile, KeyError):
        return None
    except (UnicodeDecodeError, RuntimeError, NotImplementedError, EOFError) as error:
        raise PoseError(
            f"The featherpose metadata of {path} is damaged ({error}): export it again."
        ) from error


def add_note(path: str | Path, text: str) -> None:
    """Behind the graph of a file that has no archive there yet."""
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(NOTE, text)
