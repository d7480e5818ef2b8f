"""Reading and writing beside the network, each in a thread of its own: OpenCV and the runtimes let Python's lock go."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from typing_extensions import Self

Item = TypeVar("Item")
AHEAD = 3  # frames that may wait on either side


def ahead(items: Iterable[Item], most: int = AHEAD) -> Iterator[Item]:
    """The items in their order, up to `most` of them fetched before they are asked for."""
    iterator = iter(items)

    def fetch() -> Item | None:
        return next(iterator, None)

    with ThreadPoolExecutor(1) as thread:
        waiting = deque(thread.submit(fetch) for _ in range(most))
        while (item := waiting.popleft().result()) is not None:
            waiting.append(thread.submit(fetch))
            yield item


class Beside:
    """Does one piece of work after another in a thread; a context manager that ends when all is done.

    What goes wrong in a piece is raised by a later call or at the end, and what waits behind it is left undone.
    """

    def __init__(self, most: int = AHEAD) -> None:
        self.most = most
        self.thread = ThreadPoolExecutor(1)
        self.waiting: deque[Future[None]] = deque()
        self.failed = False

    def __call__(self, work: Callable[[], None]) -> None:
        self.waiting.append(self.thread.submit(self._do, work))
        while len(self.waiting) > self.most:
            self.waiting.popleft().result()

    def _do(self, work: Callable[[], None]) -> None:
        if self.failed:
            return
        try:
            work()
        except BaseException:
            self.failed = True
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            while error is None and self.waiting:
                self.waiting.popleft().result()
        finally:
            self.thread.shutdown(cancel_futures=True)
