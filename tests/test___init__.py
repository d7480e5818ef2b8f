"""What the package exports."""

from __future__ import annotations

import pytest

import featherpose


@pytest.mark.parametrize("name", sorted(set(featherpose.__all__) - {"__version__"}))
def test_a_public_name_is_there(name: str) -> None:
    assert callable(getattr(featherpose, name))


def test_another_name_is_an_error_of_pythons_own_kind() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nose'"):
        _ = featherpose.Nose
