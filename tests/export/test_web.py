"""The page in the browser: what it is made of, what is refused, and in Chromium the poses that Python finds."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from featherpose import Pose
from featherpose.benchmarks.browser import program
from featherpose.errors import PoseError
from featherpose.export import web
from featherpose.export.web import Source, card_html, facts_of, page_texts, write_page
from featherpose.image import read, write
from featherpose.inference.backends import FileBackend
from featherpose.inference.description import KEY, Description
from featherpose.inference.detector import Detector
from featherpose.inference.people import THRESHOLD
from featherpose.protocol import Protocol
from featherpose.skeletons import COCO
from featherpose.synthetic import painted
from featherpose.zoo.shipped import DEFAULT, FINDER, FOLDER

from .chromium import Page, served, visit

LIGHT = Source(FOLDER / f"{DEFAULT}.onnx", (FOLDER / f"{DEFAULT}.md").read_text(encoding="utf-8"))


def test_the_page_is_given_everything_as_numbers() -> None:
    facts = facts_of(LIGHT)
    assert facts["input_size"] == (256, 192)
    assert len(facts["colours"]) == len(facts["flip_order"]) == 17
    assert facts["finder"] is None
    texts = page_texts(LIGHT, facts)
    assert json.loads(texts["network.json"])["crop"] == {"padding": 1.25, "unit": 200.0}
    assert "<h2># light" not in texts["index.html"] and "$" not in texts["index.html"]
    assert "Wider Naive Lite-HRNet-18" in texts["index.html"]


def test_the_finder_that_ships_is_given_the_pictures_form() -> None:
    detector = Detector(FINDER, "yolox")
    finder = facts_of(replace(LIGHT, detector=FINDER))["finder"]
    assert finder["area"] == detector.area and finder["always"]
    assert (finder["step"], finder["longest"]) == (32, 1280)
    assert finder["threshold"] == THRESHOLD


def test_a_detector_of_other_rows_is_refused(tmp_path: Path) -> None:
    plain = maps(tmp_path / "a.onnx", Description(COCO, (8, 8), 1, Protocol()))
    with pytest.raises(PoseError, match="a row for each cell of its grids"):
        facts_of(replace(LIGHT, detector=plain))


@pytest.mark.parametrize(
    ("flip", "inside", "in_page"), [(False, False, False), (True, False, True), (True, True, False)]
)
def test_the_page_flips_where_the_protocol_does_and_the_file_does_not(
    tmp_path: Path, flip: bool, inside: bool, in_page: bool
) -> None:
    about = Description(COCO, (8, 8), 1, Protocol(flip=flip), flip_inside=inside)
    assert facts_of(Source(maps(tmp_path / "a.onnx", about), ""))["flip"] is in_page


def test_a_card_is_shown_as_text_never_as_markup() -> None:
    shown = card_html("# A <b>\n\n- one\n- two\n\n| a | b |\n|---|---|\n| 1 | <script> |\n\nWords.")
    assert shown.splitlines() == [
        "<h2>A &lt;b&gt;</h2>",
        "<ul><li>one</li><li>two</li></ul>",
        "<table><tr><td>a</td><td>b</td></tr><tr><td>1</td><td>&lt;script&gt;</td></tr></table>",
        "<p>Words.</p>",
    ]


def maps(path: Path, description: Description, batch: int | str = "batch") -> Path:
    """A file that gives 17 maps of the crop's own pixels."""
    entry = helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 3, 8, 8])
    out = helper.make_tensor_value_info("heatmaps", TensorProto.FLOAT, [batch, 17, 8, 8])
    weight = helper.make_tensor("w", TensorProto.FLOAT, [17, 3, 1, 1], np.ones(51))
    node = helper.make_node("Conv", ["images", "w"], ["heatmaps"])
    graph = helper.make_graph([node], "maps", [entry], [out], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 10
    helper.set_model_props(model, {KEY: description.to_json()})
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(
    ("changes", "batch", "said"),
    [
        ({}, 4, "an open batch"),
        (
            {"protocol": Protocol(flip=True), "decoder_inside": "quarter"},
            "batch",
            "export it with flip_inside=true",
        ),
    ],
)
def test_what_the_page_cannot_do_is_refused(
    tmp_path: Path, changes: dict[str, Any], batch: int | str, said: str
) -> None:
    plain = Description(COCO, (8, 8), 1, Protocol())
    file = maps(tmp_path / "a.onnx", replace(plain, **changes), batch)
    with pytest.raises(PoseError, match=said):
        facts_of(Source(file, ""))


def test_nothing_is_written_without_the_runtime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(PoseError, match=r"has no ort\.wasm\.bundle\.min\.mjs and no"):
        write_page(tmp_path / "page", LIGHT, tmp_path)
    monkeypatch.setattr(web.shutil, "which", lambda _: None)
    with pytest.raises(PoseError, match="npm, which is not here: give ort=FOLDER"):
        write_page(tmp_path / "page", LIGHT)
    (tmp_path / "file").touch()
    with pytest.raises(PoseError, match="is a file"):
        write_page(tmp_path / "file", LIGHT, tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.html").touch()
    with pytest.raises(PoseError, match=r"web=.*mine holds other files, as index\.html"):
        write_page(tmp_path / "mine", LIGHT)
    assert not (tmp_path / "page").exists()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if program() is None:
        pytest.skip("no Chromium here")
    folder = tmp_path_factory.mktemp("page")
    try:
        write_page(folder, LIGHT)
    except PoseError as error:
        if "npm" in str(error):
            pytest.skip(f"no npm here: {error}")
        raise
    return folder


STATUS = "document.getElementById('status').textContent"


@pytest.mark.slow
@pytest.mark.parametrize(("decoder", "pixels"), [("dark", 1e-3), ("quarter", 1e-9)])
def test_chromium_finds_what_python_finds(
    root: Path, page: Path, tmp_path: Path, decoder: str, pixels: float
) -> None:
    """The quarter offset to the last bit; DARK's logarithms round otherwise in a browser."""
    file = tmp_path / "network.onnx"
    model, about = onnx.load(LIGHT.file), FileBackend(LIGHT.file).description
    about = replace(about, protocol=replace(about.protocol, decoder=decoder))
    helper.set_model_props(model, {KEY: about.to_json()})
    onnx.save(model, file)
    write_page(tmp_path / "page", replace(LIGHT, file=file), page / "ort")
    person = painted.load(painted.read(split="val", people=1, skeleton="coco").persons[0])
    write(tmp_path / "person.png", person)
    (tmp_path / "words.txt").write_text("no picture")
    pictures = [tmp_path / "person.png", root / "docs" / "images" / "astronaut_pose.jpg"]

    async def talk(browser: Page, address: str) -> list[Any]:
        await browser.until("!!document.querySelector('body.ready')")
        found = []
        for picture in pictures:
            await browser.choose(picture)
            await browser.until(f"{STATUS}.match('{picture.name}: 1 person in .* ms')?.length")
            found.append(await browser.value("globalThis.people"))
        # A window of a phone's size shows all of it without scrolling sideways
        await browser.photograph(tmp_path / "phone.png", 390, 844)
        assert await browser.value("document.documentElement.scrollWidth") == 390
        # What goes wrong is a sentence
        await browser.choose(tmp_path / "words.txt")
        await browser.until("!!document.querySelector('#status.wrong')")
        assert "words.txt is neither a picture nor a video" in await browser.value(STATUS)
        camera = {"permission": {"name": "camera"}, "origin": address.rstrip("/")}
        await browser.ask("Browser.setPermission", setting="denied", **camera)
        await browser.value("document.getElementById('camera').click()")
        await browser.until(f"{STATUS}.startsWith('The camera was refused')")
        # And a camera's frames are followed until they are stopped
        await browser.ask("Browser.setPermission", setting="granted", **camera)
        await browser.value("document.getElementById('camera').click()")
        await browser.until("document.getElementById('speed').textContent.includes('frames/s')")
        await browser.value("document.getElementById('stop').click()")
        assert await browser.value(STATUS) == "stopped"
        return found

    with served(tmp_path / "page") as address:
        profile = tmp_path / "profile"
        found = asyncio.run(visit(address, profile, lambda browser: talk(browser, address)))
    assert cv2.imread(str(tmp_path / "phone.png")).std() > 20  # something is on it
    pose = Pose(file, detector="none")
    for picture, people in zip(pictures, found, strict=True):
        (wanted,) = pose(picture)
        (seen,) = people
        np.testing.assert_allclose(seen["keypoints"], wanted.keypoints, rtol=0, atol=pixels)
        np.testing.assert_allclose(seen["confidence"], wanted.confidence, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_chromium_finds_everybody_whom_python_finds(root: Path, page: Path, tmp_path: Path) -> None:
    """Three people of three sizes, by the finder that ships; and nobody, who is looked for in the whole picture."""
    source = replace(LIGHT, detector=FINDER)
    write_page(tmp_path / "page", source, page / "ort")
    portrait = read(root / "docs" / "images" / "astronaut_pose.jpg")
    canvas = np.full((620, 1101, 3), 114, np.uint8)
    for size, x, y in ((300, 10, 20), (420, 330, 150), (250, 800, 330)):
        canvas[y : y + size, x : x + size] = cv2.resize(portrait, (size, size))
    grey = np.full((240, 320, 3), 90, np.uint8)
    pictures = {"three.png": canvas, "nobody.png": grey}
    for name, picture in pictures.items():
        write(tmp_path / name, picture)

    async def talk(browser: Page, address: str) -> list[Any]:
        await browser.until("!!document.querySelector('body.ready')")
        found = []
        for name in pictures:
            await browser.choose(tmp_path / name)
            await browser.until(f"{STATUS}.match('{name}: .* in .* ms')?.length")
            found.append(await browser.value("globalThis.people"))
        camera = {"permission": {"name": "camera"}, "origin": address.rstrip("/")}
        await browser.ask("Browser.setPermission", setting="granted", **camera)
        await browser.value("document.getElementById('camera').click()")
        await browser.until("document.getElementById('speed').textContent.includes('frames/s')")
        return found

    with served(tmp_path / "page") as address:
        profile = tmp_path / "profile"
        found = asyncio.run(visit(address, profile, lambda browser: talk(browser, address)))
    pose = Pose()
    assert len(found[0]) == 3 and len(found[1]) == 1
    for picture, people in zip(pictures.values(), found, strict=True):
        wanted = pose(picture)
        assert len(people) == len(wanted)
        for seen, person in zip(people, wanted, strict=True):
            np.testing.assert_allclose(seen["box"], person.box, rtol=0, atol=1e-2)
            np.testing.assert_allclose(seen["keypoints"], person.keypoints, rtol=0, atol=1e-2)
            np.testing.assert_allclose(seen["confidence"], person.confidence, rtol=0, atol=1e-3)
