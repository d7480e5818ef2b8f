"""From a network to an ONNX file that gives the same keypoints, or to no file at all."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx_ir as ir
import torch
from onnx_ir.passes import common
from torch import Tensor, nn

from featherpose import vectors
from featherpose.errors import PoseError
from featherpose.export.open_batch import EXAMPLE, open_batch
from featherpose.export.rewrite import rewrite
from featherpose.files import replacing
from featherpose.heatmaps import decode, flip_test
from featherpose.inference.backends import numbers, open_session, run
from featherpose.inference.description import KEY, Description
from featherpose.models.network import PoseNetwork, lay_out
from featherpose.pixels import normalise
from featherpose.skeletons import Skeleton

TOLERANCE = 1e-5  # of heatmaps, relative to the highest; torch's own kernels differ by 1e-6 among each other
OWN = 2  # times torch's own distance from float64 are allowed too: deep random networks round by more than TOLERANCE
TOLERANCE_PIXELS = 0.02  # of keypoints, in heatmap pixels
DECODED = ("keypoints", "confidence")
Runner = Callable[[np.ndarray], dict[str, np.ndarray]]


class Deployed(nn.Module):
    """What is exported: the last heatmaps, or both vectors of a joint; with the flip test and the decoding by choice.

    Decoded keypoints are crop pixels (B, K, 2); `flip` runs crops and mirrored crops as one batch, which several
    threads share best, or with `passes` one after the other, which keeps a single core's caches warm.
    """

    def __init__(
        self,
        network: PoseNetwork,
        skeleton: Skeleton,
        flip: bool = False,
        shift: bool = True,
        decoder: str | None = None,
        passes: bool = False,
    ):
        super().__init__()
        self.network = copy.deepcopy(network).eval().float().cpu().requires_grad_(False)
        lay_out(self.network, torch.contiguous_format)
        self.gives_vectors = bool(getattr(network, "gives_vectors", False))  # one's own may not say
        self.order = list(skeleton.flip_order)
        self.flip = flip
        self.shift = shift
        self.decoder = decoder
        self.stride = network.stride
        self.passes = passes

    @property
    def names(self) -> tuple[str, ...]:
        """Of what the network gives."""
        return ("x", "y") if self.gives_vectors else ("heatmaps",)

    @property
    def all_names(self) -> tuple[str, ...]:
        return (*self.names, *(DECODED if self.decoder else ()))

    def alone(self) -> Deployed:
        """The network without the flip test and the decoding."""
        found = copy.copy(self)
        found.flip, found.decoder = False, None
        return found

    def outputs(self, images: Tensor) -> list[Tensor]:
        if not self.flip:
            return self.last(images)
        return flip_test(self.last, images, self.order, self.shift, self.passes)

    def last(self, images: Tensor) -> list[Tensor]:
        """The final output alone."""
        outputs = self.network(images)
        return outputs if self.gives_vectors else outputs[-1:]

    def joined(self, images: Tensor) -> Tensor:
        """Heatmaps, or both vectors of each joint in a row."""
        return torch.cat(self.outputs(images), dim=-1)

    def places(self, joined: Tensor, how: str) -> tuple[Tensor, Tensor]:
        """Points (B, K, 2) in heatmap pixels and confidences (B, K)."""
        if not self.gives_vectors:
            return decode(joined, how)
        height, width = self.network.input_size
        bins = joined.shape[-1] // (height + width)
        x, y = joined.split([bins * width, bins * height], dim=-1)
        points, confidence = vectors.decode(x, y, bins)
        return points / self.stride, confidence

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        outputs = self.outputs(images)
        if self.decoder is None:
            return outputs[0] if len(outputs) == 1 else tuple(outputs)
        points, confidence = self.places(torch.cat(outputs, dim=-1), self.decoder)
        return (*outputs, points * self.stride, confidence)


@dataclass(frozen=True)
class Parity:
    """How far an exported file is from torch in float64 on the same crops."""

    crops: int
    heatmaps: float  # largest difference over the largest value
    torch: float  # the same of torch's own float32
    keypoints: float  # largest distance in heatmap pixels
    unsettled: int = 0  # keypoints that torch's own rounding decides: two pixels equally high
    changes: Mapping[str, int] | None = None  # how often each rewrite was made


@contextmanager
def quiet() -> Generator[None, None, None]:
    """The exporter tells of optional packages that nothing here uses, and of every constant that it shares."""
    logs = [logging.getLogger(name) for name in ("torch.onnx", "onnx_ir", "onnxscript")]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)


def graph_of(
    module: nn.Module,
    input_size: tuple[int, int],
    names: tuple[str, ...],
    batch: int | None,
    optimize: bool = False,
) -> ir.Model:
    """torch's export; `batch=None` leaves the batch open, by tracing a fixed one where that will do.

    `optimize` is torch's own, whose search for patterns grows with the square of a graph: minutes for networks of
    many branches. Without it constants are folded, which is what is left of it once the runtime has opened the file.
    """
    module = exportable(copy.deepcopy(module)).requires_grad_(False)
    if batch is None and not optimize:
        model = traced(module, input_size, names, EXAMPLE, optimize)
        if open_batch(model):
            return model
    return traced(module, input_size, names, batch, optimize)


def traced(
    module: nn.Module,
    input_size: tuple[int, int],
    names: tuple[str, ...],
    batch: int | None,
    optimize: bool,
) -> ir.Model:
    """One pass of torch's exporter; `batch=None` traces with a symbol."""
    example = torch.randn(batch or 2, 3, *input_size)
    with torch.no_grad():
        module(example[:2])  # constants that are made once are made here, not while tracing
    with quiet():
        program = torch.onnx.export(
            module,
            (example,),
            input_names=["images"],
            output_names=list(names),
            dynamic_shapes=None if batch else ({0: torch.export.Dim.DYNAMIC},),
            dynamo=True,
            verbose=False,
            optimize=optimize,
        )
    if program is None:
        raise PoseError("torch.onnx.export gave no program; is onnxscript installed?")
    if not optimize:
        with quiet():
            fold(program.model)
    if batch is None:  # the same name everywhere, and one that people can read
        rename_batch(program.model)
    return program.model


