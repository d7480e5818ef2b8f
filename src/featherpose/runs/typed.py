"""From JSON to dataclasses: each value of the type that its field names, or one sentence about the first other."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from featherpose.errors import PoseError

T = TypeVar("T")


def build(kind: type[T], content: Any, where: str) -> T:
    """The dataclass `kind` from a JSON object. What is missing or null takes its default, unknown names are left."""
    if not isinstance(content, dict):
        raise PoseError(f"{where} is {content!r:.60}, not an object with names.")
    hints = get_type_hints(kind)
    given = {
        each.name: _value(hints[each.name], content[each.name], f"{where}: {each.name}")
        for each in fields(kind)  # ty: ignore[invalid-argument-type]
        if content.get(each.name) is not None
    }
    return kind(**given)


def _value(hint: Any, value: Any, where: str) -> Any:
    if get_origin(hint) is UnionType:  # `X | None`
        (hint,) = (each for each in get_args(hint) if each is not NoneType)
    if hint is Any:
        return value
    if is_dataclass(hint):
        return build(hint, value, where)
    plain = get_origin(hint) or hint
    if plain is float and type(value) is int and abs(value) < 1e300:
        return float(value)
    if type(value) is not plain:
        raise PoseError(f"{where} is {value!r:.60}, which should be of the kind {plain.__name__}.")
    if plain is list:
        return [_value(get_args(hint)[0], each, where) for each in value]
    if plain is dict:
        return {
            key: _value(get_args(hint)[1], each, f"{where}.{key}") for key, each in value.items()
        }
    if plain is str and not _is_text(value):
        raise PoseError(f"{where} holds half a character, {value!r:.60}.")
    return value


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
