"""Networks as files of every format that an export writes, each once it has passed its gate; kept between runs."""

from __future__ import annotations

import copy
import hashlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from torch import Tensor

from featherpose.benchmarks.latency_files import TOLERANCE as OF_RANDOM
from featherpose.benchmarks.latency_files import digest, model_config, settle
from featherpose.benchmarks.sizes import composed
from featherpose.data.datamodule import PoseDataModule
from featherpose.data.dataset import CropDataset
from featherpose.errors import PoseError
from featherpose.export.half import halve, values_of
from featherpose.export.litert import export_litert
from featherpose.export.litert_smaller import halve_litert, quantise_litert
from featherpose.export.ncnn import export_ncnn
from featherpose.export.onnx import TOLERANCE, Deployed, export
from featherpose.export.openvino import export_openvino
from featherpose.export.quantise import quantise
from featherpose.inference.backends import Backend, FileBackend
from featherpose.inference.checkpoints import Loaded, Trained, from_checkpoint, from_weights
from featherpose.inference.description import Description
from featherpose.inference.estimator import Estimator
from featherpose.models.count import macs
from featherpose.overrides.as_dict import as_dict
from featherpose.person import People, spread
from featherpose.pixels import normalise
from featherpose.place import CONF
from featherpose.protocol import Protocol
from featherpose.skeletons import COCO
from featherpose.synthetic import painted
from featherpose.targets import build
from featherpose.zoo.known import hint, known, path_of_name

Writer = Callable[["Network", Path, "Crops"], object]


@dataclass(frozen=True)
class Crops:
    """uint8 (N, 3, H, W): to compare and to calibrate on."""

    compared: Tensor
    calibrated: Tensor


@dataclass
class Network:
    """One network before it is a file."""

    name: str
    trained: Trained
    random: bool  # weights of no training: there is nothing to score
    deployed: Deployed = field(init=False)

    def __post_init__(self) -> None:
        self.deployed = Deployed(self.trained.network, self.trained.skeleton)

    @cached_property
    def size(self) -> tuple[int, int]:
        """Parameters, and multiply-accumulates of the convolutions."""
        network = self.trained.network
        parameters = sum(each.numel() for each in network.parameters())
        return parameters, macs(network, *self.trained.input_size)

    @property
    def description(self) -> Description:
        about = self.trained
        return Description(
            about.skeleton, about.input_size, about.stride, about.protocol, network=self.name
        )

    @property
    def tolerance(self) -> float:
        return OF_RANDOM if self.random else TOLERANCE


def open_network(name: str, size: tuple[int, int]) -> Network:
    """A name of the zoo, one of conf/model (with random weights, in this size), or a run or checkpoint."""
    if name in known():
        path, entry = path_of_name(name), known()[name]
        assert path is not None
        model = as_dict(composed(entry.line.split()).model)
        return Network(name, from_weights(path, model, entry.data, Protocol()), random=False)
    if (CONF / "model" / f"{name}.yaml").is_file():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = settle(build(model_config(name, size)), size)
        return Network(name, Loaded(network, COCO, network.stride, Protocol(), size), random=True)
    if not Path(name).exists():
        own = [path.stem for path in (CONF / "model").glob("[!_]*.yaml")]
        raise PoseError(
            f"networks={name} is no name of the zoo, no network of conf/model, no run and no checkpoint."
            f"{hint(name, [*known(), *own])}"
        )
    return Network(Path(name).stem, from_checkpoint(name), random=False)


def _onnx(network: Network, path: Path, crops: Crops) -> None:
    export(network.deployed, path, crops.compared, network.description, tolerance=network.tolerance)


def _half(network: Network, path: Path, crops: Crops) -> None:
    halve(file_of(network, "onnx", path.parent, crops), path, crops.compared)


def _int8(network: Network, path: Path, crops: Crops) -> None:
    quantise(file_of(network, "onnx", path.parent, crops), path, crops.calibrated)


def _openvino(network: Network, path: Path, crops: Crops) -> None:
    export_openvino(network.deployed, path, crops.compared, network.description, network.tolerance)


def _litert(network: Network, path: Path, crops: Crops) -> None:
    export_litert(network.deployed, path, crops.compared, network.description, network.tolerance)


def _litert_half(network: Network, path: Path, crops: Crops) -> None:
    halve_litert(file_of(network, "litert", path.parent, crops), path, crops.compared)


def _litert_int8(network: Network, path: Path, crops: Crops) -> None:
    quantise_litert(file_of(network, "litert", path.parent, crops), path, crops.compared)


