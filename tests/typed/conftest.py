"""The fresh checkout of tests/typed; `make test-typed` runs them, `make test` does not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .checkout import Checkout


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A fresh copy of the project with data/, pictures and weights as people lay them out."""
    folder = tmp_path_factory.mktemp("typed") / "featherpose"
    folder.mkdir()
    made = Checkout(folder)
    made.lay_out()
    yield made
    made.close()
