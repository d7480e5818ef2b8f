"""Frames are read ahead and results written beside, in their order and with their errors."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from featherpose.inference.beside import Beside, ahead


def test_items_come_in_their_order_from_another_thread() -> None:
    threads = set()

    def numbers() -> Iterator[int]:
        for number in range(20):
            threads.add(threading.get_ident())
            yield number

    assert list(ahead(numbers(), 3)) == list(range(20))
    assert len(threads) == 1 and threading.get_ident() not in threads


def test_no_more_are_fetched_than_may_wait() -> None:
    fetched = []
    items = ahead((fetched.append(number) or number for number in range(20)), 3)
    assert [next(items), next(items)] == [0, 1]
    items.close()
    assert len(fetched) <= 5  # two were taken, three may wait


def test_what_goes_wrong_while_fetching_is_raised_where_the_items_are_used() -> None:
    def breaking() -> Iterator[int]:
        yield 1
        raise OSError("no more")

    items = ahead(breaking(), 3)
    assert next(items) == 1
    with pytest.raises(OSError, match="no more"):
        next(items)


def test_work_is_done_in_its_order_before_the_end() -> None:
    done: list[int] = []
    with Beside() as beside:
        for number in range(20):
            beside(lambda number=number: done.append(number))
    assert done == list(range(20))


def test_what_goes_wrong_is_raised_and_what_waits_is_left_undone() -> None:
    done: list[int] = []
    begin = threading.Event()

    def fail() -> None:
        begin.wait(10)
        raise OSError("disk full")

    def work(most: int) -> None:
        with Beside(most) as beside:
            beside(fail)
            for number in range(3):
                beside(lambda number=number: done.append(number))
            begin.set()

    for most in (1, 5):  # raised by a later piece, and at the end
        done.clear()
        begin.set() if most == 1 else begin.clear()
        with pytest.raises(OSError, match="disk full"):
            work(most)
        assert not done
