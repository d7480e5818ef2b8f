"""Where the verbs print: lines stay whole, whatever the terminal's width, and numbers take no colour."""

from __future__ import annotations

from rich.console import Console

console = Console(highlight=False, soft_wrap=True)
