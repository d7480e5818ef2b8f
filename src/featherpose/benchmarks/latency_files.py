"""The exported networks that the latency benchmark compares, kept between runs."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

import onnx_ir as ir
import torch
from omegaconf import DictConfig, OmegaConf

from featherpose.benchmarks.latency_scores import ScoredRun
from featherpose.benchmarks.sizes import composed
from featherpose.benchmarks.stopwatch import Candidate, size_of
from featherpose.errors import PoseError
from featherpose.export.onnx import OWN, Deployed, export, graph_of
from featherpose.export.quick import settle
from featherpose.export.rewrite import rewrite
from featherpose.files import replacing
from featherpose.inference.backends import open_session
from featherpose.inference.checkpoints import from_checkpoint
from featherpose.inference.description import Description
from featherpose.models.count import macs
from featherpose.models.network import PoseNetwork
from featherpose.protocol import Protocol
from featherpose.skeletons import COCO
from featherpose.targets import build
from featherpose.zoo.checkpoint import find_checkpoint

# Of the distance from torch in float64, relative to the highest output; `OWN` times that of torch's own float32 is
# allowed too: random networks gather more rounding than trained ones, RePose 2e-3. A wrong graph is off by its height.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Entry:
    """One row of the comparison before it is measured."""

    key: str  # of conf/model, or the user's file or checkpoint
    candidate: Candidate
    parameters: int
    macs: int | None


def entries_of(
    name: str, size: tuple[int, int], rewritten: Sequence[bool], cache: Path
) -> list[Entry]:
    """The network as torch exports it, as src/export.py writes it, or both."""
    cfg = model_config(name, size)
    with torch.device("meta"):
        skeleton = build(cfg)
    parameters, operations = sum(p.numel() for p in skeleton.parameters()), macs(skeleton, *size)
    paths = {kind: cache / f"{name}-{digest(skeleton, cfg, size, kind)}.onnx" for kind in rewritten}
    missing = [kind for kind, path in paths.items() if not path.is_file()]
    if missing:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = settle(build(cfg), size)
        for kind in missing:
            write(network, paths[kind], size, kind)
    return [
        Entry(
            name,
            Candidate(f"{name}, rewritten" if kind else name, path, *size, small=kind),
            parameters,
            operations,
        )
        for kind, path in paths.items()
    ]


def entry_of_run(run: ScoredRun, cache: Path) -> Entry:
    """The trained network of a run as torch exports it, in its own input size."""
    saved = find_checkpoint(run.run.folder)
    trained = from_checkpoint(saved)
    network, size = trained.network, trained.input_size
    weights = hashlib.sha256(saved.read_bytes()).hexdigest()
    made_of = digest(network, OmegaConf.create({"weights": weights}), size, rewritten=False)
    path = cache / f"{run.run.folder.name}-{made_of}.onnx"
    if not path.is_file():
        write(network, path, size, rewritten=False)
    parameters = sum(p.numel() for p in network.parameters())
    candidate = Candidate(run.name, path, *size)
    return Entry(str(saved), candidate, parameters, macs(network, *size))


def model_config(name: str, size: tuple[int, int]) -> DictConfig:
    overrides = [f"model={name}", "data=coco", f"data.input_size=[{size[0]},{size[1]}]"]
    cfg = composed(overrides).model
    OmegaConf.resolve(cfg)
    if "output" in cfg:
        cfg.output = "vectors"
    return cfg


def digest(network: PoseNetwork, cfg: DictConfig, size: tuple[int, int], rewritten: bool) -> str:
    """Of what the exported file depends on: config, the code of the network's parts and of the export, torch."""
    sources = {
        inspect.getsourcefile(type(m))
        for m in network.modules()
        if type(m).__module__.startswith("featherpose")
    }
    files = [*sorted(str(file) for file in sources), inspect.getsourcefile(graph_of)]
    files += [inspect.getsourcefile(rewrite)] if rewritten else []
    made_of = [
        json.dumps(OmegaConf.to_container(cfg), sort_keys=True),
        repr((size, rewritten)),
        torch.__version__,
    ]
    text = "\n".join(
        [*made_of, inspect.getsource(settle), *(Path(str(file)).read_text() for file in files)]
    )
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def write(network: PoseNetwork, path: Path, size: tuple[int, int], rewritten: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if rewritten:
        crops = torch.randint(
            0, 256, (2, 3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
        )
        description = Description(COCO, size, network.stride, Protocol(), network=path.stem)
        export(Deployed(network, COCO), path, crops, description, tolerance=TOLERANCE)
        return
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        exact = deepcopy(network).double()(images.double())
        highest = exact[-1].abs().max()
        own = float((network(images)[-1] - exact[-1]).abs().max() / highest)
    outputs = tuple(f"output{i}" for i in range(len(exact)))
    with replacing(path) as beside:
        ir.save(graph_of(network, size, outputs, batch=None), beside)
        session = open_session(beside)
        feed = {session.get_inputs()[0].name: images.numpy()}
        found = torch.from_numpy(session.run(None, feed)[-1])
        error = float((found - exact[-1]).abs().max() / highest)
        if not error <= max(TOLERANCE, OWN * own):
            raise PoseError(
                f"The export of {path.stem} differs from torch in float64 by {error:.1e} of the highest value, "
                f"torch's own float32 by {own:.1e}."
            )


def entry_of_file(path: Path, size: tuple[int, int]) -> Entry:
    """A user's own ONNX file; its operations are not counted, its parameters are its float constants."""
    batch, height, width = size_of(path, size)
    model = ir.load(path)
    constants = (value.const_value for value in model.graph.initializers.values())
    parameters = sum(c.size for c in constants if c is not None and c.dtype == ir.DataType.FLOAT)
    candidate = Candidate(path.stem, path, height, width)
    return Entry(str(path), replace(candidate, batch=batch), parameters, None)
