"""Files timed in a browser: what it answers, what it cannot run, and what is said where there is none."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from featherpose.benchmarks import browser, runtimes
from featherpose.benchmarks.browser import Browser, program
from featherpose.errors import PoseError
from featherpose.export.web import fetched_runtime

from .test_latency import model


def test_without_a_browser_it_is_said_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(runtimes, "open_network", lambda *_: pytest.fail("too late"))
    with pytest.raises(PoseError, match="needs a browser on the PATH"):
        runtimes.run(networks=["lapx"], browser=True, out=str(tmp_path / "out"))


def test_a_browser_that_says_nothing_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = tmp_path / "chromium"
    silent.write_text("#!/bin/sh\nexec sleep 600\n")
    silent.chmod(0o755)
    for name in browser.RUNTIME:
        (tmp_path / name).touch()
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(browser, "PATIENCE", 0.2)
    started = []
    real = browser.headless
    monkeypatch.setattr(browser, "headless", lambda *a: started.append(real(*a)) or started[-1])
    with pytest.raises(PoseError, match=r"chromium\) said nothing"), Browser(tmp_path):
        pass
    assert started[0].poll() is not None


@pytest.fixture(scope="module")
def ort(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    if program() is None:
        pytest.skip("no Chromium here")
    folder = tmp_path_factory.mktemp("ort")
    try:
        yield fetched_runtime(folder)
    except PoseError as error:
        pytest.skip(f"no npm here: {error}")


@pytest.mark.slow
def test_a_page_runs_what_it_can_and_says_what_it_cannot(
    ort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browser, "NOTHING", 0.2)  # it asks several times before there is a file
    good, bad = model(tmp_path / "good.onnx"), tmp_path / "bad.onnx"
    bad.write_bytes(b"no network")
    keys: dict[str, Any] = {"threads": [1], "batches": [1], "rounds": 3, "memory": False}
    out = tmp_path / "out"
    runtimes.run(extra=[str(good)], browser=True, ort=str(ort), out=str(out), **keys)
    (row,) = csv.DictReader((out / "runtimes.csv").open())
    assert 0 < float(row["ms_browser"]) < 1000
    text = (out / "runtimes.md").read_text()
    assert "| ms, browser |" in text and "(WASM with SIMD, one thread) in" in text
    with Browser(ort) as page:
        with pytest.raises(PoseError, match=r"bad\.onnx does not run in the browser: "):
            page.milliseconds(bad, (1, 3, 8, 8))
        assert page.milliseconds(good, (1, 3, 64, 48)) > 0  # and goes on
