"""The programs of docs/programs.md, as they stand there."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from featherpose import Pose
from featherpose.image import write
from featherpose.synthetic import painted


@pytest.fixture(scope="module")
def person() -> np.ndarray:
    return painted.load(painted.read(split="val", people=1, skeleton="coco").persons[0])


@pytest.fixture
def program(root: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`program("camera.py", argument, ...)` runs it and gives its names."""
    page = (root / "docs" / "programs.md").read_text(encoding="utf-8")
    blocks = dict(re.findall(r"```python\n# (\w+\.py)[^\n]*\n(.*?)```", page, re.DOTALL))

    def run(name: str, *arguments: object) -> dict[str, Any]:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        names: dict[str, Any] = {"__name__": name.removesuffix(".py")}
        exec(compile(blocks[name], name, "exec", dont_inherit=True), names)
        return names

    return run


def test_a_camera_loop(
    program: Any, person: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    height, width = person.shape[:2]
    video = tmp_path / "walk.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (width, height))
    for _ in range(3):
        writer.write(person[..., ::-1].copy())
    writer.release()
    program("camera.py", video)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["seconds"] for line in lines] == [0.0, 0.1, 0.2]
    assert {line["person"] for line in lines} == {0}
    assert list(lines[0]["joints"]) == list(Pose().skeleton.joints)


def test_a_folder_becomes_a_table(
    program: Any, person: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    write(folder / "a.png", person)
    (folder / "b.png").write_bytes(b"no picture")
    program("folder.py", folder, tmp_path / "out.csv")
    table = pd.read_csv(tmp_path / "out.csv")
    (found,) = Pose()(folder / "a.png")
    np.testing.assert_allclose(table[["x", "y"]], found.keypoints, atol=1e-9)
    said = capsys.readouterr()
    assert "left_knee" in said.out and "b.png" in said.err


def post(app: Any, *parts: bytes, wait: float = 0) -> tuple[int, dict[str, Any]]:
    """What an ASGI server and a client do: one request in parts, with a pause before the last."""
    waiting = list(parts)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if len(waiting) == 1:
            await asyncio.sleep(wait)
        body = waiting.pop(0) if waiting else b""
        return {"type": "http.request", "body": body, "more_body": bool(waiting)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST"}
    scope |= {"path": "/pose", "raw_path": b"/pose", "query_string": b"", "headers": []}
    asyncio.run(app({**scope, "scheme": "http", "root_path": ""}, receive, send))
    body = b"".join(each.get("body", b"") for each in sent)
    return sent[0]["status"], json.loads(body)


def test_a_service_and_its_limits(
    program: Any, person: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fastapi")
    monkeypatch.setenv("OPENCV_IO_MAX_IMAGE_PIXELS", "100000000")  # which the program changes
    names = program("service.py")
    app = names["app"]
    write(tmp_path / "a.png", person)
    data = (tmp_path / "a.png").read_bytes()
    status, answer = post(app, data[:1000], data[1000:])
    assert status == 200
    (found,) = Pose()(tmp_path / "a.png")
    joints = [[joint["x"], joint["y"]] for joint in answer["joints"].values()]
    np.testing.assert_array_equal(joints, found.keypoints)
    status, answer = post(app, b"no picture")
    assert status == 422 and "can be decoded" in answer["detail"]
    huge = data[:16] + (6000).to_bytes(4, "big") * 2 + data[24:]
    status, answer = post(app, huge)
    assert status == 422 and "6,000 x 6,000" in answer["detail"]
    assert post(app, bytes(5 * 2**20), bytes(5 * 2**20), b"never read")[0] == 413
    names["found"].__globals__["SECONDS"] = 0.01
    assert post(app, data, b"", wait=0.2)[0] == 503


def test_supervision_annotates(
    program: Any, person: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("supervision")
    write(tmp_path / "a.png", person)
    program("annotated.py", tmp_path / "a.png", tmp_path / "b.png")
    assert (cv2.imread(str(tmp_path / "b.png")) != cv2.imread(str(tmp_path / "a.png"))).any()
