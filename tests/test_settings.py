"""What people type is refused in one sentence that says what it has to be."""

import pytest

from featherpose.errors import PoseError, UsageError
from featherpose.settings import (
    choice,
    exactly_one,
    number,
    numbers,
    only_one,
    switch,
    whole,
)


@pytest.mark.parametrize("value", ["three", 1.5, True, None, -1, float("nan"), float("inf"), [1]])
def test_a_count_is_a_whole_number(value):
    with pytest.raises(PoseError, match=r"^schedule.epochs is .*; it has to be a whole number of"):
        whole("schedule.epochs", value, least=0)


def test_a_large_count_may_be_written_short():
    assert whole("schedule.steps", 1e5, least=1) == 100_000


@pytest.mark.parametrize("value", ["abc", True, None, 0, -1, 3, float("nan")])
def test_a_number_lies_in_its_range(value):
    with pytest.raises(PoseError, match=r"rate is .*; it has to be a number above 0 and at most 2"):
        number("rate", value, above=0, most=2)


def test_the_ends_of_a_range_belong_to_it_unless_it_has_to_lie_above():
    assert [number("rate", value, least=0, most=2) for value in (0, 2)] == [0, 2]
    assert [whole("workers", value, least=1, most=9) for value in (1, 9)] == [1, 9]
    for value in (-0.001, 2.001):
        with pytest.raises(PoseError, match="from 0 to 2"):
            number("rate", value, least=0, most=2)


def test_the_sentence_shows_what_was_typed():
    with pytest.raises(PoseError, match="workers is null; it has to be a whole number from 0 to 9"):
        whole("workers", None, least=0, most=9)
    with pytest.raises(PoseError, match=r"rate is 5; it has to be a number of at least 6\."):
        number("rate", 5, least=6)


@pytest.mark.parametrize("value", [64, "64", None, [64], [64, "x"], [64, -1]])
def test_a_list_has_its_length_and_its_numbers_their_range(value):
    with pytest.raises(PoseError, match="size"):
        numbers("size", value, count=2, above=0)
    assert numbers("size", (64, 48), count=2, above=0) == [64.0, 48.0]


def test_a_switch_is_true_or_false():
    assert switch("flip", True) and not switch("flip", 0)
    with pytest.raises(PoseError, match="flip is yes; it has to be true or false"):
        switch("flip", "yes")


def test_a_wrong_choice_names_the_right_ones():
    with pytest.raises(PoseError, match="There is no colour=blue; known: red, green"):
        choice("colour", "blue", ("red", "green"))


def test_one_of_several_settings_is_asked_for():
    names = ("checkpoint", "weights")
    given = {"checkpoint": None, "weights": "FILE"}
    assert only_one(given, names, "what") == exactly_one(given, names, "what") == "weights"
    assert only_one(given | {"weights": None}, names, "what") is None
    with pytest.raises(UsageError, match="Say what with one of checkpoint=, weights=; none"):
        exactly_one(given | {"weights": None}, names, "what")
    with pytest.raises(UsageError, match="checkpoint and weights was given"):
        only_one(given | {"checkpoint": "RUN"}, names, "what")
