"""ncnn's files: NAME.ncnn.param is the graph, NAME.ncnn.bin its numbers, NAME.ncnn.json what they say of themselves.

ncnn does not check what it loads: a graph that is wrong can end the process.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from featherpose.errors import PoseError
from featherpose.inference.description import description_of
from featherpose.machine import cores

SUFFIX = ".param"
HALVES = ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage")


class Ncnn:
    """A network in ncnn, on the CPU in float32, one image at a time."""

    batch = 1
    takes_bytes = False

    def __init__(self, path: str | Path, threads: int = 0) -> None:
        try:
            module: Any = import_module("ncnn")
        except ImportError as error:
            raise PoseError("ncnn's files need ncnn: pip install 'featherpose[ncnn]'.") from error
        self.path, self.mat = Path(path), module.Mat
        numbers, note = self.path.with_suffix(".bin"), self.path.with_suffix(".json")
        for each in (self.path, numbers):
            if not each.is_file():
                raise PoseError(
                    f"There is no file {each}; ncnn needs both, the graph and the numbers."
                )
        if not note.is_file():
            raise PoseError(
                f"{path} has no {note.name} beside it, which says its skeleton and its input: export it again."
            )
        self.metadata = note.read_text(encoding="utf-8")
        self.description = description_of(path, self.metadata, [])
        self.size: list[int | None] = [1, 3, *self.description.input_size]
        self.net = module.Net()
        self.net.opt.num_threads = threads or cores()
        for half in HALVES:
            setattr(self.net.opt, half, False)
        if self.net.load_param(str(self.path)) != 0 or self.net.load_model(str(numbers)) != 0:
            raise PoseError(f"{path} is not a file that ncnn can run.")
        found = self.run(np.zeros((1, 3, *self.description.input_size), np.float32))
        self.shapes = {name: list(each.shape) for name, each in found.items()}

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        extractor: Any = self.net.create_extractor()
        image = np.ascontiguousarray(images[0])  # ncnn reads it where it lies
        found = {}
        for name in self.net.input_names():
            extractor.input(name, self.mat(image))
        for name in self.net.output_names():
            code, values = extractor.extract(name)
            if code != 0:
                raise PoseError(f"ncnn cannot run {self.path}: its {name} gives error {code}.")
            found[name] = np.array(values)[None]
        return found
