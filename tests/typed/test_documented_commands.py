"""Every command of README.md, docs/ and the help texts runs as it is written, in a fresh checkout.

Trainings are made small by `debug=tiny` alone. stand_ins.py is the one table of what the documentation leaves open and
of what cannot run whole; the last test counts. One line by itself: `pytest tests/typed -k 'export and int8'`.
A page stays in one test process; each process has a checkout of its own (`make test-typed`).
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from featherpose.cli.app import COMPOSED, VERBS

from .checkout import Checkout
from .documented import in_help, in_page, pages
from .stand_ins import way

ROOT = Path(__file__).resolve().parents[2]
WRITTEN = {
    line: str(page.relative_to(ROOT))
    for page in reversed(pages(ROOT))
    for line in in_page(page.read_text(encoding="utf-8"))
}
LINES = list(reversed(WRITTEN))
HELPS = [
    "featherpose --help",
    *(f"featherpose {verb} --help" for verb in VERBS),
    *(f"featherpose runs {verb} --help" for verb in VERBS["runs"].split(", ")),
    *(f"python src/{verb}.py --help" for verb in COMPOSED),
    *(f"python scripts/{path.name} --help" for path in sorted((ROOT / "scripts").glob("*.py"))),
]


@pytest.mark.parametrize(
    "line",
    [pytest.param(line, id=f"{WRITTEN[line]}: {line}") for line in LINES],
)
def test_a_line_of_the_pages(checkout: Checkout, line: str) -> None:
    answer = checkout.follow(line)
    assert not answer.wrong, answer.report()


@pytest.mark.parametrize("line", HELPS)
def test_a_help_text_and_what_it_says(checkout: Checkout, line: str) -> None:
    """What a page says too is run there."""
    answers = [checkout.follow(line)]
    of_its_own = [each for each in in_help(answers[0].text) if each not in WRITTEN]
    answers += [checkout.follow(each) for each in of_its_own]
    wrong = [answer.report() for answer in answers if answer.wrong]
    assert not wrong, "\n\n".join(wrong)


def test_few_lines_need_a_stand_in(checkout: Checkout, capsys: pytest.CaptureFixture[str]) -> None:
    helps = [checkout.follow(line).text for line in HELPS]
    documented = {*LINES, *(line for text in helps for line in in_help(text))}
    ways = Counter(way(line).kind for line in documented)
    with capsys.disabled():
        print(
            f"\n{len(documented)} commands in the documentation = {ways['as written']} run as written"
            f" + {ways['smaller']} at a smaller scale + {ways['refused']} to the sentence that refuses them"
        )
    assert ways["as written"] > ways["smaller"] + ways["refused"]
