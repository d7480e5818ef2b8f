"""What runs a network: ONNX Runtime, OpenVINO, LiteRT or ncnn for exported files, torch for checkpoints.

A backend maps crops to the network's outputs and knows nothing of protocols; the estimator stands on top.
"""

from __future__ import annotations

import os
import typing
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from featherpose.errors import PoseError
from featherpose.inference import litert, ncnn
from featherpose.inference.description import KEY, Beside, Description, description_of, said_beside
from featherpose.inference.outputs import Heatmaps, Output, Vectors
from featherpose.machine import cores
from featherpose.protocol import PAPER_TTA
from featherpose.skeletons import Skeleton

RUNTIMES = ("onnxruntime", "openvino")
SUFFIXES = (".onnx", ".xml", litert.SUFFIX, ncnn.SUFFIX)
IN_TWO = (".xml", ncnn.SUFFIX)  # the graph; its numbers lie beside it, in a .bin file


class Backend(typing.Protocol):
    """A network that is ready to run."""

    description: Description

    def __call__(self, crops: np.ndarray) -> list[Output]:
        """The outputs of uint8 crops (B, 3, H, W), one a supervision, the last one final."""
        ...


def open_session(source: str | Path | bytes, threads: int = 0, small: bool = True) -> Any:
    """An ONNX Runtime session on the CPU; every session of featherpose is opened here.

    Args:
        source: the file, or a model's bytes.
        threads: 0 for one per core.
        small: keep its memory small: no plan of all activations ahead, which is 20 MB for LAPX and under 1% of its
            time.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise PoseError("ONNX files need onnxruntime: pip install onnxruntime.") from error
    if not isinstance(source, bytes) and not Path(source).is_file():
        raise PoseError(f"There is no ONNX file {source}.")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    # threads that wait busily after a pass take the core from whatever comes next, another session included: with two
    # alternating sessions on two cores a pass took half as long again
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = 3
    options.enable_mem_pattern = not small
    model = source if isinstance(source, bytes) else str(source)
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has its own kinds
        raise PoseError(
            f"{source} is not an ONNX file that can be run: {str(error).splitlines()[0]}"
        ) from error


def run(session: Any, images: np.ndarray) -> dict[str, np.ndarray]:
    """Outputs by name."""
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: images}), strict=True))


def numbers(crops: Any, description: Description) -> np.ndarray:
    """uint8 crops (B, 3, H, W), an array or a tensor, as the float32 that the file takes."""
    mean = np.array(description.mean, np.float32) * 255
    deviation = np.array(description.deviation, np.float32) * 255
    images = np.asarray(crops).astype(np.float32)
    images -= mean[:, None, None]
    images /= deviation[:, None, None]
    return images


class OnnxRuntime:
    """An ONNX file, in ONNX Runtime.

    Where there is an image for each thread, every thread takes whole images in a session of its own width: two images
    on two threads take 1.6 times as long as one on both, as a batch twice as long.
    """

    def __init__(self, path: str | Path, threads: int = 0) -> None:
        self.path, self.threads = path, threads or cores()
        self.pools: dict[int, ThreadPoolExecutor] = {}  # by the process
        self.session = open_session(path, threads)
        entry = self.session.get_inputs()[0]
        self.input: str = entry.name
        self.size: list[int | None] = [d if isinstance(d, int) else None for d in entry.shape]
        self.batch = self.size[0]
        self.takes_bytes = "uint8" in entry.type
        self.shapes = {output.name: list(output.shape) for output in self.session.get_outputs()}
        self.metadata: str | None = self.session.get_modelmeta().custom_metadata_map.get(KEY)

    @property
    def description(self) -> Description:
        return description_of(self.path, self.metadata, self.size)

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Outputs by name. On one thread images go one by one, whose activations stay in the core's cache."""
        if self.batch is not None or len(images) < self.threads or len(images) == 1:
            return run(self.session, images)
        parts = np.split(images, len(images))
        if self.threads == 1:
            found = [run(self.session, part) for part in parts]
        else:
            found = list(self.pool.map(partial(run, self.single), parts))
        return {name: np.concatenate([each[name] for each in found]) for name in found[0]}

    @cached_property
    def single(self) -> Any:
        """For one thread; made when several images come together for the first time."""
        return open_session(self.path, 1)

    @property
    def pool(self) -> ThreadPoolExecutor:
        """This process's own: a fork has none of its parent's threads, and would wait for them for ever."""
        process = os.getpid()
        if process not in self.pools:
            self.pools = {process: ThreadPoolExecutor(self.threads)}
        return self.pools[process]


