"""ncnn's files of the same function, checked like an ONNX file before they are written."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import onnx_ir as ir
from torch import Tensor, nn

from featherpose.errors import PoseError
from featherpose.export.onnx import (
    TOLERANCE,
    Deployed,
    Parity,
    compare,
    graph_of,
    named,
    quiet,
)
from featherpose.export.rewrite import rewrite
from featherpose.files import replacing
from featherpose.inference.description import Description
from featherpose.inference.ncnn import Ncnn

LONGEST = 600  # seconds
OPENS = "import sys; from featherpose.inference.ncnn import Ncnn; Ncnn(sys.argv[1])"


def export_ncnn(
    deployed: Deployed,
    path: Path,
    crops: Tensor,
    description: Description,
    tolerance: float = TOLERANCE,
) -> Parity:
    """Writes `path` (.ncnn.param), its .bin and its .json: the network alone in float32, for one image at a time."""
    deployed = deployed.alone()
    description = description.of_network_alone("ncnn")
    graph, weights = converted(deployed, deployed.names, description.input_size)
    with (
        replacing(path) as beside,
        replacing(path.with_suffix(".bin")) as numbers,
        replacing(path.with_suffix(".json")) as note,
    ):
        beside.write_bytes(graph)
        numbers.write_bytes(weights)
        note.write_text(description.to_json(), encoding="utf-8")
        check_it_runs(beside, path)
        runner = named(deployed, Ncnn(beside).run)
        return compare(deployed, beside, crops, description, path, tolerance, 1, runner)


def converted(
    module: nn.Module, names: tuple[str, ...], input_size: tuple[int, int]
) -> tuple[bytes, bytes]:
    """Graph and numbers. The rewritten ONNX graph is converted: what torch traces makes pnnx end at an ELU in place."""
    check_converter()
    model = graph_of(module, input_size, names, 1)
    with quiet():
        rewrite(model)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        ir.save(model, place / "network.onnx")
        shape = f"inputshape=[1,3,{input_size[0]},{input_size[1]}]"
        # fp16=0: else it stores numbers of 16 bits
        command = [_pnnx(), "network.onnx", shape, "fp16=0"]
        done = subprocess.run(
            command, cwd=place, capture_output=True, text=True, timeout=LONGEST, check=False
        )
        graph, weights = place / "network.ncnn.param", place / "network.ncnn.bin"
        if done.returncode != 0 or not graph.is_file() or not weights.is_file():
            said = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
            raise PoseError(f"pnnx cannot convert the network (code {done.returncode}): {said[-1]}")
        return graph.read_bytes(), weights.read_bytes()


def check_it_runs(written: Path, path: Path) -> None:
    """In a process of its own: a graph that ncnn cannot take may end the process instead of giving an error."""
    command = [sys.executable, "-c", OPENS, str(written)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["it ended without a word"]
        raise PoseError(
            f"{path} is not written: ncnn cannot run what pnnx made of the network (code {done.returncode}): {said[-1]}"
        )


def check_converter() -> None:
    """PoseError where it is not installed."""
    if find_spec("pnnx") is None:
        raise PoseError("format=ncnn needs pnnx: pip install 'featherpose[formats]'.")


def _pnnx() -> str:
    import pnnx

    return str(pnnx.EXEC_PATH)
