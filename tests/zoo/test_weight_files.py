"""Files of weights, by what they hold and not by what they are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from featherpose.zoo.weight_files import sha256_of


@pytest.mark.parametrize(
    ("graph", "numbers"),
    [("a.xml", "a.bin"), ("a.ncnn.param", "a.ncnn.bin"), ("a.onnx", "a.onnx.data")],
)
def test_of_two_files_the_sum_is_of_the_numbers(tmp_path: Path, graph: str, numbers: str) -> None:
    """What was kept of a teacher is not taken for that of one trained further."""
    (tmp_path / graph).write_text("graph")
    (tmp_path / numbers).write_bytes(b"one")
    before = sha256_of(tmp_path / graph)
    (tmp_path / numbers).write_bytes(b"two")
    assert sha256_of(tmp_path / graph) != before