def _last_line(error: BaseException) -> str:
    """OpenVINO says the reason last; empty lines may follow."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


@cache
def openvino_core() -> Any:
    """OpenVINO's one core, which stays for as long as the process does.

    Its CPU plugin gives the thread that opens it a stack for signals and takes it away with the last core. The next
    signal, as from a data worker that ends, would then have nowhere to go: a segmentation fault (seen with 2026.4).
    """
    try:
        import openvino
    except ImportError as error:
        raise PoseError("This needs openvino: pip install 'featherpose[openvino]'.") from error
    return openvino.Core()


class OpenVINO:
    """An exported file (.onnx, .tflite, or .xml with its .bin), in OpenVINO: the fastest float32 here on x86."""

    def __init__(self, path: str | Path, threads: int = 0) -> None:
        core = openvino_core()
        if not Path(path).is_file():
            raise PoseError(f"There is no file {path}.")
        try:
            model = core.read_model(str(path))
        except Exception as error:  # openvino has its own kinds
            raise PoseError(
                f"{path} is not a file that OpenVINO can read: {_last_line(error)}"
            ) from error
        self.path = path
        self.metadata: str | None = None
        if model.has_rt_info([KEY]):
            self.metadata = model.get_rt_info([KEY]).astype(str)
        elif Path(path).suffix == ".onnx":
            self.metadata = open_session(path, 1).get_modelmeta().custom_metadata_map.get(KEY)
        self.size = _lengths(model.inputs[0].partial_shape)
        self.batch = self.size[0]
        self.takes_bytes = model.inputs[0].element_type.get_type_name() == "u8"
        self.shapes = {o.get_any_name(): _lengths(o.partial_shape) for o in model.outputs}
        # the CPU's own default may be bfloat16, which moves heatmaps by 2%
        options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        if threads:
            options["INFERENCE_NUM_THREADS"] = threads
        self.model = core.compile_model(model, "CPU", options)

    @property
    def description(self) -> Description:
        return description_of(self.path, self.metadata, self.size)

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        found = self.model(images)
        return {name: np.asarray(found[i]) for i, name in enumerate(self.shapes)}


def _lengths(shape: Any) -> list[int | None]:
    return [None if axis.is_dynamic else int(axis.get_length()) for axis in shape]


def bytes_of(path: Path) -> int:
    """A network's file, with its numbers."""
    numbers = [path.with_suffix(".bin")] if path.suffix in IN_TWO else []
    return sum(each.stat().st_size for each in (path, *numbers))


def check_runtime(runtime: str) -> None:
    if runtime not in RUNTIMES:
        raise PoseError(f"There is no runtime={runtime}; known: {', '.join(RUNTIMES)}.")


def open_runtime(
    path: str | Path, runtime: str = "onnxruntime", threads: int = 0
) -> OnnxRuntime | OpenVINO | litert.ChannelsFirst | ncnn.Ncnn:
    """What runs the file: OpenVINO where it is asked for and for its own .xml files, LiteRT for .tflite files.

    OpenVINO runs these too where LiteRT is not installed.
    """
    check_runtime(runtime)
    suffix = Path(path).suffix.lower()
    if suffix == litert.SUFFIX:
        taken = OpenVINO if runtime == "openvino" or not litert.is_first_choice() else litert.LiteRT
        return litert.ChannelsFirst(path, taken(path, threads))
    if suffix == ncnn.SUFFIX:
        return ncnn.Ncnn(path, threads)
    openvino = runtime == "openvino" or suffix == ".xml"
    return OpenVINO(path, threads) if openvino else OnnxRuntime(path, threads)


