"""A headless Chromium with one page open, spoken to by its DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import functools
import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp

from featherpose.benchmarks.browser import headless


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Requests are not printed."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The folder as `python -m http.server` gives it."""
    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()


class Page:
    """One page of a browser that runs for as long as the block does."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.number = 0

    async def ask(self, method: str, **values: Any) -> dict[str, Any]:
        self.number += 1
        await self.socket.send_json({"id": self.number, "method": method, "params": values})
        while True:
            message = await self.socket.receive_json(timeout=120)
            if message.get("id") == self.number:
                assert "error" not in message, message
                return message["result"]

    async def value(self, script: str) -> Any:
        found = await self.ask(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def until(self, script: str, seconds: float = 120) -> Any:
        """Waits for a script's value to be true; what the page says where it never is."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = await self.value(script)
            if found:
                return found
            await asyncio.sleep(0.05)
        raise AssertionError(await self.value("document.body.innerText"))

    async def choose(self, file: Path) -> None:
        """As if somebody chose the file in the page's first file input."""
        document = await self.ask("DOM.getDocument")
        node = await self.ask(
            "DOM.querySelector", nodeId=document["root"]["nodeId"], selector="input[type=file]"
        )
        await self.ask("DOM.setFileInputFiles", files=[str(file)], **node)

    async def photograph(self, path: Path, width: int, height: int) -> None:
        await self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        shot = await self.ask("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(shot["data"]))


async def visit(address: str, profile: Path, talk: Any) -> Any:
    """Opens the address and gives what the coroutine function `talk` makes of the page."""
    more = ("--no-sandbox", "--remote-debugging-port=0", "--use-fake-device-for-media-stream")
    browser = headless(profile, "about:blank", *more)
    try:
        port = profile / "DevToolsActivePort"
        for _ in range(1200):
            if port.is_file() and port.read_text().strip():
                break
            await asyncio.sleep(0.05)
        number = port.read_text().split()[0]
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{number}/json/list") as answer:
                pages = [each for each in await answer.json() if each["type"] == "page"]
            where = pages[0]["webSocketDebuggerUrl"]
            async with session.ws_connect(where, max_msg_size=0) as socket:
                page = Page(socket)
                await page.ask("Page.navigate", url=address)
                return await talk(page)
    finally:
        browser.terminate()
        browser.wait(30)
