"""Running exported files: ONNX Runtime by default, OpenVINO by choice."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from featherpose.errors import PoseError
from featherpose.inference.description import KEY, Description


def open_session(path: str | Path, threads: int = 0, small: bool = True) -> Any:
    """An ONNX Runtime session on the CPU.

    Args:
        path: the file.
        threads: 0 for one per core.
        small: keep its memory small: no plan of all activations ahead, which is 20 MB for LAPX and under 1% of its
            time.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise PoseError("ONNX files need onnxruntime: pip install 'featherpose[onnx]'.") from error
    if not Path(path).is_file():
        raise PoseError(f"There is no ONNX file {path}.")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    # threads that wait busily after a pass take the core from whatever comes next, another session included: with two
    # sessions in turn on two cores a pass took half as long again
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = 3
    options.enable_mem_pattern = not small
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has its own kinds
        raise PoseError(
            f"{path} is not an ONNX file that can be run: {str(error).splitlines()[0]}"
        ) from error


def run(session: Any, images: np.ndarray) -> dict[str, np.ndarray]:
    """Outputs by name."""
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: images}), strict=True))


def numbers(images: Tensor, description: Description) -> np.ndarray:
    """uint8 crops (B, 3, H, W) as the float32 that the file takes."""
    mean = torch.tensor(description.mean).mul(255).view(1, 3, 1, 1)
    deviation = torch.tensor(description.deviation).mul(255).view(1, 3, 1, 1)
    return images.float().sub_(mean).div_(deviation).contiguous().numpy()


def describe(path: str | Path, session: Any) -> Description:
    """The file's own account of itself."""
    text = session.get_modelmeta().custom_metadata_map.get(KEY)
    if text is None:
        raise PoseError(
            f"{path} is an ONNX file without featherpose metadata, so its skeleton and input are unknown: "
            "export the checkpoint with src/export.py."
        )
    description = Description.from_json(text, str(path))
    shape = session.get_inputs()[0].shape
    if len(shape) == 4:
        description.check_shape(*shape[2:], str(path))
    return description


class OnnxRuntime:
    """An exported ONNX file, in ONNX Runtime.

    Where there is an image for each thread, every thread takes whole images in a session of its own width: two images
    on two threads take 1.6 times as long as one on both, as a batch twice as long.
    """

    def __init__(self, path: str | Path, threads: int = 0) -> None:
        self.path, self.threads = path, threads or cores()
        self.session = open_session(path, threads)
        self.description = describe(path, self.session)
        size = self.session.get_inputs()[0].shape[0]
        self.batch = size if isinstance(size, int) else None

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        if self.batch is not None or self.threads == 1 or len(images) < self.threads:
            return run(self.session, images)
        found = list(self.pool.map(partial(run, self.single), np.split(images, len(images))))
        return {name: np.concatenate([each[name] for each in found]) for name in found[0]}

    @cached_property
    def single(self) -> Any:
        """For one thread; made when several images come together for the first time."""
        return open_session(self.path, 1)

    @cached_property
    def pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.threads)


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class OpenVINO:
    """An exported file (.onnx, or .xml with its .bin), in OpenVINO: the fastest float32 here on x86."""

    def __init__(self, path: str | Path, threads: int = 0) -> None:
        try:
            import openvino
        except ImportError as error:
            raise PoseError("This needs openvino: pip install 'featherpose[openvino]'.") from error
        if not Path(path).is_file():
            raise PoseError(f"There is no file {path}.")
        core = openvino.Core()
        try:
            model = core.read_model(str(path))
        except Exception as error:  # openvino has its own kinds
            raise PoseError(
                f"{path} is not a file that OpenVINO can read: {str(error).splitlines()[-1]}"
            ) from error
        if Path(path).suffix == ".onnx":
            self.description = describe(path, open_session(path, 1))
        elif model.has_rt_info([KEY]):
            self.description = Description.from_json(
                model.get_rt_info([KEY]).astype(str), str(path)
            )
        else:
            raise PoseError(
                f"{path} holds no featherpose metadata: write it with src/export.py openvino=true."
            )
        size = model.inputs[0].partial_shape[0]
        self.batch = None if size.is_dynamic else int(size.get_length())
        # the CPU's own default may be bfloat16, which moves heatmaps by 2%
        options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        if threads:
            options["INFERENCE_NUM_THREADS"] = threads
        self.model = core.compile_model(model, "CPU", options)
        self.names = [output.get_any_name() for output in self.model.outputs]

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        found = self.model(images)
        return {name: np.asarray(found[i]) for i, name in enumerate(self.names)}
