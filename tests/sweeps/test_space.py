"""A search's space: Hydra's words for it, what depends on what, and what is wrong with it in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optuna
import pytest

from featherpose.errors import UsageError
from featherpose.sweeps.space import Choice, Numbers, Space, space_of


def of(*words: str, params: Mapping[str, Any] | None = None, **when: str) -> Space:
    return space_of(words, params or {}, {key.replace("__", "."): v for key, v in when.items()})


def points(space: Space, count: int = 40) -> list[dict[str, str]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [space.suggest(study.ask()) for _ in range(count)]


def test_hydras_words_are_read_as_hydra_means_them() -> None:
    space = of(
        "data=mpii",
        "a=x,[1,2],null",
        "b=1,2",
        "c=range(2,9,3)",
        "d=interval(0,1)",
        "e=tag(log,interval(1e-4,1e-2))",
        "f=int(interval(8,64))",
        "g=tag(log,int(interval(8,64)))",
    )
    assert space.fixed == ("data=mpii",)
    assert space.axes == (
        Choice("a", ("x", "[1,2]", "null")),
        Choice("b", ("1", "2")),
        Numbers("c", 2, 8, 3, whole=True),  # 9 is the stop of range, and left out
        Numbers("d", 0.0, 1.0),
        Numbers("e", 1e-4, 1e-2, log=True),
        Numbers("f", 8, 64, whole=True),
        Numbers("g", 8, 64, log=True, whole=True),
    )


def test_true_and_null_are_written_as_in_an_override() -> None:
    space = of("a=true,null", "b=1,2", b="a=true")
    assert space.axes[0] == Choice("a", ("true", "null"))
    assert space.read({"a": None}) == {"a": "null"}
    assert space.read({"a": True}) == {"a": "true"}


def test_what_is_typed_wins_over_the_config() -> None:
    space = of("a=choice(1,2)", "c=5", params={"a": "choice(7,8)", "b": "3,4", "c": "1,2", "d": 6})
    assert space.axes == (Choice("b", ("3", "4")), Choice("a", ("1", "2")))
    assert space.fixed == ("d=6", "c=5")


def test_points_lie_in_the_space_and_numbers_are_short() -> None:
    for point in points(of("e=tag(log,interval(1e-4,0.0123456))", "c=range(2,9,3)", "a=x,y")):
        assert 1e-4 <= float(point["e"]) <= 0.0123456
        assert len(point["e"].split("e")[0]) <= 9
        assert point["c"] in ("2", "5", "8")
        assert point["a"] in ("x", "y")


def test_a_condition_asks_only_where_it_holds() -> None:
    space = of("kernel=3,5", "kind=eca,cbam,none", kernel="kind=eca,cbam")
    found = points(space)
    assert {point["kind"] for point in found} == {"eca", "cbam", "none"}
    assert all(("kernel" in point) == (point["kind"] != "none") for point in found)
    assert len(space.grid()) == 2 * 2 + 1
    assert space.overrides({"kind": "none"}) == ["kind=none"]


def test_conditions_go_over_several_steps() -> None:
    space = of("c=1,2", "b=1,2", "a=1,2", c="b=1", b="a=1")
    assert [axis.key for axis in space.axes] == ["a", "b", "c"]
    assert len(space.grid()) == 2 + 1 + 1


@pytest.mark.parametrize(
    ("words", "when", "says"),
    [
        (["a=1"], {}, "no space"),
        (["a=range(3,3)"], {}, "holds no value"),
        (["a=tag(log,interval(0,1))"], {}, "a low end above 0"),
        (["a=tag(log,range(2,9,3))"], {}, "goes with interval"),
        (["a=1,2"], {"a": "b=1"}, "asks of b, which the space has not; it has a"),
        (["a=1,2", "b=1,2"], {"a": "b=3"}, "names no value of b \\(1, 2\\)"),
        (["a=1,2", "b=interval(0,1)"], {"a": "b=0.5"}, "no choice"),
        (["a=1,2", "b=1,2"], {"a": "b=1", "b": "a=1"}, "in a circle: a, b"),
    ],
)
def test_a_bad_space_is_one_sentence(words: list[str], when: dict[str, str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        space_of(words, {}, when)


def test_a_bad_space_in_the_config_names_its_key() -> None:
    with pytest.raises(UsageError, match=r"hydra.sweeper.params"):
        of(params={"a": "choice(1,"})


def test_the_first_point_has_to_lie_in_the_space() -> None:
    space = of("a=1,2", "b=interval(0,1)", "c=range(1,5)")
    assert space.read({"a": 2, "b": 0.5, "c": 3}) == {"a": "2", "b": 0.5, "c": 3}
    for point, says in (
        ({"z": 1}, "names z"),
        ({"a": 3}, "one of 1, 2"),
        ({"b": 2}, "between 0 and 1"),
        ({"c": "x"}, "c=x"),
    ):
        with pytest.raises(UsageError, match=says):
            space.read(point)


def test_a_grid_needs_countable_axes() -> None:
    assert [p["c"] for p in of("c=range(0,1,0.25)").grid()] == ["0.0", "0.25", "0.5", "0.75"]
    with pytest.raises(UsageError, match="b is an interval"):
        of("a=1,2", "b=interval(0,1)").grid()
