"""`make test-typed` runs what the pages say; a training in its whole length would hold it up for hours."""

from __future__ import annotations

import re
from pathlib import Path

from .typed.documented import in_page, pages
from .typed.stand_ins import TRAINS, way

ALSO = re.compile(r"make train|reproduce_\w+\.sh")  # what trains by another name
SMALL = re.compile(r"\bdebug=(tiny|overfit)\b")  # the second has a stand-in of its own


def test_every_documented_training_is_run_small(root: Path) -> None:
    written = [line for page in pages(root) for line in in_page(page.read_text(encoding="utf-8"))]
    trainings = [
        line for line in dict.fromkeys(written) if TRAINS.search(line) or ALSO.search(line)
    ]
    ways = {line: way(line) for line in trainings}
    whole = [
        line for line, how in ways.items() if how.kind != "refused" and not SMALL.search(how.line)
    ]
    assert len(trainings) > 50
    assert not whole, "\n".join(["These run whole (tests/typed/stand_ins.py):", *whole])
