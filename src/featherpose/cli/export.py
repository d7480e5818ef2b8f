"""From a checkpoint to files that run without torch, each checked against torch before it is written."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from torch import Tensor

from featherpose import __version__, crop
from featherpose.console import console
from featherpose.data.datamodule import PoseDataModule
from featherpose.data.dataset import CropDataset
from featherpose.errors import PoseError, UsageError
from featherpose.evaluation import chances
from featherpose.evaluation.by_network import score_sample
from featherpose.export import litert, ncnn
from featherpose.export.bundle import write_bundle
from featherpose.export.half import halve
from featherpose.export.litert import export_litert
from featherpose.export.litert_smaller import check_quantiser, halve_litert, quantise_litert
from featherpose.export.ncnn import export_ncnn
from featherpose.export.onnx import Deployed, Parity, export
from featherpose.export.openvino import export_openvino
from featherpose.export.quantise import quantise
from featherpose.export.web import FACTS, Source, write_page
from featherpose.files import refuse_strangers, replacing
from featherpose.inference.backends import FileBackend, bytes_of
from featherpose.inference.boxes import whole_picture
from featherpose.inference.bundle import INDEX
from featherpose.inference.chances import Chances
from featherpose.inference.checkpoints import Trained, from_checkpoint, from_weights
from featherpose.inference.description import Description
from featherpose.inference.estimator import Estimator
from featherpose.inference.litert import SUFFIX
from featherpose.inference.people import file_of
from featherpose.inference.streams import open_source
from featherpose.overrides.as_dict import as_dict
from featherpose.person import People, spread
from featherpose.runs.recording import git_state
from featherpose.settings import exactly_one, number, whole
from featherpose.synthetic import painted
from featherpose.targets import NotListed, build
from featherpose.training.build import data_of_checkpoint
from featherpose.zoo import shipped
from featherpose.zoo.checkpoint import load_checkpoint

# What format= may name, with the ending of its file and what runs it
FORMATS = {
    "onnx": (".onnx", "ONNX Runtime"),
    "openvino": (".xml", "OpenVINO"),
    "litert": (".tflite", "LiteRT"),
    "ncnn": (".ncnn.param", "ncnn"),
}
OF_ONNX = ("web", "bundle")  # what is made of the ONNX file
SMALLER = ("half", "int8")  # what is made of these formats' files
MADE_SMALLER = ("onnx", "litert")
MARKS = {"bundle": INDEX, "web": FACTS}  # what a folder holds that was made before
# What is read where a network is written, and its value where nobody asks for anything
OF_NETWORKS: dict[str, Any] = {
    **dict.fromkeys(("out", "flip", "decoder", "batch", "crops")),
    **dict.fromkeys(("flip_inside", "decode", "openvino", *SMALLER), False),
    "rewrite": True,
    "format": "onnx",
}
CONVERTERS = {"litert": litert, "ncnn": ncnn}


def main(cfg: DictConfig) -> None:
    """Exports the network; refuses to write what differs from torch."""
    for key, mark in MARKS.items():
        if cfg[key]:
            refuse_strangers(key, Path(cfg[key]), mark)
    if (cfg.web or cfg.bundle) and cfg.checkpoint is None and cfg.weights is None:
        refuse_unread(cfg)
        write_around(cfg, shipped.file_of_name(str(cfg.onnx or shipped.DEFAULT)) or Path(cfg.onnx))
        return
    if cfg.onnx:
        raise UsageError(
            "onnx= is a file that is exported already: it goes with web= and bundle= alone."
        )
    formats = formats_of(cfg)
    check_values(cfg)
    trained, source = open_trained(cfg)
    path = path_of(cfg, source, formats)
    deployed, description = to_deploy(cfg, trained)
    data = data_of(cfg, trained)
    if cfg.checkpoint is not None:
        description = replace(description, chances=chances_of(source, path, data, description))
    crops, origin = some_crops(trained, data, cfg.crops, int(cfg.check))
    for name in formats:
        suffix, runtime = FORMATS[name]
        file, started = path.with_suffix(suffix), time.perf_counter()
        parity = write(name, file, cfg, deployed, crops, description)
        report(file, parity, f"{origin} in {runtime}", time.perf_counter() - started)
    # Their other forms: with weights in 16 bits, in int8
    for name in formats:
        if name not in MADE_SMALLER:
            continue
        file = path.with_suffix(FORMATS[name][0])
        if cfg.half:
            write_half(file, crops)
        if cfg.int8:
            write_int8(cfg, file, data, crops)
    write_around(cfg, path)


def refuse_unread(cfg: DictConfig) -> None:
    """The page and the bundle of a file take it as it is."""
    given = [key for key, plain in OF_NETWORKS.items() if cfg[key] != plain]
    if given:
        raise UsageError(
            f"{given[0]}= is for a network that is written: add checkpoint= or weights=, or leave it out."
        )


def check_values(cfg: DictConfig) -> None:
    """What would end the export after everything was loaded."""
    whole("check", cfg.check, least=1)
    number("tolerance", cfg.tolerance, above=0)
    if cfg.batch is not None:
        whole("batch", cfg.batch, least=1)
    if cfg.int8:
        whole("calibrate", cfg.calibrate, least=1)
        whole("score_on", cfg.score_on, least=1)
    if cfg.crops is not None:
        source = open_source(cfg.crops)
        if next(source.frames(), None) is None:
            raise PoseError(
                f"crops={cfg.crops} holds no picture that can be read: {source.problems[0]}"
            )


def formats_of(cfg: DictConfig) -> list[str]:
    """What is written, in the order of FORMATS; openvino=true is one more of them."""
    given = [cfg.format] if isinstance(cfg.format, str) else list(cfg.format or ["onnx"])
    asked = {*map(str, given), *(["openvino"] if cfg.openvino else [])}
    if wrong := sorted(asked - FORMATS.keys()):
        raise UsageError(f"There is no format={wrong[0]}; known: {', '.join(FORMATS)}.")
    without = [name for name in OF_ONNX if cfg[name]]
    if without and "onnx" not in asked:
        raise UsageError(
            f"{without[0]}={cfg[without[0]]} is made of the ONNX file: add onnx to format=."
        )
    small = [name for name in SMALLER if cfg[name]]
    if small and not asked & set(MADE_SMALLER):
        raise UsageError(
            f"{small[0]}=true makes a smaller file of {' or '.join(MADE_SMALLER)}: add one to format=."
        )
    for name, converter in CONVERTERS.items():
        if name in asked:
            converter.check_converter()
    if "litert" in asked and small:
        check_quantiser()
    return [name for name in FORMATS if name in asked]


def path_of(cfg: DictConfig, source: Path, formats: list[str]) -> Path:
    """The ONNX file's; the others lie beside it under the same name."""
    endings = [FORMATS[name][0] for name in formats]
    path = Path(cfg.out) if cfg.out else source
    if not cfg.out:
        return path.with_suffix(".onnx")
    for ending in endings:
        if path.name.endswith(ending):
            return path.with_name(path.name.removesuffix(ending) + ".onnx")
    raise UsageError(f"out={path} must end in {' or '.join(endings)}.")


