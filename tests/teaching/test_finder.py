"""Training the finder: what it is shown, that it learns and goes on, how it is scored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from featherpose.image import write
from featherpose.models.peers.yolox import YOLOXNano
from featherpose.teaching.finder import (
    SIDE,
    Plan,
    augmented,
    average_precision,
    batch_of,
    fitted,
    found,
)
from featherpose.teaching.finder_set import Pictures
from featherpose.zoo.shipped import FINDER
from featherpose.zoo.yolox import read_yolox

PLAN = Plan(steps=4, batch=2, warm_up=1, every=2)


def card(at: tuple[int, int], size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A white card in a dark picture, and its box."""
    picture = np.full((240, 320, 3), 20, np.uint8)
    picture[at[1] : at[1] + size[1], at[0] : at[0] + size[0]] = 250
    return picture, np.array([[*at, *size]], float)


@pytest.fixture
def cards(tmp_path: Path) -> Pictures:
    made = Pictures([], [], [], [])
    for number in range(4):
        picture, box = card((20 + 40 * number, 30), (60, 120))
        write(tmp_path / f"{number}.png", picture)
        made.path.append(str(tmp_path / f"{number}.png"))
        made.size.append((0, 0))
        made.boxes.append(box)
        made.person.append(np.ones(1, bool))
    return made


def test_boxes_go_with_the_picture() -> None:
    """Whatever chance does, the white card lies in its box."""
    picture, box = card((100, 60), (80, 120))
    seen = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        image, people, unclear = augmented(picture, box, np.ones(1, bool), random)
        assert image.shape == (3, SIDE, SIDE) and len(people) + len(unclear) <= 1
        if not len(people):
            continue
        seen += 1
        bright = np.argwhere(image[1] >= image[1].max() - 20.0)
        low, high = bright.min(axis=0)[::-1], bright.max(axis=0)[::-1] + 1
        np.testing.assert_allclose(people[0].numpy(), [*low, *high], atol=1.5)
    assert seen > 30


def test_a_place_where_somebody_may_be_stays_open() -> None:
    picture, box = card((100, 60), (80, 120))
    _, people, unclear = augmented(picture, box, np.zeros(1, bool), np.random.default_rng(0))
    assert (len(people), len(unclear)) == (0, 1)


def test_a_step_has_its_batch_whenever_it_is_made(cards: Pictures) -> None:
    first = batch_of(cards, PLAN, 3)
    batch_of(cards, PLAN, 1)
    for one, other in zip(first, batch_of(cards, PLAN, 3), strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        assert one[1].equal(other[1])


def test_a_stopped_run_goes_on_to_the_same_weights(cards: Pictures, tmp_path: Path) -> None:
    start, lines = YOLOXNano(), []
    start.load_state_dict(read_yolox(FINDER, start))
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    whole = fitted(start, cards, cards, tmp_path / "one", PLAN, lines.append)

    class Stopped(Exception):
        pass

    def stop(line: str) -> None:
        if line.startswith("step 2"):
            raise Stopped

    plan = replace(PLAN, keep=1)
    with pytest.raises(Stopped):
        fitted(start, cards, cards, tmp_path / "two", plan, stop)
    again = fitted(start, cards, cards, tmp_path / "two", plan, lambda line: None)
    last = [torch.load(tmp_path / name / "training.pt") for name in ("one", "two")]
    assert last[0]["step"] == last[1]["step"] == 4
    for name, each in last[0]["network"].items():
        assert each.equal(last[1]["network"][name]), name
    assert whole.state_dict().keys() == again.state_dict().keys()
    moved = last[0]["network"]["heads.0.box.weight"] - start.heads[0].box.weight
    assert moved.abs().max() > 0
    assert last[0]["network"]["stem.0.weight"].equal(start.stem[0].weight)
    assert lines[0].startswith("start") and lines[-1].startswith("step 4")


def test_what_is_found_is_scored(cards: Pictures) -> None:
    right = [(boxes, np.ones(1)) for boxes in cards.boxes]
    assert average_precision(cards, right)["AP"] == pytest.approx(1)
    nobody = [(np.zeros((0, 4)), np.zeros(0))] * len(cards)
    assert average_precision(cards, nobody)["AP"] == 0
    half = right[:2] + nobody[:2]
    assert 0.4 < average_precision(cards, half)["AP"] < 0.6


def test_boxes_are_of_the_picture() -> None:
    class Sure(torch.nn.Module):
        """Sees somebody of 64 x 64 pixels in the second cell of 32 pixels of the second row."""

        def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
            maps = [
                torch.full((1, 6, images.shape[2] // s, images.shape[3] // s), -9.0)
                for s in (8, 16, 32)
            ]
            maps[2][0, :, 1, 1] = torch.tensor([0, 0, np.log(2), np.log(2), 9, 9])
            return maps

    boxes, scores = found(Sure(), np.zeros((SIDE * 2, SIDE * 2, 3), np.uint8))
    np.testing.assert_allclose(boxes, [[0, 0, 128, 128]], atol=1e-3)
    assert scores[0] > 0.99
