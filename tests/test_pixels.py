"""What every network sees, against ImageNet's numbers written out here."""

from __future__ import annotations

import pytest
import torch

from featherpose.pixels import normalise


def test_each_colour_has_its_own_mean_and_deviation() -> None:
    """Torchvision's: red 0.485 and 0.229, green 0.456 and 0.224, blue 0.406 and 0.225."""
    picture = torch.tensor([255, 0, 102], dtype=torch.uint8).view(1, 3, 1, 1).expand(2, 3, 4, 5)
    found = normalise(picture)
    assert found.dtype == torch.float32 and found.shape == (2, 3, 4, 5)
    wanted = [(1 - 0.485) / 0.229, (0 - 0.456) / 0.224, (0.4 - 0.406) / 0.225]
    for colour, value in enumerate(wanted):
        assert found[:, colour].flatten().tolist() == pytest.approx([value] * 40, abs=1e-5)


def test_the_memory_layout_is_the_one_asked_for_and_the_picture_stays() -> None:
    picture = torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8)
    before = picture.clone()
    lasting = normalise(picture, channels_last=True)
    assert lasting.is_contiguous(memory_format=torch.channels_last)
    assert normalise(picture).is_contiguous()
    torch.testing.assert_close(lasting, normalise(picture))
    assert torch.equal(picture, before)
