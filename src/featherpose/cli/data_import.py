"""Makes a data folder and its config from a tool's labels: COCO keypoints (CVAT, Label Studio, Roboflow), YOLO-pose,
a CSV, SLEAP, DeepLabCut. SOURCE is a folder, a file or a .zip; it stays as it is."""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from featherpose.errors import PoseError, UsageError
from featherpose.place import command

if TYPE_CHECKING:
    from featherpose.importing.labels import Labels


def arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="featherpose data import", description=__doc__)
    parser.add_argument("source", type=Path, metavar="SOURCE")
    parser.add_argument(
        "--out", type=Path, required=True, help="the folder to write, e.g. data/mine"
    )
    parser.add_argument("--name", help="for data=NAME (default: the name of the folder)")
    parser.add_argument(
        "--pictures", type=Path, help="where the pictures lie, if not beside the labels"
    )
    parser.add_argument(
        "--joints", help="their names in order, a,b,c, where the labels have none or others"
    )
    parser.add_argument("--category", help="of COCO or YOLO, where there are several")
    parser.add_argument("--val", type=float, default=0.2, help="share for validation (%(default)s)")
    parser.add_argument(
        "--by", choices=("picture", "folder", "video", "subject"), default=None,
        help="what never stands on both sides of the split (default: video where the tool knows it, else picture)",
    )  # fmt: skip
    parser.add_argument(
        "--subject", metavar="REGEX", help="with --by subject: finds the person in a picture's name"
    )
    parser.add_argument("--copy", action="store_true", help="copy pictures instead of linking them")
    parser.add_argument("--yes", action="store_true", help="ask nothing")
    parser.add_argument("--force", action="store_true", help="write over an earlier import")
    return parser.parse_args(words)


def main(words: list[str]) -> int:
    options = arguments(words)
    name = options.name or re.sub(r"\W", "_", options.out.resolve().name)
    config = Path.cwd() / "conf" / "data" / f"{name}.yaml"
    _refuse(options, name, config)
    from rich.console import Console
    from rich.progress import track

    from featherpose.files import write_atomically
    from featherpose.importing import folder

    console = Console(highlight=False, soft_wrap=True)
    with ExitStack() as opened:
        space = options.out
        if _packed(options.source):
            with _naming(options.out):
                unpacked = tempfile.TemporaryDirectory(dir=_beside(options.out))
            space = Path(opened.enter_context(unpacked))
        labels = read_labels(options.source, options.category, options.joints, space)
        beside = _folder_of(options.source, space)
        _print(labels, console)
        _confirm(labels, options)
        roots = [options.pictures or beside]
        missing = folder.find_pictures(labels, roots, beside, _packed(options.source))
        if missing:
            where = options.pictures or (options.source if _packed(options.source) else beside)
            raise PoseError(
                f"{len(missing):,} of {len(labels.pictures):,} pictures are not in {where}, e.g. {missing[0]}. "
                "Say where they lie with --pictures FOLDER."
            )
        by = options.by or ("video" if all(p.group for p in labels.pictures) else "picture")
        split = folder.Split(options.val, by, options.subject)
        splits = folder.divide(labels, split)
        bar = partial(track, description="pictures", console=console, transient=True)
        with _naming(options.out):
            options.out.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=options.out).close()
        said = len(labels.notes)
        counts = folder.write(labels, splits, options.out, options.copy, bar)
        for note in labels.notes[said:]:
            console.print(note, style="yellow", markup=False)
    root = options.out.resolve()
    below = root.is_relative_to(Path.cwd().resolve() / "data")
    shown = (
        f"${{paths.data}}/{root.relative_to(Path.cwd().resolve() / 'data').as_posix()}"
        if below
        else str(root)
    )
    config.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(config, folder.config_of(labels, name, shown, options.source.name))
    for each, (pictures, people) in counts.items():
        console.print(f"{each:5}  {people:,} people in {pictures:,} pictures")
    console.print(f"wrote  {options.out}, conf/data/{name}.yaml\n")
    return _check(name, options.out, console)


