"""People as columns, read as single persons; and which people stand for all."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from featherpose.errors import PoseError
from featherpose.person import People, Person, Persons, Texts, spread


def person(number: int, **values) -> Person:
    mix = np.random.default_rng(number)
    usual = Person(
        image=f"folder/{number // 2}.jpg",
        joints=mix.uniform(0, 99, (5, 2)),
        visible=mix.integers(0, 3, 5).astype(np.uint8),
        centre=mix.uniform(0, 99, 2),
        scale=mix.uniform(0, 1, 2),
        box=mix.uniform(0, 99, 4),
        image_id=number // 2,
        person_id=10 + number,
        area=float(number),
    )
    return replace(usual, **values)


def same(first: Person, second: Person) -> bool:
    return all(
        np.array_equal(getattr(first, f.name), getattr(second, f.name), equal_nan=True)
        if isinstance(getattr(first, f.name), (float, np.ndarray))
        else getattr(first, f.name) == getattr(second, f.name)
        for f in fields(Person)
    )


def test_a_row_is_the_person_that_the_columns_were_made_of() -> None:
    given = [
        person(0, picture_size=(640, 480), image_name="frame_ä"),
        person(1, head_size=7.0),
        person(2, score=0.5, image="a\udcff b.jpg"),  # a name that is not UTF-8, as Linux allows
    ]
    people = People(given)
    assert len(people.persons) == 3
    assert all(map(same, people.persons, given))
    assert same(people.persons[-1], given[2])
    assert people.persons.images() == [p.image for p in given]
    with pytest.raises(IndexError):
        people.persons[3]


def test_a_row_is_a_view() -> None:
    persons = Persons.of([person(0), person(1)])
    persons[1].joints[:] = 3
    assert (persons.joints[1] == 3).all() and not (persons.joints[0] == 3).any()


def test_rows_are_chosen_by_slice_numbers_and_mask() -> None:
    given = [person(i) for i in range(6)]
    persons = Persons.of(given)
    for rows in (slice(1, 4), [5, 0, 5], np.array([5, 0, 5]), np.arange(6) % 2 == 1):
        expected = [given[i] for i in np.arange(6)[rows]]
        assert isinstance(persons[rows], Persons)
        assert len(persons[rows]) == len(expected) and all(map(same, persons[rows], expected))


def test_parts_are_joined_and_a_picture_stays_one() -> None:
    first = [person(0, image_name="x"), person(1)]
    second = [person(1), person(7, image_name="x")]
    joined = Persons.joined([Persons.of(first), Persons.of(second)])
    assert all(map(same, joined, first + second))
    assert joined.picture[0] == joined.picture[2] != joined.picture[3]
    assert len(Persons.joined([])) == len(Persons.of([])) == 0


def test_columns_stay_as_they_are() -> None:
    persons = Persons.of([person(0)])
    assert Persons.of(persons) is persons


def test_persons_of_other_joints_are_one_sentence() -> None:
    with pytest.raises(PoseError, match="not all 5 joints"):
        People([person(0), person(1, joints=np.zeros((4, 2)))])


def test_texts_lie_in_one_array() -> None:
    texts = Texts.of(["a", "", "äö"])
    assert list(texts) == ["a", "", "äö"]
    assert (texts[0], texts[1], texts[-1], texts[1:]) == ("a", "", "äö", ["", "äö"])


def test_places_are_evenly_apart_from_the_first_to_the_last() -> None:
    assert spread(10, 4).tolist() == [0, 3, 6, 9]
    assert spread(3, 4).tolist() == [0, 1, 2]
    assert spread(0, 4).tolist() == []
