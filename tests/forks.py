"""A Python whose libraries are loaded: a program that it runs starts in a moment, not after seconds of imports.

`Forks(folder).python` is an executable that takes what `sys.executable` takes. Its caller sees a process like any
other: output, exit code, death by a signal, signals handed on. The program itself is a fork of one process that has
imported the libraries; what it starts with its own `sys.executable` is a fork of it too. A program that is handed
descriptors besides those three, as torch's compile workers are, gets the real Python: such a one may also ask who its
parent is. featherpose itself is never imported beforehand. What has to show a cold start (its time, which packages it
imports) needs the real one.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

SERVER = Path(__file__).with_name("fork_server.py")
# What the verbs import besides featherpose. Left to the forks: ONNX Runtime, which starts a thread that a fork would
# lose, and W&B, which makes a folder for pictures that the first fork would clear away for all
LIBRARIES = (
    "torch lightning torchmetrics hydra.main omegaconf rich.console cv2 albumentations scipy.io h5py pandas"
    " simplejpeg matplotlib.pyplot pycocotools.coco onnx psutil"
).split()
# Of the server alone: no question about newer versions, and no threads, which a fork would lose
FOR_IMPORTS = {"NO_ALBUMENTATIONS_UPDATE": "1", "OPENBLAS_NUM_THREADS": "1"}
# Stands for the program towards whoever started it. Written in the least Python: it is started each time
STAND_IN = r"""
import os, sys
def inherited(number):
    try:
        return number > 2 and os.get_inheritable(number)
    except OSError:  # that of the listing itself
        return False
argv = [word for word in sys.argv[1:] if word != "-u"]
options = not argv or argv[0][:1] == "-" and argv[0] not in ("-c", "-m")
if options or any(inherited(int(name)) for name in os.listdir("/proc/self/fd")):
    os.execv({real!r}, [{real!r}, *sys.argv[1:]])
import _socket, array, json, signal
environment = dict(os.environ)
if len(argv) < len(sys.argv) - 1:
    environment["PYTHONUNBUFFERED"] = "1"
place = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
place.connect({address!r})
asked = json.dumps([argv, os.getcwd(), environment]).encode()
rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))
place.sendmsg([len(asked).to_bytes(8, "little")], [rights])
place.sendall(asked)
child = int.from_bytes(place.recv(8), "little")
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(number, lambda number, _: os.kill(child, number))
answer = place.recv(8)
code = int.from_bytes(answer, "little", signed=True) if answer else -signal.SIGKILL
if code < 0:
    if code != -signal.SIGKILL:
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
os._exit(code)
"""


@dataclass
class Forks:
    """The server of forks; it ends with this process, with `close`, and takes its programs along."""

    folder: Path  # an empty one, for the executable; short, as sockets' paths are
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    libraries: list[str] = field(default_factory=lambda: LIBRARIES)

    def __post_init__(self) -> None:
        self.server: subprocess.Popen[str] | None = None
        if not hasattr(os, "pidfd_open"):  # Linux has it; elsewhere each start is a cold one
            self.python = Path(sys.executable)
            return
        self.python = self.folder / "python"
        address = str(self.folder / "socket")
        words = (str(SERVER), address, str(self.python), *self.libraries)
        self.server = subprocess.Popen(
            [sys.executable, *words], env=self.environment | FOR_IMPORTS, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        stand_in = STAND_IN.format(real=sys.executable, address=address)
        real = str(Path(sys.executable).resolve())  # without a venv it starts a little faster
        self.python.write_text(
            f"#!/bin/sh\n''':'\nexec {shlex.quote(real)} -SIE \"$0\" \"$@\"\n'''\n" + stand_in
        )
        self.python.chmod(0o755)

    def wait(self) -> None:
        """Until the libraries are there."""
        if self.server and self.server.stdout:
            assert self.server.stdout.readline() == "ready\n", "the server of forks has not started"

    def close(self) -> None:
        if self.server and self.server.stdin:
            self.server.stdin.close()
            self.server.wait()
