"""Runs Python programs as a shell would, without paying for their imports each time.

The libraries are imported once; each program is a forked child with arguments, folder, environment and output of its
own, which comes to its end as any Python does. Requests are lines of JSON, answers exit codes.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import signal
import sys
import time
from typing import Any


def main() -> int:
    for name in json.loads(sys.stdin.readline()):
        importlib.import_module(name)
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if not child:
            become(request)
            return program(request["argv"])
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


def program(argv: list[str]) -> int:
    """`python FILE ...` or `python -m MODULE ...`."""
    if argv[0] == "-m":
        sys.argv = argv[1:]
        runpy.run_module(argv[1], run_name="__main__", alter_sys=True)
        return 0
    sys.argv = argv
    sys.path.insert(0, os.path.dirname(os.path.abspath(argv[0])))
    runpy.run_path(argv[0], run_name="__main__")
    return 0


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
