"""What an exported file says of itself is checked before anything relies on it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from featherpose.errors import PoseError
from featherpose.inference.description import Description
from featherpose.protocol import Protocol
from featherpose.skeletons import MPII

GOOD = Description(MPII, (64, 48), 4, Protocol(), network="Hourglass")


def changed(**values: Any) -> str:
    return json.dumps({**json.loads(GOOD.to_json()), **values})


def test_a_description_is_read_as_it_was_written() -> None:
    assert Description.from_json(GOOD.to_json(), "m.onnx") == GOOD


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "null",
        '"abc"',
        "[" * 100_000,
        changed(input_size=[10**5, 10**5]),
        changed(input_size=[-64, 64]),
        changed(input_size=[0, 0]),
        changed(input_size=[64]),
        changed(input_size=[10**400, 64]),
        changed(stride=0),
        changed(stride="x"),
        changed(mean=[1]),
        changed(mean="abc"),
        changed(deviation=[0, 0, 0]),
        changed(protocol=3),
        changed(protocol={}),
        changed(protocol={"flip": False, "decoder": "zzz"}),
        changed(skeleton=5),
        changed(unknown=1),
    ],
)
def test_damage_is_one_sentence(text: str) -> None:
    with pytest.raises(PoseError, match=r"metadata of m\.onnx is damaged .*: export it again"):
        Description.from_json(text, "m.onnx")


def test_the_graph_has_to_take_the_size_that_it_is_said_to() -> None:
    GOOD.check_shape(64, 48, "m.onnx")
    GOOD.check_shape("height", "width", "m.onnx")
    with pytest.raises(PoseError, match=r"m\.onnx takes images of 32 x 48, .* says 64 x 48"):
        GOOD.check_shape(32, 48, "m.onnx")
