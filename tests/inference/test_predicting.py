"""Still pictures share batches, but only so many wait for one."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from featherpose.inference import predicting
from featherpose.inference.streams import Frame, Source


@pytest.mark.parametrize(("side", "together"), [(10, [3, 1]), (100, [1, 1, 1, 1])])
def test_large_pictures_do_not_wait_for_a_batch(monkeypatch, side: int, together: list[int]):
    monkeypatch.setattr(predicting, "MOST_HELD", 20_000)
    asked: list[int] = []

    def many(pictures: list) -> list:
        asked.append(len(pictures))
        return [[] for _ in pictures]

    class Pictures(Source):
        def frames(self):
            for n in range(4):
                yield Frame(f"{n}.jpg", n, np.zeros((side, side, 3), np.uint8))

    pose = SimpleNamespace(many=many, batch_size=3, skeleton=None)
    source = Pictures(moving=False, total=4)
    one = (np.zeros((1, 4)), np.ones(1))
    found = list(predicting.predict(source, pose, lambda frame: one))  # ty: ignore[invalid-argument-type]
    assert [frame.name for frame, _ in found] == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
    assert [count for count in asked if count] == together
