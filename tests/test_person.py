"""Which people stand for all."""

from __future__ import annotations

from featherpose.person import spread


def test_places_are_evenly_apart_from_the_first_to_the_last() -> None:
    assert spread(10, 4).tolist() == [0, 3, 6, 9]
    assert spread(3, 4).tolist() == [0, 1, 2]
    assert spread(0, 4).tolist() == []
