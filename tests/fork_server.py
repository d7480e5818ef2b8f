"""The process that forks.py forks: `python fork_server.py SOCKET EXECUTABLE LIBRARY...`, until its input ends.

A program's process has folder, environment, input and output of who asked for it. At its end it runs what was left for
then, as any Python does; only the tidying of memory, which would copy what is shared, is left out.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
import traceback
import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ended: list[int] = []  # the exit code of a program, in its own process
# what this process would find packages in without its own folder and environment
own_path: list[str] = []


@dataclass
class Program:
    """A fork, and the connection to who asked for it."""

    asked_by: socket.socket
    pid: int
    end: int  # a descriptor that can be read once it has ended

    def descriptors(self) -> tuple[int, int]:
        return self.asked_by.fileno(), self.end

    def finish(self) -> None:
        """Waits for its end and tells it."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        with contextlib.suppress(BrokenPipeError):
            self.asked_by.sendall(code.to_bytes(8, "little", signed=True))
        self.asked_by.close()
        os.close(self.end)


def main() -> int:
    address, executable, *libraries = sys.argv[1:]
    atexit.register(leave)  # the first of all is called as the last
    own_path[:] = [place for place in sys.path[1:] if place not in places_of(os.environ)]
    for name in libraries:
        importlib.import_module(name)
    threads = len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 1
    assert threads == 1, "a library has started a thread, which a fork would lose"
    sys.executable = executable
    gc.freeze()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    print("ready", flush=True)
    request = serve(listener)
    if request is None:
        return 0
    become(request)
    ended.append(code_of(request["argv"]))
    return ended[0]


def serve(listener: socket.socket) -> dict[str, Any] | None:
    """Forks for each that asks; returns what was asked for in a fork, and nothing at the end of the input."""
    events = selectors.DefaultSelector()
    events.register(sys.stdin, selectors.EVENT_READ)
    events.register(listener, selectors.EVENT_READ)
    running: dict[int, Program] = {}  # by either of its descriptors
    while True:
        key = events.select()[0][0]
        if key.fileobj is sys.stdin:
            for program in running.values():
                os.kill(program.pid, signal.SIGKILL)
            return None
        if key.fileobj is not listener:
            program = running[key.fd]
            if key.fd != program.end:  # who asked for it has been killed
                os.kill(program.pid, signal.SIGKILL)
            for place in program.descriptors():
                events.unregister(place)
                del running[place]
            program.finish()
            continue
        asked_by = listener.accept()[0]
        request = read(asked_by)
        pid = os.fork()
        if not pid:
            for opened in (
                events,
                listener,
                asked_by,
                *(each.asked_by for each in running.values()),
            ):
                opened.close()
            return request
        for descriptor in request["descriptors"]:
            os.close(descriptor)
        asked_by.sendall(pid.to_bytes(8, "little"))
        program = Program(asked_by, pid, os.pidfd_open(pid))
        for place in program.descriptors():
            running[place] = program
            events.register(place, selectors.EVENT_READ)


def read(asked_by: socket.socket) -> dict[str, Any]:
    length, descriptors, *_ = socket.recv_fds(asked_by, 8, 3)
    with asked_by.makefile("rb") as file:
        argv, folder, environment = json.loads(file.read(int.from_bytes(length, "little")))
    return {"argv": argv, "folder": folder, "environment": environment, "descriptors": descriptors}


def places_of(environment: Mapping[str, str]) -> list[str]:
    return [place for place in environment.get("PYTHONPATH", "").split(os.pathsep) if place]


def become(request: dict[str, Any]) -> None:
    """Folder, environment, input and output of the program; a group of its own, to be ended as a whole."""
    os.setsid()
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    for place, descriptor in enumerate(request["descriptors"]):
        os.dup2(descriptor, place)
    for descriptor in request["descriptors"]:
        if descriptor > 2:
            os.close(descriptor)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    if "PYTHONUNBUFFERED" in os.environ:
        sys.stdout.reconfigure(write_through=True)
    sys.path[:] = [*places_of(os.environ), *own_path]
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()  # a start's own, as Python's is
    ranks = sys.modules.get("lightning.fabric.utilities.rank_zero")
    if ranks is not None:  # which has read the server's environment when it was imported
        ranks.rank_zero_only.rank = ranks._get_rank() or 0


def leave() -> None:
    if ended:
        sys.stdout.flush()
        sys.stderr.flush()
        if ended[0] < 0:
            signal.signal(-ended[0], signal.SIG_DFL)
            os.kill(os.getpid(), -ended[0])
        os._exit(ended[0])


def code_of(argv: list[str]) -> int:
    """The exit code that the shell would see."""
    try:
        program(argv)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        traceback.print_exc()
        return -signal.SIGINT
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def program(argv: list[str]) -> None:
    """`python FILE ...`, `python -m MODULE ...` or `python -c CODE ...`."""
    if argv[0] == "-m":
        sys.argv = argv[1:]
        sys.path.insert(0, os.getcwd())
        runpy.run_module(argv[1], run_name="__main__", alter_sys=True)
    elif argv[0] == "-c":
        sys.argv = ["-c", *argv[2:]]
        sys.path.insert(0, "")
        module = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(argv[1], "<string>", "exec"), module.__dict__)
    else:
        sys.argv = argv
        sys.path.insert(0, os.path.dirname(os.path.abspath(argv[0])))
        runpy.run_path(argv[0], run_name="__main__")


if __name__ == "__main__":
    sys.exit(main())
