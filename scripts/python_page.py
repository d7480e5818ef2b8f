"""Writes docs/python.md: runs in Python, from the docstrings. `python scripts/python_page.py`"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

import featherpose.runs  # noqa: E402  (this checkout's)
from featherpose.runs import dataframes, paired, samples  # noqa: E402
from featherpose.runs.folder import Run  # noqa: E402

PAGE = ROOT / "docs" / "python.md"
HEAD = """# Runs in Python

Written by `python scripts/python_page.py` from the docstrings: change those, not this page.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD, *_functions(featherpose.runs), _class(Run)]
    for module in (dataframes, samples, paired):
        parts += [
            f"## `{module.__name__}`\n\n{inspect.getdoc(module)}\n",
            *_functions(module, "###"),
        ]
    return "\n".join(parts)


def _functions(module: ModuleType, level: str = "##") -> list[str]:
    own = [
        each
        for name, each in vars(module).items()
        if inspect.isfunction(each) and each.__module__ == module.__name__ and name[0] != "_"
    ]
    return [
        _entry(f"{module.__name__}.{each.__name__}", each, level) for each in own if each.__doc__
    ]


def _class(kind: type) -> str:
    rows = [f"## `Run`\n\n{inspect.getdoc(kind)}\n", "| | |", "|---|---|"]
    for name, member in vars(kind).items():
        doc = inspect.getdoc(member)
        if name[0] == "_" or not doc or not isinstance(member, (property, cached_property)):
            continue
        reads = member.fget if isinstance(member, property) else member.func
        gives = inspect.signature(reads).return_annotation
        cells = (f"`{name}`: `{gives}`".replace("|", "\\|"), " ".join(doc.split()))
        rows.append(f"| {cells[0]} | {cells[1]} |")
    methods = [
        m for n, m in vars(kind).items() if inspect.isfunction(m) and n[0] != "_" and m.__doc__
    ]
    return "\n".join([*rows, "", *(_entry(f"Run.{m.__name__}", m, "###") for m in methods)])


def _entry(name: str, function: Any, level: str) -> str:
    signature = re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(inspect.signature(function)))
    text = inspect.getdoc(function) or ""
    lines = []
    for line in text.splitlines():
        argument = re.fullmatch(r"    (\w+): (.*)", line)
        goes_on = "  " if line.startswith(" " * 8) else ""
        lines.append(f"- `{argument[1]}`: {argument[2]}" if argument else goes_on + line.strip())
    body = "\n".join(line for line in lines if line != "Args:")
    return f"{level} `{name}`\n\n```\n{name.rpartition('.')[2]}{signature}\n```\n\n{body}\n"


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