def write(
    name: str,
    file: Path,
    cfg: DictConfig,
    deployed: Deployed,
    crops: Tensor,
    description: Description,
) -> Parity:
    """The network in one format, once it has passed the check."""
    tolerance = float(cfg.tolerance)
    if name == "onnx":
        return export(deployed, file, crops, description, bool(cfg.rewrite), cfg.batch, tolerance)
    others = {"openvino": export_openvino, "litert": export_litert, "ncnn": export_ncnn}
    return others[name](deployed, file, crops, description, tolerance)


def chances_of(
    checkpoint: Path, path: Path, data: PoseDataModule | None, description: Description
) -> Chances | None:
    """What the file's confidences mean, with a picture beside it, where the run's predictions say so."""
    try:
        found, judged = chances.of_run(checkpoint, data, description.protocol.flip)
    except PoseError as error:
        console.print(f"[dim]what a confidence means is not written: {error}[/]")
        return None
    picture = path.with_name(f"{path.stem}-chances.png")
    chances.draw(picture, judged, found)
    console.print(
        f"a joint's chance to be within {found.near}: calibration error {found.error_after:.3f}, of the confidence "
        f"itself {found.error_before:.3f}, on {found.judged:,} people that were not fitted on ({picture}). "
        f"F1 is highest ({found.f1:.2f}) where joints are kept from confidence {found.threshold:.2f} on"
    )
    return found


