"""A static page that runs an exported network in the browser: a folder for any web server, without a network."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from string import Template
from typing import Any

from featherpose.crop import PADDING, PIXEL_STD
from featherpose.draw import RIM, side_colour
from featherpose.errors import PoseError
from featherpose.files import refuse_strangers, replacing
from featherpose.inference.backends import FileBackend, OnnxRuntime
from featherpose.inference.boxes import LOST, MARGIN
from featherpose.inference.detector import LONGEST, STEP, Detector, grid_of
from featherpose.inference.people import THRESHOLD
from featherpose.inference.pose import ALIKE, CLEAR, FEWEST, LOOKS
from featherpose.inference.smoothing import OneEuro
from featherpose.zoo.shipped import FINDER

FACTS = "network.json"
PAGE = Path(__file__).with_name("page")
# ONNX Runtime for browsers, from npm: the release, what its archive has to be, and what the page needs of it
RELEASE = "1.30.0"
SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
RUNTIME = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")


@dataclass(frozen=True)
class Source:
    """What a page is made of."""

    file: Path  # an exported .onnx file
    card: str  # Markdown that says what the network is good for
    detector: Path | None = None  # a YOLOX of people
    threshold: float = THRESHOLD  # of the detector's scores


def write_page(folder: Path, source: Source, runtime: Path | None = None) -> list[Path]:
    """Writes the page into `folder`; `runtime` is a folder with onnxruntime-web's files, else npm fetches them."""
    if folder.exists() and not folder.is_dir():
        raise PoseError(f"web={folder} is a file; name a folder for the page.")
    refuse_strangers("web", folder, FACTS)
    facts = facts_of(source)
    with tempfile.TemporaryDirectory() as place:
        brought = checked_runtime(runtime) if runtime else fetched_runtime(Path(place))
        texts = page_texts(source, facts)
        written = [_write(folder / name, text.encode()) for name, text in texts.items()]
        written.append(_write(folder / "network.onnx", source.file.read_bytes()))
        if source.detector:
            written.append(_write(folder / "finder.onnx", source.detector.read_bytes()))
        for name in RUNTIME:
            written.append(_write(folder / "ort" / name, (brought / name).read_bytes()))
    return written


def _write(path: Path, content: bytes) -> Path:
    with replacing(path) as beside:
        beside.write_bytes(content)
    return path


def page_texts(source: Source, facts: dict[str, Any]) -> dict[str, str]:
    height, width = facts["input_size"]
    size = (source.file.stat().st_size) / 1e6
    words = {
        "name": html.escape(source.file.stem),
        "summary": f"{len(facts['colours'])} joints, {height} x {width}, {size:.1f} MB; in this browser, by its CPU",
        "card": card_html(source.card),
    }
    texts = {name: (PAGE / name).read_text("utf-8") for name in ("main.js", "pose.js", "style.css")}
    page = Template((PAGE / "index.html").read_text(encoding="utf-8")).substitute(words)
    return texts | {"index.html": page, FACTS: json.dumps(facts, indent=1)}


def facts_of(source: Source) -> dict[str, Any]:
    """Everything that the page's arithmetic takes from Python: the file's description and the house's constants."""
    backend = FileBackend(source.file)
    runtime, about = backend.runtime, backend.description
    if not isinstance(runtime, OnnxRuntime):
        raise PoseError(f"A page runs an .onnx file, not {source.file}.")
    skeleton = about.skeleton
    inside = about.decoder_inside is not None
    if not backend.maps or runtime.batch not in (None, 1):
        raise PoseError(f"{source.file}: a page needs heatmaps and an open batch, or one of 1.")
    if inside and about.protocol.flip and not about.flip_inside:
        raise PoseError(
            f"{source.file} decodes inside but leaves the flip test outside: export it with flip_inside=true."
        )
    joints = skeleton.joints
    return {
        "heatmaps": backend.maps[-1],
        "input_size": about.input_size,
        "stride": about.stride,
        "mean": about.mean,
        "deviation": about.deviation,
        "takes_bytes": runtime.takes_bytes,
        "decoder": about.protocol.decoder,
        "decoder_inside": inside,
        "flip": about.protocol.flip and not about.flip_inside,
        "shift": about.protocol.shifts(about.stride),
        "flip_order": skeleton.flip_order,
        "joints": joints,
        "colours": [css(side_colour(joint)) for joint in joints],
        "limbs": [[a, b, css(side_colour(joints[a], joints[b]))] for a, b in skeleton.limbs],
        "rim": css(RIM),
        "crop": {"padding": PADDING, "unit": PIXEL_STD},
        "clear": CLEAR,
        "fewest": FEWEST,
        "alike": ALIKE,
        "sigmas": skeleton.similarity_sigmas,
        "looks": LOOKS,
        "margin": MARGIN,
        "lost": LOST,
        "smoothing": {k: v for k, v in vars(OneEuro()).items() if v is not None},
        "finder": finder_facts(source),
    }