def _refuse(options: argparse.Namespace, name: str, config: Path) -> None:
    """What would be in vain, before anything is read."""
    if not options.source.exists():
        raise UsageError(f"{options.source} is not there.")
    if not 0 < options.val < 1:
        raise UsageError(f"--val is {options.val}; it is a share between 0 and 1.")
    if options.subject is not None:
        try:
            re.compile(options.subject)
        except re.error as error:
            raise UsageError(
                f"--subject {options.subject!r} is no regular expression: {error}."
            ) from error
    if options.subject is not None and options.by != "subject":
        raise UsageError("--subject goes with --by subject.")
    if options.force:
        return
    if options.out.is_dir() and any(options.out.iterdir()):
        raise UsageError(
            f"{options.out} is not empty; choose another --out, or add --force to write over it."
        )
    if config.exists():
        raise UsageError(
            f"{config} is there already; choose another --name, or add --force to write over it."
        )


def read_labels(source: Path, category: str | None, joints: str | None, space: Path) -> Labels:
    """The labels with the joints' names as they are spelled here; a .zip is unpacked into `space`."""
    from featherpose.importing import coco, table, tracked, yolo
    from featherpose.importing.labels import named

    named_by, source = source, _opened(source, space)
    for tool in (tracked, coco, yolo, table):
        labels = tool.read(source, category)
        if labels is not None:
            break
    else:
        raise PoseError(
            f"{named_by} holds no labels that are known: COCO keypoints (.json), YOLO-pose (images/ and "
            "labels/), a .csv with NAME_x and NAME_y, SLEAP (.slp) or DeepLabCut (CollectedData*.csv)."
        )
    if not labels.people:
        raise PoseError(f"{named_by} ({labels.tool}) holds nobody.")
    return named(labels, [each.strip() for each in joints.split(",")] if joints else None)


def _packed(source: Path) -> bool:
    return source.suffix.lower() == ".zip"


def _opened(source: Path, space: Path) -> Path:
    """The source, or where it was unpacked."""
    if not _packed(source):
        return source
    from featherpose.data.download import unpack

    space.mkdir(parents=True, exist_ok=True)
    unpack(source, space, keep=True)
    return space


def _folder_of(source: Path, space: Path) -> Path:
    """Where pictures may lie: beside the labels."""
    if _packed(source):
        return space
    return source if source.is_dir() else source.parent


def _beside(out: Path) -> Path:
    out.parent.mkdir(parents=True, exist_ok=True)
    return out.parent


@contextmanager
def _naming(out: Path) -> Generator[None]:
    """Where a folder can't be written the sentence names the option that chose it."""
    try:
        yield
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise UsageError(f"--out {out} can't be written ({why}): choose another folder.") from error


def _print(labels: Labels, console) -> None:
    from featherpose.importing.labels import pairs_of

    seen = sum(int((p.visible > 0).sum()) for p in labels.people)
    console.print(
        f"{labels.tool}: {len(labels.people):,} people in {len(labels.pictures):,} pictures, {seen:,} joints labelled"
    )
    console.print(f"joints {', '.join(labels.joints)}")
    names = [f"{labels.joints[a]}-{labels.joints[b]}" for a, b in labels.limbs]
    console.print(
        f"limbs  {', '.join(names) or 'none: add them to the config, they are what is drawn'}"
    )
    pairs = [pair[0].removeprefix("left_") for pair in pairs_of(labels.joints)]
    console.print(
        f"pairs  left and right of {', '.join(pairs) or 'nothing: a mirrored picture exchanges no joints'}"
    )
    if bare := sum(p.box is None for p in labels.people):
        console.print(
            f"boxes  {bare:,} people have none: the joints' extent and a tenth on each side"
        )
    if any(p.area is None for p in labels.people):
        console.print(
            "areas  those of the boxes: OKS then compares with itself only, not with COCO's tables"
        )
    for note in labels.notes:
        console.print(note, style="yellow", markup=False)


def _confirm(labels: Labels, options: argparse.Namespace) -> None:
    """Asked at a terminal alone: pairs that are wrong spoil every mirrored sample."""
    if options.yes or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return
    answer = input("Are joints and pairs right? [Y/n] ").strip().lower()
    if answer not in ("", "y", "yes"):
        raise UsageError(
            "Nothing was written. Give the joints' names with --joints left_a,right_a,..."
        )


def _check(name: str, out: Path, console) -> int:
    """The doctor on what was written."""
    from featherpose.cli.data_check import check

    words = argparse.Namespace(
        overrides=[f"data={name}"], quick=False, network=None, out=out / "check"
    )
    code = check(words, console)
    if code == 0:
        from_weights = command(f"train experiment=ten_minutes data={name}")
        console.print(f"next: {command(f'train data={name}')}, or from weights: {from_weights}")
    return code