def write_around(cfg: DictConfig, file: Path) -> None:
    """The page in the browser and the bundle, with the file's own card where one lies beside it."""
    card = card_of(file)
    if cfg.web:
        write_web(cfg, file, card)
    if cfg.bundle:
        (person,) = painted.read(split="val", people=1, skeleton="coco").persons
        written = write_bundle(Path(cfg.bundle), file, card, painted.load(person), person.box)
        size = sum(path.stat().st_size for path in written) / 1e6
        console.print(
            f"written: {cfg.bundle} ({size:.1f} MB). To check it on another machine: featherpose verify {cfg.bundle}"
        )


def card_of(file: Path) -> str:
    """Beside the file under its name, or a run's card in its folder or in the one above."""
    here = file.absolute().parent
    places = (file.with_suffix(".md"), here / "MODEL_CARD.md", here.parent / "MODEL_CARD.md")
    cards = [card for card in places if card.is_file()]
    return cards[0].read_text(encoding="utf-8") if cards else "This file came without a card."


def write_web(cfg: DictConfig, file: Path, card: str) -> None:
    detector = file_of(cfg.detector, FileBackend(file).description.skeleton)
    folder = Path(cfg.web)
    written = write_page(folder, Source(file, card, detector), Path(cfg.ort) if cfg.ort else None)
    size = sum(path.stat().st_size for path in written) / 1e6
    console.print(
        f"written: {folder} ({len(written)} files, {size:.1f} MB). To look at it: "
        f"python -m http.server --directory {folder}, then http://localhost:8000"
    )


def to_deploy(cfg: DictConfig, trained: Trained) -> tuple[Deployed, Description]:
    """What is exported, and what its file says of itself."""
    protocol = trained.protocol.with_changes({"flip": cfg.flip, "decoder": cfg.decoder})
    if cfg.flip_inside and not protocol.flip:
        raise UsageError(
            "flip_inside=true puts the flip test into the graph; this protocol has none: add flip=true."
        )
    if cfg.flip_inside not in (False, True, "passes"):
        raise UsageError(f"flip_inside is true, false or passes, not {cfg.flip_inside}.")
    inside = bool(cfg.flip_inside)
    decoder = protocol.decoder if cfg.decode else None
    description = Description(
        skeleton=trained.skeleton,
        input_size=trained.input_size,
        stride=trained.stride,
        protocol=protocol,
        flip_inside=inside,
        decoder_inside=decoder,
        network=type(trained.network).__name__,
        commit=git_state().commit,
        version=__version__,
    )
    shift = protocol.shifts(trained.stride)
    passes = cfg.flip_inside == "passes"
    deployed = Deployed(trained.network, trained.skeleton, inside, shift, decoder, passes)
    return deployed, description


def write_half(path: Path, crops: Tensor) -> None:
    target = path.with_name(f"{path.stem}-half{path.suffix}")
    worst, moved = (halve_litert if path.suffix == SUFFIX else halve)(path, target, crops)
    console.print(
        f"written: {target} ({target.stat().st_size / 1e6:.1f} MB): heatmaps differ from the whole file's by "
        f"{worst:.1e} of the highest value, nine keypoints of ten by less than {moved:.2f} pixels"
    )


def open_trained(cfg: DictConfig) -> tuple[Trained, Path]:
    given = exactly_one(cfg, ("checkpoint", "weights"), "what to export")
    if given == "checkpoint":
        saved = load_checkpoint(cfg.checkpoint)
        return from_checkpoint(saved, cfg.trust), saved.path
    choices = HydraConfig.get().runtime.choices
    if not choices.get("model") or not choices.get("data"):
        raise UsageError(
            "weights= holds numbers only: say which network they are of with model=… and data=…"
        )
    settings = as_dict(cfg)
    module = from_weights(cfg.weights, settings["model"], settings["data"], settings["protocol"])
    return module, Path(cfg.weights)


def data_of(cfg: DictConfig, module: Trained) -> PoseDataModule | None:
    """The dataset the network was made for, where it is on this machine."""
    settings: dict[str, Any] = {"stride": module.stride, "workers": 0, "batch_size": 8}
    try:
        if cfg.checkpoint is not None:
            saved = load_checkpoint(cfg.checkpoint)
            data = data_of_checkpoint(saved, cfg.paths.data, cfg.trust, **settings)
        else:
            plain = {"augment": None, "cache": None, "input_size": list(module.input_size)}
            data = build(cfg.data, **plain, **settings)
        data.setup("validate")
        data.load(data.val_people.persons[0])
    except NotListed:
        raise
    except PoseError as error:
        console.print(f"[dim]the network's own data is not here ({error})[/]")
        return None
    return data