def _pair(shapes: Mapping[str, list]) -> list[str]:
    """The outputs that are two vectors a joint: x and y as ours call them, or whatever two have three axes."""
    return (
        ["x", "y"] if {"x", "y"} <= shapes.keys() else [n for n, s in shapes.items() if len(s) == 3]
    )


class FileBackend:
    """A network in a file.

    Args:
        path: .onnx, .tflite, ncnn's .ncnn.param, or OpenVINO's .xml.
        runtime: of RUNTIMES; openvino takes any file but ncnn's.
        threads: 0 for one per core.
        skeleton: of files that do not say theirs, as other programs write them, where no FILE.json beside them does;
            None refuses these.
    """

    def __init__(
        self,
        path: str | Path,
        runtime: str = "onnxruntime",
        threads: int = 0,
        skeleton: Skeleton | None = None,
    ) -> None:
        self.path = path
        self.runtime = open_runtime(path, runtime, threads)
        if len(self.runtime.size) != 4:
            raise PoseError(f"{path} does not take images (batch, 3, height, width).")
        shapes = self.runtime.shapes
        self.maps = [name for name, shape in shapes.items() if len(shape) == 4]
        # other programs' earlier outputs may be of another kind or size
        self.maps = [name for name in self.maps if shapes[name][1:] == shapes[self.maps[-1]][1:]]
        self.vectors = [] if self.maps else _pair(shapes)
        if not self.maps and len(self.vectors) != 2:
            raise PoseError(
                f"{path} gives neither heatmaps nor two vectors a joint, so nothing can decode them: "
                "export it with heatmaps."
            )
        said = said_beside(path) if self.runtime.metadata is None else Beside()
        known = said.skeleton or skeleton
        if self.runtime.metadata is not None or known is None:
            self.description = self.runtime.description
        else:
            self.description = self._describe(known, said)
        self._check_joints()

    def _describe(self, skeleton: Skeleton, said: Beside) -> Description:
        """From the graph, and from what is said beside it."""
        height, width = self.runtime.size[2:]
        if height is None or width is None:
            raise PoseError(
                f"{self.path} leaves its input size open: export it with fixed height and width."
            )
        stride = 1
        if self.maps:
            rows = self.runtime.shapes[self.maps[-1]][2]
            if not isinstance(rows, int) or not 0 < rows <= height:
                raise PoseError(f"{self.path} leaves the size of its heatmaps open.")
            stride = height // rows
        return Description(
            skeleton, (height, width), stride, PAPER_TTA, mean=said.mean, deviation=said.deviation
        )

    def _check_joints(self) -> None:
        name = (self.maps or self.vectors)[-1]
        joints = self.runtime.shapes[name][1]
        if isinstance(joints, int) and joints != len(self.description.skeleton):
            kind = "heatmaps" if self.maps else "pairs of vectors"
            raise PoseError(
                f"{self.path} gives {joints} {kind}, but the skeleton {self.description.skeleton.name} has "
                f"{len(self.description.skeleton)} joints."
            )

    def __call__(self, crops: np.ndarray) -> list[Output]:
        found = self._run(crops if self.runtime.takes_bytes else numbers(crops, self.description))
        if self.maps:
            return [Heatmaps(found[name], self.description.stride) for name in self.maps]
        x, y = (found[name] for name in self.vectors)
        return [Vectors(x, y, x.shape[2] // self.description.input_size[1])]

    def _run(self, images: np.ndarray) -> Mapping[str, np.ndarray]:
        """A file of a fixed batch gets its last one filled up."""
        images, size = np.ascontiguousarray(images), self.runtime.batch
        if size is None or size == len(images):
            return self.runtime.run(images)
        missing = -len(images) % size
        filled = np.concatenate([images, np.repeat(images[-1:], missing, axis=0)])
        parts = [self.runtime.run(part) for part in np.split(filled, len(filled) // size)]
        return {
            name: np.concatenate([part[name] for part in parts])[: len(images)] for name in parts[0]
        }
