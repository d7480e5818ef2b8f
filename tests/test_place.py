"""Commands are named as people type them where the program lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from featherpose import place


@pytest.mark.parametrize(
    ("words", "checkout", "installed"),
    [
        ("data get mpii", "python scripts/get_data.py mpii", "featherpose data get mpii"),
        ("train", "python src/train.py", "featherpose train"),
        (
            "predict source=a.jpg",
            "python src/predict.py source=a.jpg",
            "featherpose predict source=a.jpg",
        ),
        ("export card RUN", "python scripts/ship.py RUN", "featherpose export card RUN"),
    ],
)
def test_commands(
    root: Path, monkeypatch: pytest.MonkeyPatch, words: str, checkout: str, installed: str
) -> None:
    assert root == place.CHECKOUT
    assert place.command(words) == checkout
    assert (root / checkout.split()[1]).is_file()
    monkeypatch.setattr(place, "CHECKOUT", None)
    assert place.command(words) == installed