def some_crops(
    module: Trained, data: PoseDataModule | None, pictures: str | None, count: int
) -> tuple[Tensor, str]:
    """Crops to check on, and what they are of: pictures given, the network's own data, or synthetic people."""
    size_wh = (module.input_size[1], module.input_size[0])
    if pictures is not None:
        found = []
        for frame in open_source(pictures).frames():
            matrix = crop.crop_matrix(*crop.centre_and_scale(whole_picture(frame)[0][0]), size_wh)
            found.append(
                torch.from_numpy(crop.split_channels(crop.cut(frame.picture, matrix, size_wh)))
            )
            if len(found) == count:
                break
        return torch.stack(found), str(pictures)
    if data is not None:
        return crops_of(data, data.val_people, count), str(data.name)
    people = painted.read(split="val", people=count, skeleton=module.skeleton)
    dataset = CropDataset(people, painted.load, module.skeleton, module.input_size)
    return torch.stack([dataset[i]["image"] for i in range(count)]), "synthetic people"


def crops_of(data: PoseDataModule, people: People, count: int) -> Tensor:
    dataset = CropDataset(people, data.load, data.skeleton, data.input_size)
    chosen = spread(len(dataset), count)
    return torch.stack([dataset[int(i)]["image"] for i in chosen])


def report(path: Path, parity: Parity, origin: str, seconds: float) -> None:
    console.print(
        f"written: {path} ({bytes_of(path) / 1e6:.1f} MB, {seconds:.0f} s). On {parity.crops} crops of {origin} "
        f"heatmaps differ from torch's in float64 by {parity.heatmaps:.1e} of the highest value, torch's own float32 "
        f"by {parity.torch:.1e}; keypoints by {parity.keypoints:.4f} heatmap pixels"
    )
    if parity.unsettled:
        console.print(
            f"[dim]{parity.unsettled} keypoints left out: rounding decides which of two pixels is higher[/]"
        )
    if parity.changes:
        made = ", ".join(f"{count} {name}" for name, count in parity.changes.items() if count)
        console.print(f"[dim]rewritten: {made}[/]")


def write_int8(cfg: DictConfig, path: Path, data: PoseDataModule | None, crops: Tensor) -> None:
    if data is None:
        raise PoseError(
            "int8=true needs the network's own dataset, to calibrate on and to score with."
        )
    target = path.with_name(f"{path.stem}-int8{path.suffix}")
    most = None if cfg.int8_loses is None else number("int8_loses", cfg.int8_loses, least=0)
    with replacing(target) as beside:
        how, hint = in_int8(cfg, path, beside, data, crops)
        before, after = (
            score_sample(Estimator(FileBackend(file)), data, int(cfg.score_on))
            for file in (path, beside)
        )
        if most is not None and before.score - after.score > most:
            raise PoseError(
                f"{target} is not written: in int8 {before.name} falls from {before.score:.2f} to {after.score:.2f} on "
                f"{before.persons} people, by more than int8_loses={most:g}. int8_loses=null takes it all the "
                f"same{hint}."
            )
    console.print(
        f"written: {target} ({target.stat().st_size / 1e6:.1f} MB), {how}: "
        f"{before.name} {before.score:.2f} in float32, {after.score:.2f} in int8, "
        f"on {before.persons} people of {data.name}"
    )


def in_int8(
    cfg: DictConfig, path: Path, beside: Path, data: PoseDataModule, crops: Tensor
) -> tuple[str, str]:
    """Writes it; in words how it was made, and what may help where it loses too much."""
    if path.suffix == SUFFIX:
        whole = quantise_litert(path, beside, crops)
        return f"convolutions in int8, in float32 the rest and {', '.join(whole)}", ""
    quantise(path, beside, crops_of(data, data.train_people, int(cfg.calibrate)))
    hint = f"; more crops to calibrate on ({cfg.calibrate} now) may help"
    return f"calibrated on {cfg.calibrate} crops", hint
