"""Milliseconds of .onnx files in a browser: ONNX Runtime Web in a headless Chromium, asked for one pass at a time."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from queue import Empty, Queue
from types import TracebackType
from typing import Any

from featherpose.errors import PoseError
from featherpose.export.web import RELEASE, RUNTIME, checked_runtime, fetched_runtime

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome", "msedge")
PATIENCE = 120.0  # seconds that one answer may take
NOTHING = 20.0  # seconds after which the page is told that there is nothing to do, and asks again
PAGE = """<!doctype html><meta charset="utf-8"><script type="module">
import * as ort from "./ort.wasm.bundle.min.mjs";
ort.env.wasm.wasmPaths = { wasm: new URL("./ort-wasm-simd-threaded.wasm", import.meta.url).href };
ort.env.wasm.numThreads = 1;
const opened = {};
async function open(file, shape, bytes) {
  const session = await ort.InferenceSession.create(file);
  const size = shape.reduce((a, b) => a * b, 1);
  const input = bytes
    ? new ort.Tensor("uint8", Uint8Array.from({ length: size }, () => 256 * Math.random()), shape)
    : new ort.Tensor("float32", Float32Array.from({ length: size }, () => 2 * Math.random() - 1), shape);
  return { session, fed: { [session.inputNames[0]]: input } };
}
let answer = { ready: true };
for (;;) {
  const response = await fetch("ask", { method: "POST", body: JSON.stringify(answer) });
  const { file, shape, bytes } = await response.json();
  answer = null;
  if (!file) continue;
  try {
    opened[file] ??= await open(file, shape, bytes);
    const { session, fed } = opened[file];
    const began = performance.now();
    await session.run(fed);
    answer = { ms: performance.now() - began };
  } catch (error) {
    answer = { error: String(error.message ?? error) };
  }
}
</script>"""


def program() -> str | None:
    """A browser of Chromium's family on the PATH."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


def headless(profile: Path, address: str, *more: str) -> subprocess.Popen[bytes]:
    """The browser without a window, with a profile of its own."""
    command = [program() or NAMES[0], "--headless=new", "--disable-gpu", "--no-first-run"]
    command += [f"--user-data-dir={profile}", "--disable-dev-shm-usage", *more]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--no-sandbox")  # as root it does not start with one
    return subprocess.Popen(
        [*command, address], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


class Browser:
    """A page that stays open for as long as the block does and runs files when it is asked to.

    Args:
        runtime: a folder with onnxruntime-web's files; None: npm fetches them.
    """

    def __init__(self, runtime: Path | None = None) -> None:
        if program() is None:
            raise PoseError(
                f"browser=true needs a browser on the PATH, one of {', '.join(NAMES)}; none is here."
            )
        self.runtime = runtime
        self.files: dict[str, Path] = {}  # by the address under which the page finds them
        self.asked: Queue[dict[str, Any]] = Queue()
        self.answers: Queue[dict[str, Any]] = Queue()
        self.closing = ExitStack()

    @property
    def name(self) -> str:
        found = subprocess.run(
            [program() or NAMES[0], "--version"], capture_output=True, text=True, check=False
        )
        return f"ONNX Runtime Web {RELEASE} (WASM with SIMD, one thread) in {found.stdout.split(' built')[0].strip()}"

    def __enter__(self) -> Browser:
        with ExitStack() as opening:
            place = Path(
                opening.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
            )
            ort = checked_runtime(self.runtime) if self.runtime else fetched_runtime(place)
            self.files |= {f"/{name}": ort / name for name in RUNTIME}
            handler = functools.partial(Answering, self.files, self.asked, self.answers)
            server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
            server.daemon_threads = True
            opening.callback(server.server_close)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            opening.callback(server.shutdown)
            browser = headless(place / "profile", f"http://127.0.0.1:{server.server_address[1]}/")
            opening.callback(browser.wait, 30)
            opening.callback(browser.terminate)
            self.next_answer()  # the page is there
            self.closing = opening.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.closing.close()

    def milliseconds(self, file: Path, shape: Sequence[int], takes_bytes: bool = False) -> float:
        """Of one pass over noise, by the page's clock; a file's first also opens it, outside the clock."""
        address = "/" + hashlib.sha256(str(file.resolve()).encode()).hexdigest()
        self.files[address] = file
        self.asked.put({"file": address, "shape": list(shape), "bytes": takes_bytes})
        answer = self.next_answer()
        if "error" in answer:
            raise PoseError(f"{file} does not run in the browser: {answer['error']}")
        return float(answer["ms"])

    def next_answer(self) -> dict[str, Any]:
        try:
            return self.answers.get(timeout=PATIENCE)
        except Empty:
            raise PoseError(
                f"The browser ({program()}) said nothing for {PATIENCE:.0f} seconds."
            ) from None


class Answering(http.server.BaseHTTPRequestHandler):
    """The page and its files; each question of the page carries its last answer and waits for the next thing to do."""

    def __init__(
        self,
        served: dict[str, Path],
        asked: Queue[dict[str, Any]],
        answers: Queue[dict[str, Any]],
        *request: Any,
    ) -> None:
        self.served, self.asked, self.answers = served, asked, answers
        super().__init__(*request)

    def do_GET(self) -> None:
        if self.path == "/":
            self.give(PAGE.encode(), "text/html")
        elif self.path in self.served:
            kinds = {".mjs": "text/javascript", ".wasm": "application/wasm"}
            file = self.served[self.path]
            self.give(file.read_bytes(), kinds.get(file.suffix, "application/octet-stream"))
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        if answer := json.loads(self.rfile.read(length)):
            self.answers.put(answer)
        try:
            job = self.asked.get(timeout=NOTHING)
        except Empty:
            job = {}
        self.give(json.dumps(job).encode(), "application/json")

    def give(self, content: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        # an isolated page has a clock of microseconds
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not printed."""
