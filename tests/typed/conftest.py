"""The fresh checkout of tests/typed; `make test-typed` runs them, `make test` does not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

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


class ByPage(LoadScopeScheduling):
    """What a page says stays in one process, so that what its lines need is made once there.

    `--dist loadgroup` does not do it: xdist 3.8 writes its groups where pytest 9.2 does not read them.
    """

    def _split_scope(self, nodeid: str) -> str:
        page = re.search(r"\[(\S+\.md): ", nodeid)
        return page[1] if page else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByPage:
    return ByPage(config, log)