def finder_facts(source: Source) -> dict[str, Any] | None:
    if source.detector is None:
        return None
    detector = Detector(source.detector, "yolox", threshold=source.threshold)
    shape = detector.session.get_outputs()[0].shape
    rows = None if detector.area else len(grid_of(detector.size)[0])  # open where the sides are
    if len(shape) != 3 or (rows is not None and shape[1] != rows):
        raise PoseError(
            f"The page finds people with a YOLOX, whose output has a row for each cell of its grids; {source.detector} "
            f"gives {shape}."
        )
    return {
        "size": detector.size,
        "area": detector.area,
        "step": STEP,
        "longest": LONGEST,
        "threshold": detector.threshold,
        "overlap": detector.overlap,
        "most": detector.most,
        "always": source.detector
        == FINDER,  # the whole picture where it finds nobody, as in Python
    }


def css(colour: tuple[int, int, int]) -> str:
    return "rgb({} {} {})".format(*colour)


def checked_runtime(folder: Path) -> Path:
    missing = [name for name in RUNTIME if not (folder / name).is_file()]
    if missing:
        raise PoseError(
            f"ort={folder} has no {' and no '.join(missing)}: they lie in dist/ of npm's onnxruntime-web {RELEASE}."
        )
    return folder


def fetched_runtime(place: Path) -> Path:
    """onnxruntime-web's files from npm, by their hash; npm keeps the archive for the next time."""
    npm = shutil.which("npm")
    hint = f"give ort=FOLDER with {' and '.join(RUNTIME)} of onnxruntime-web {RELEASE}"
    if npm is None:
        raise PoseError(f"The page's runtime comes from npm, which is not here: {hint}.")
    command = [npm, "pack", f"onnxruntime-web@{RELEASE}", "--silent", "--prefer-offline"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    archives = list(place.glob("*.tgz"))
    if done.returncode or not archives:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise PoseError(f"npm gave no onnxruntime-web {RELEASE} ({last}): {hint}.")
    found = base64.b64encode(hashlib.sha512(archives[0].read_bytes()).digest()).decode()
    if found != SHA512:
        raise PoseError(f"npm's onnxruntime-web {RELEASE} is not the one that was tried: {hint}.")
    with tarfile.open(archives[0]) as archive:
        for name in RUNTIME:
            member = archive.extractfile(f"package/dist/{name}")
            assert member is not None
            (place / name).write_bytes(member.read())
    return place


def card_html(card: str) -> str:
    """The little Markdown that cards are written in: headings, lists, tables, paragraphs."""
    lines = [line.rstrip() for line in card.splitlines() if not re.fullmatch(r"[| :-]*", line)]
    blocks = []
    for kind, group in groupby(lines, _kind):
        texts = [html.escape(line) for line in group]
        if kind == "heading":
            blocks += [
                re.sub(r"^#+ (.*)", rf"<h{2 + (t[1] == '#')}>\1</h{2 + (t[1] == '#')}>", t)
                for t in texts
            ]
        elif kind == "list":
            blocks.append("<ul>" + "".join(f"<li>{t[2:]}</li>" for t in texts) + "</ul>")
        elif kind == "table":
            rows = [
                "".join(f"<td>{c.strip()}</td>" for c in t.strip("|").split("|")) for t in texts
            ]
            blocks.append("<table>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</table>")
        else:
            blocks.append("<p>" + " ".join(texts) + "</p>")
    return "\n".join(blocks)


def _kind(line: str) -> str:
    marks = {"#": "heading", "-": "list", "|": "table"}
    return marks.get(line[:1], "paragraph")
