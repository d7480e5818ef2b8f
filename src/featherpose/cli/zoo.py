"""Weights that are known by name, and which network a file of weights is of."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from featherpose.errors import PoseError
from featherpose.place import CONF, command

if TYPE_CHECKING:
    from torch import nn

# What other projects' files need besides a model's name
VARIANTS: tuple[dict[str, object], ...] = (
    {"output": "vectors"},  # as RTMPose was trained
    {"fusion": "doubled"},  # as all published files of Lite-HRNet and HF-HRNet were trained
    {},
    {"early": "wide", "stages": 1},
    {"early": "wide", "stages": 2},
    {"early": "wide"},
    {"channels": 32, "modules": [1, 4, 2]},  # HRFormer-S
)
DATA = {17: "coco", 16: "mpii", 14: "lsp"}  # by its number of joints


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="featherpose zoo", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("list", help="every known name, its network and score")
    for verb, what in (
        ("show", "all that is known of one"),
        ("get", "fetch its file and check it"),
    ):
        verbs.add_parser(verb, help=what).add_argument("name")
    asking = verbs.add_parser("identify", help="which network a file of weights fits")
    asking.add_argument("file")
    asked = parser.parse_args(words)
    match asked.verb:
        case "list":
            show_list()
        case "show":
            show(asked.name)
        case "get":
            get(asked.name)
        case "identify":
            identify(asked.file)
    return 0


def show_list() -> None:
    from rich.console import Console
    from rich.table import Table

    from featherpose.zoo.known import known

    table = Table("name", "score (its source's)", "here", box=None)
    for each in known().values():
        here = "ships" if each.file else "yes" if each.path.is_file() else ""
        table.add_row(each.name, each.score, here)
    Console(highlight=False).print(table)


def show(name: str) -> None:
    from featherpose.zoo.known import by_name

    found = by_name(name)
    where = str(found.path) if found.path.is_file() else f"not here: featherpose zoo get {name}"
    print(
        f"{name}\nscore    {found.score} (as its source says)\nlicence  {found.licence}\nfile     {where}"
    )
    if found.file:
        print(
            f"card     {found.path.with_suffix('.md')}\nuse      {command('predict')} source=PICTURE.jpg"
        )
        return
    print(f"source   {found.url}\nsha256   {found.sha256}...")
    print(f"score it {command('evaluate')} weights={name} {found.line}")
    print(f"start    {command('train')} init={name} {found.line}")


def get(name: str) -> None:
    from featherpose.data.download import download
    from featherpose.zoo.known import by_name
    from featherpose.zoo.weight_files import sha256_of

    found = by_name(name)
    if not found.path.is_file():
        found.path.parent.mkdir(parents=True, exist_ok=True)
        download(found.url, found.path)
    if not found.file:
        digest = sha256_of(found.path)
        if not digest.startswith(found.sha256):
            found.path.unlink()
            raise PoseError(
                f"{found.path.name} has the SHA-256 {digest[:8]}..., not {found.sha256}... as its publisher says; it "
                "was deleted: fetch it again."
            )
    print(f"{name}: {found.path}")


@dataclass(frozen=True)
class Fit:
    """How far a file's entries are those of one network."""

    line: str
    fitting: int
    entries: int  # of the network
    left: int  # in the file only

    @property
    def whole(self) -> bool:
        return self.fitting == self.entries and not self.left


def identify(file: str) -> None:
    from featherpose.zoo.checkpoint import description_of
    from featherpose.zoo.weight_files import file_of, read_file

    path = file_of(file)
    content = read_file(path)
    described = description_of(content) if isinstance(content, Mapping) else None
    if described:
        print(f"{file} is a checkpoint that says itself what it is of: {command('runs')} show, or")
        print(f"{command('evaluate')} checkpoint={file}")
        return
    fits = sorted(fits_of(content, str(path)), key=lambda fit: fit.fitting - fit.left, reverse=True)
    whole = [fit for fit in fits if fit.whole]
    for fit in whole or fits[:3]:
        print(f"{fit.fitting} of {fit.entries} entries, {fit.left} left over: {fit.line}")
    if whole:
        print(f"{command('evaluate')} weights={file} {whole[0].line}")
    elif fits and fits[0].fitting:
        print(
            f"No network fits as a whole; a part starts one: {command('train')} init={file} {fits[0].line}"
        )
    else:
        raise PoseError(f"Nothing in {file} fits a network that is here.")


def fits_of(content: object, origin: str) -> Iterator[Fit]:
    """Every network of conf/model against the file, once for each number of joints."""
    import torch

    from featherpose.models.weights import state_dict_of
    from featherpose.zoo.names import to_ours

    state = state_dict_of(content, origin)
    sides = {side for value in state.values() for side in value.shape}
    meta = {name: torch.empty(value.shape, device="meta") for name, value in state.items()}
    for line, network in networks([joints for joints in DATA if joints in sides]):
        ours = network.state_dict()
        theirs = to_ours(network, meta)
        counted = [name for name in ours if not name.endswith("num_batches_tracked")]
        fitting = sum(name in theirs and theirs[name].shape == ours[name].shape for name in counted)
        left = sum(name not in ours for name in theirs)
        yield Fit(line, fitting, len(counted), left)


def model_names() -> list[str]:
    return sorted(path.stem for path in (CONF / "model").glob("[!_]*.yaml"))


def networks(joints: Sequence[int]) -> Iterator[tuple[str, nn.Module]]:
    """Each network that conf/model can make, without memory for its numbers."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf
    from rich.progress import track

    from featherpose.models.network import shapes_alone
    from featherpose.targets import build

    names = model_names()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for name in track(names, "trying every network", transient=True):
            cfg = compose("train", [f"model={name}", "data=coco", "data.input_size=[256,192]"])
            model = cast(dict[str, Any], OmegaConf.to_container(cfg.model, resolve=True))
            for variant in (each for each in VARIANTS if each.keys() <= model.keys()):
                for count in joints or [17]:
                    words = [
                        f"model.{key}={value}".replace(" ", "") for key, value in variant.items()
                    ]
                    line = " ".join((f"model={name}", *words, f"data={DATA[count]}"))
                    try:
                        with shapes_alone():
                            yield line, build({**model, **variant, "joints": count})
                    except PoseError:  # RePose knows its skeletons only
                        continue
