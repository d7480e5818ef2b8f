"""The commands that people read: in README.md and docs/, and in what `--help` prints."""

from __future__ import annotations

import re
from pathlib import Path

BLOCK = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
# What a line begins with that somebody types; a word alone is a name
BEGIN = re.compile(
    r"(?:[A-Z][A-Z_]*=(?:\"[^\"]*\"|\S+) )*"
    r"(?:python|bash|make|source|featherpose|pip|pytest|wandb|tensorboard|trackio|mlflow) \S"
)
IN_HELP = re.compile(
    r"(?<!usage)(?:^ *|: +)((?:python (?:src|scripts)/\w+\.py|featherpose \w).*)", re.MULTILINE
)


def pages(root: Path) -> list[Path]:
    return [root / "README.md", *sorted((root / "docs").glob("**/*.md"))]


def in_page(text: str) -> list[str]:
    """Every distinct command of a page: lines of its shell blocks, and what stands between backticks."""
    found = []
    for language, block in BLOCK.findall(text):
        if language in ("", "bash", "sh", "shell"):
            found += [without_comment(line) for line in block.replace("\\\n", " ").splitlines()]
    found += INLINE.findall(BLOCK.sub("", text))
    return distinct(line for line in found if BEGIN.match(line))


def in_help(text: str) -> list[str]:
    """Every distinct command of a help text, whose explanation stands behind two spaces or a hash."""
    lines = [without_comment(line.strip()) for line in IN_HELP.findall(text)]
    return distinct(line for line in (re.split(r"  +", line)[0] for line in lines) if line)


def without_comment(line: str) -> str:
    return re.split(r"\s#\s", line)[0].strip()


def distinct(lines: object) -> list[str]:
    return list(dict.fromkeys(lines))  # ty: ignore
