"""Runs Python programs as a shell would, without paying for their imports each time.

The libraries are imported once; each program is a forked child with arguments, folder, environment and output of
its own. Requests are lines of JSON, answers exit codes. At its end a program runs what was left for then, as any
Python does; only the tidying of memory, which would copy what is shared, is left out.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import signal
import sys
import time
import traceback
from typing import Any

ended: list[int] = []  # the exit code of a program, in its own process


def main() -> int:
    atexit.register(leave)  # the first of all is called as the last
    for name in json.loads(sys.stdin.readline()):
        importlib.import_module(name)
    threads = len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 1
    assert threads == 1, "a library has started a thread, which a fork would lose"
    gc.freeze()
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if not child:
            become(request)
            ended.append(code_of(request["argv"]))
            return ended[0]
        print(wait(child, request["seconds"]), flush=True)
    return 0


def become(request: dict[str, Any]) -> None:
    """Folder, environment and output of the program; a group of its own, to be ended as a whole."""
    os.setsid()
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number, source in ((0, os.open(os.devnull, os.O_RDONLY)), (1, output), (2, output)):
        os.dup2(source, number)
    sys.path[:0] = request["environment"]["PYTHONPATH"].split(os.pathsep)


def leave() -> None:
    if ended:
        sys.stdout.flush()
        sys.stderr.flush()
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
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def program(argv: list[str]) -> None:
    """`python FILE ...` or `python -m MODULE ...`."""
    if argv[0] == "-m":
        sys.argv = argv[1:]
        runpy.run_module(argv[1], run_name="__main__", alter_sys=True)
        return
    sys.argv = argv
    sys.path.insert(0, os.path.dirname(os.path.abspath(argv[0])))
    runpy.run_path(argv[0], run_name="__main__")


def wait(child: int, seconds: float) -> int:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return 124


if __name__ == "__main__":
    sys.exit(main())