def exportable(module: nn.Module) -> nn.Module:
    """Lets parts that have a form for exporting take it, in place."""
    for name, child in module.named_children():
        own_form = getattr(child, "for_export", None)
        setattr(module, name, exportable(child) if own_form is None else own_form())
    return module


def fold(model: ir.Model) -> None:
    """Computes what constants alone decide, and tidies up."""
    from onnxscript import optimizer

    common.InlinePass()(model)
    optimizer.fold_constants(model)
    for tidy in (
        common.RemoveUnusedNodesPass(),
        common.RemoveUnusedFunctionsPass(),
        common.RemoveUnusedOpsetsPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.DeduplicateInitializersPass(),
        common.CommonSubexpressionEliminationPass(),
        common.OutputFixPass(),
        common.NameFixPass(),
    ):
        tidy(model)


def rename_batch(model: ir.Model) -> None:
    shape = model.graph.inputs[0].shape
    assert shape is not None
    symbol = shape[0]
    for value in (*model.graph.inputs, *model.graph.outputs):
        if value.shape is not None and value.shape[0] == symbol:
            value.shape[0] = ir.SymbolicDim("batch")


def export(
    deployed: Deployed,
    path: str | Path,
    crops: Tensor,
    description: Description,
    rewritten: bool = True,
    batch: int | None = None,
    tolerance: float = TOLERANCE,
) -> Parity:
    """Writes the file once it has given torch's heatmaps and keypoints on the crops (uint8, (B, 3, H, W)).

    Raises PoseError, and leaves an older file of that name as it was, where they differ.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with torch.inference_mode():
        if not bool(torch.isfinite(deployed.joined(normalise(crops))).all()):
            raise PoseError(
                "The network gives NaN or infinite heatmaps in torch already: its weights are damaged."
            )
    model = graph_of(deployed, description.input_size, deployed.all_names, batch)
    with quiet():
        changes = rewrite(model) if rewritten else None
        common.DeduplicateInitializersPass(size_limit=2**30)(
            model
        )  # two passes share their weights
    model.metadata_props[KEY] = description.to_json()
    model.producer_name, model.producer_version = "featherpose", description.version
    with replacing(path) as beside:
        ir.save(model, beside)
        parity = compare(deployed, beside, crops, description, path, tolerance, batch)
    return replace(parity, changes=changes)


def compare(
    deployed: Deployed,
    file: Path,
    crops: Tensor,
    description: Description,
    called: Path | None = None,
    tolerance: float = TOLERANCE,
    batch: int | None = None,
    runner: Runner | None = None,
) -> Parity:
    """Runs file and torch on the crops, one crop and the rest so that the batch varies; PoseError where they differ.

    The judge is torch in float64: a file may be as far from it as `tolerance`, or twice as far as torch's own float32,
    which has no better claim to be right. Keypoints, and so the heatmaps' highest places, have to be equal besides.
    """
    # Both on the same crops
    runner = runner or partial(run, open_session(file))
    parts = batches(crops, batch)
    found = [runner(numbers(part, description)) for part in parts]
    wanted, own = reference(deployed, parts)
    heatmaps = torch.cat([torch.from_numpy(joined_of(each, deployed.names)) for each in found])
    called = called or file
    if heatmaps.shape != wanted.shape:
        raise PoseError(
            f"{called} is not written: its heatmaps are {tuple(heatmaps.shape)}, torch's {tuple(wanted.shape)}."
        )
    # How far the heatmaps are apart, relative to their highest value
    highest = max(float(wanted.abs().max()), 1e-12)
    worst = float((heatmaps - wanted).abs().max())
    error, own = worst / highest, own / highest
    allowed = max(tolerance, OWN * own)
    if not error <= allowed:  # NaN too
        raise PoseError(
            f"{called} is not written: its heatmaps differ from torch's in float64 by {error:.1e} of the highest "
            f"value, more than {allowed:.0e}; torch's own float32 by {own:.1e}."
        )
    inside = [torch.from_numpy(each["keypoints"]) for each in found if deployed.decoder]
    off, unsettled = compare_keypoints(
        deployed, wanted, heatmaps, torch.cat(inside) if inside else None, description, worst
    )
    if not off <= TOLERANCE_PIXELS:
        raise PoseError(
            f"{called} is not written: a keypoint differs from torch's by {off:.2f} heatmap pixels, "
            f"more than {TOLERANCE_PIXELS}."
        )
    return Parity(len(wanted), error, own, off, unsettled)


def compare_keypoints(
    deployed: Deployed,
    wanted: Tensor,
    heatmaps: Tensor,
    inside: Tensor | None,
    description: Description,
    noise: float,
) -> tuple[float, int]:
    """The largest distance in heatmap pixels where rounding does not decide; and how many it decides.

    Args:
        deployed: the network.
        wanted, heatmaps: torch's and the file's, (N, J, H, W).
        inside: the keypoints of a file that decodes by itself, in pixels of the crop.
        description: the file's.
        noise: how far the heatmaps are apart.
    """
    how = deployed.decoder or description.protocol.decoder
    points = deployed.places(wanted, how)[0]
    theirs = deployed.places(heatmaps, how)[0] if inside is None else inside / deployed.stride
    distance = (points - theirs).norm(dim=-1)
    settled = settled_joints(deployed, wanted, how, points, noise)
    off = float(distance[settled].max()) if settled.any() else 0.0
    return off, int((~settled & (distance > TOLERANCE_PIXELS)).sum())


def batches(crops: Tensor, batch: int | None) -> list[Tensor]:
    """One crop and the rest, or batches of a fixed size, of crops that come twice where there are too few."""
    if batch is None:
        return [part for part in (crops[:1], crops[1:]) if len(part)]
    enough = crops.repeat(-(-batch // len(crops)), 1, 1, 1)
    return [part for part in torch.split(enough, batch) if len(part) == batch]


@torch.inference_mode()
def reference(deployed: Deployed, parts: Sequence[Tensor]) -> tuple[Tensor, float]:
    """The heatmaps in float64, and how far from them torch's own float32 is at most."""
    exact = copy.deepcopy(deployed).double()
    images = [normalise(part) for part in parts]
    wanted = torch.cat([exact.joined(each.double()) for each in images])
    plain = torch.cat([deployed.joined(each) for each in images])
    return wanted, float((plain - wanted).abs().max())


def named(deployed: Deployed, run: Runner) -> Runner:
    """Of a runtime whose file has its outputs in the network's order, under names of its own."""
    return lambda images: dict(zip(deployed.names, run(images).values(), strict=True))


def joined_of(found: Mapping[str, np.ndarray], names: Sequence[str]) -> np.ndarray:
    """`Deployed.joined` of a file's outputs."""
    return np.concatenate([found[name] for name in names], axis=-1)


def settled_joints(
    deployed: Deployed, heatmaps: Tensor, how: str, points: Tensor, noise: float
) -> Tensor:
    """Which joints (B, K) stay where they are when noise as large as the measured difference is added.

    Where two pixels are equally high to the last bit, the smallest rounding decides; that is no fault of an export.
    """
    generator = torch.Generator().manual_seed(0)
    settled = torch.ones(points.shape[:2], dtype=torch.bool)
    for _ in range(8):
        signs = torch.randint(0, 2, heatmaps.shape, generator=generator) * 2 - 1
        moved = deployed.places(heatmaps + signs * 2 * noise, how)[0]
        settled &= (moved - points).norm(dim=-1) <= TOLERANCE_PIXELS
    return settled
