"""How a long command ends: well, with one sentence, or stopped by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from featherpose.errors import PoseError
from featherpose.teaching.command import done, parser_of
from featherpose.teaching.sources import Places


def failing(error: BaseException, places: Places) -> None:
    raise error


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (PoseError("No pictures."), 1, "error: No pictures.\n"),
        (KeyboardInterrupt(), 130, "stopped; the same command goes on from here\n"),
    ],
)
def test_an_end_is_a_sentence_and_an_exit_code(
    error: BaseException, code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = parser_of("It works.", "labels").parse_args(["o", "--data", "d", "--snapshots", "s"])
    assert done(lambda places: failing(error, places), options) == code
    assert capsys.readouterr().err == says


def test_the_work_gets_its_places() -> None:
    options = parser_of("It works.", "labels").parse_args(["o", "--data", "d", "--snapshots", "s"])
    seen: list[Places] = []
    assert done(seen.append, options) == 0
    assert seen == [Places(Path("d"), Path("s"), Path("o/work"))]