def _ncnn(network: Network, path: Path, crops: Crops) -> None:
    export_ncnn(network.deployed, path, crops.compared, network.description, network.tolerance)


@dataclass(frozen=True)
class Format:
    """How a file of it is written, and the code on which it depends."""

    suffix: str
    write: Writer
    code: Callable[..., Any]


FORMATS = {
    "onnx": Format(".onnx", _onnx, export),
    "half": Format(".onnx", _half, halve),
    "int8": Format(".onnx", _int8, quantise),
    "openvino": Format(".xml", _openvino, export_openvino),
    "litert": Format(".tflite", _litert, export_litert),
    "litert_half": Format(".tflite", _litert_half, halve_litert),
    "litert_int8": Format(".tflite", _litert_int8, quantise_litert),
    "ncnn": Format(".ncnn.param", _ncnn, export_ncnn),
}


def file_of(network: Network, name: str, cache: Path, crops: Crops) -> Path:
    """The network in this format, as it lies in the cache or is written now; PoseError where its gate refuses it."""
    made_of = FORMATS[name]
    numbers = b"".join(
        value.detach().cpu().numpy().tobytes() for value in network.deployed.state_dict().values()
    )
    code = Path(str(inspect.getsourcefile(made_of.code))).read_bytes()
    facts = {
        "format": name,
        "weights": hashlib.sha256(numbers).hexdigest(),
        "code": hashlib.sha256(code).hexdigest(),
        "about": network.description.to_json(),
        "calibrated": hashlib.sha256(crops.calibrated.numpy().tobytes()).hexdigest(),
    }
    size = network.trained.input_size
    key = digest(network.trained.network, OmegaConf.create(facts), size, rewritten=True)
    path = cache / f"{network.name}-{name}-{key}{made_of.suffix}"
    if not path.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        made_of.write(network, path, crops)
    return path


def data_for(
    dataset: Sequence[str], size: tuple[int, int] = (256, 192), stride: int = 4
) -> PoseDataModule:
    """The dataset of these overrides, in crops of this size."""
    config = as_dict(composed(["model=lapx", *dataset]).data)
    plain = {"augment": None, "cache": None, "batch_size": 8, "workers": 0}
    data: PoseDataModule = build({**config, **plain, "input_size": list(size), "stride": stride})
    data.setup("validate")
    return data


def crops_for(network: Network, dataset: Sequence[str], compared: int, calibrated: int) -> Crops:
    """Of the dataset's people where it has this network's joints, else of painted people."""
    about = network.trained
    data = data_for(dataset, about.input_size, about.stride) if dataset else None
    if data is not None and data.skeleton.joints == about.skeleton.joints:
        load, held, train = data.load, data.val_people, data.train_people
    else:
        load = painted.load
        held, train = (
            painted.read(split=split, people=count, skeleton=about.skeleton)
            for split, count in (("val", compared), ("train", calibrated))
        )

    def cut(people: People, count: int) -> Tensor:
        dataset = CropDataset(people, load, about.skeleton, about.input_size)
        return torch.stack([dataset[int(i)]["image"] for i in spread(len(dataset), count)])

    return Crops(cut(held, compared), cut(train, calibrated))


def unflipped(backend: Backend) -> Estimator:
    """By the file's own protocol but for the flip test: one pass, as it is timed."""
    return Estimator(backend, backend.description.protocol.with_changes({"flip": False}))


@dataclass(frozen=True)
class Distance:
    """How far a file is from torch in float64 on the same crops."""

    heatmaps: float  # the largest difference over the highest value
    keypoints: float  # mean over all joints, in crop pixels
    farthest: float  # the largest of these


@torch.inference_mode()
def distance(path: Path, network: Network, crops: Tensor) -> Distance:
    exact = copy.deepcopy(network.deployed).double()
    wanted = torch.cat([exact.joined(normalise(each[None]).double()) for each in crops])
    estimator = unflipped(FileBackend(path))
    output = estimator.outputs(crops.numpy())[-1]
    found = values_of(output)
    highest = float(wanted.abs().max())
    places = network.deployed.places(wanted, estimator.protocol.decoder)[0] * network.trained.stride
    apart = np.linalg.norm(estimator.decode(output)[0] - places.numpy(), axis=-1)
    error = float(np.abs(found - wanted.numpy()).max()) / highest
    return Distance(error, float(apart.mean()), float(apart.max()))
