"""Writes docs/configuration.md: every key of conf/ with its default and its comment. `python scripts/config_page.py`"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from featherpose.cli.app import COMPOSED  # noqa: E402  (this checkout's)

CONF = ROOT / "conf"
PAGE = ROOT / "docs" / "configuration.md"
HEAD = """# Configuration

Written by `python scripts/config_page.py` from the comments in `conf/`: change those, not this page.

A run is composed of one file of each group. `python src/train.py --help` lists them, `--cfg job` shows what they come
to. On the command line `group=file` takes another file and `path.to.key=value` changes one value; `${...}` points at
another key. An experiment is a file of such choices and values.
"""
GROUPS = {
    "data": "What is trained on and scored on",
    "model": "Networks",
    "schedule": "How long, at which rate, and gamma's phases",
    "augment": "What is done to training pictures",
    "loss": "Losses",
    "protocol": "How scores are measured",
    "callbacks": "What happens beside the steps of a training",
    "trainer": "Devices and arithmetic; any further keyword of Lightning's Trainer with a `+`",
    "logger": "Dashboards",
    "sweep": "Sweeps",
    "benchmark": "Benchmarks",
    "paths": "Where files lie",
    "debug": "For a first try",
}


def page() -> str:
    """The whole page. Experiments are choices of these keys and have none of their own."""
    parts = [HEAD.strip(), "## Verbs"]
    parts += [text for verb in COMPOSED for text in section(CONF / f"{verb}.yaml", f"`{verb}`", "")]
    for group, words in GROUPS.items():
        parts += [f"## `{group}`", words + "."]
        for path in sorted((CONF / group).glob("*.yaml")):
            parts += section(path, f"`{group}={path.stem}`", f"{group}.")
    return "\n\n".join(parts) + "\n"


def section(path: Path, title: str, above: str) -> list[str]:
    """A heading, what the file says of itself, and its keys; nothing of a file that has none."""
    text = path.read_text(encoding="utf-8")
    above = "" if "@package _global_" in text else above
    rows = list(keys(yaml.compose(text), text.splitlines(), above))
    said = " ".join(_first_comments(text))
    if path.stem.startswith("_"):
        title = f"In all of them (`{path.stem}.yaml`)"
    table = ["| key | default | |\n|---|---|---|"] + [
        f"| `{key}` | {f'`{value}`' if value else ''} | {_cell(words)} |"
        for key, value, words in rows
    ]
    if not rows:
        return []
    return [f"### {title}", *([_cell(said)] if said else []), "\n".join(table)]


def keys(node: yaml.Node | None, lines: list[str], above: str) -> Iterator[tuple[str, str, str]]:
    """Path, value as it is written, and the comment behind it."""
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        if (name := key.value) in ("defaults", "hydra", "_target_", "_partial_"):
            continue
        start, end = value.start_mark, value.end_mark
        nested = isinstance(value, yaml.MappingNode) and not value.flow_style and value.value
        behind = lines[key.end_mark.line][key.end_mark.column :]
        written = "" if nested or start.line != key.start_mark.line else _value(behind)
        last = key.end_mark if nested else end
        words = _comment(lines, last.line, last.column)
        if not nested or words:
            yield f"{above}{name}", written, words
        if nested:
            yield from keys(value, lines, f"{above}{name}.")


def _value(behind: str) -> str:
    """What stands between the colon and the comment."""
    text = re.sub(r"\s+#.*$", "", behind.lstrip(":")).strip()
    return text.replace("|", "\\|")


def _comment(lines: list[str], line: int, column: int) -> str:
    """The comment behind a value, and the lines that go on with it right below."""
    found = re.search(r"(?:^|\s)#\s*(.*)$", lines[line][column:]) if line < len(lines) else None
    if not found:
        return ""
    words, place = [found[1]], lines[line].index("#", column)
    for below in lines[line + 1 :]:
        if below.strip()[:1] != "#" or below.index("#") != place:
            break
        words.append(below.strip().lstrip("# "))
    return " ".join(words)


def _first_comments(text: str) -> Iterator[str]:
    """What a file says of itself, without the commands: those stand in the other pages, where they are tried."""
    for line in text.splitlines():
        if not line.startswith("#"):
            return
        said = re.split(
            r"@package|(?:Get|Check|Build) it\b|`?(?:python|featherpose|sbatch) \S", line
        )[0]
        if words := said.lstrip("# ").rstrip(" :"):
            yield words


def _cell(words: str) -> str:
    """Commands keep their own face; a bar would end the cell."""
    return words.strip().replace("|", "\\|")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
