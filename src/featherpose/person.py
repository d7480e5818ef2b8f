"""What every reader gives: people as columns, of which each row can be read as one person in a picture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, overload

import numpy as np

from featherpose.errors import PoseError
from featherpose.mapped import for_workers

SC_BIAS = 0.6  # MPII's head size is this part of its head box's diagonal


@dataclass(frozen=True, slots=True)
class Person:
    """One annotated person, in picture coordinates (pixels from 0; the centre of the first pixel is 0, 0).

    `visible` per joint: 0 not annotated (its coordinates mean nothing), 1 annotated but occluded, 2 visible.
    `centre` and `scale` are the crop before the aspect ratio is fitted: `scale` is its width and height in units of
    200 pixels with the protocol's padding already in.
    """

    image: str  # the picture's path, or whatever the dataset's `load` understands
    joints: np.ndarray  # (K, 2) float64
    visible: np.ndarray  # (K,) uint8
    centre: np.ndarray  # (2,) float64
    scale: np.ndarray  # (2,) float64
    box: np.ndarray  # (4,) float64: x, y, width, height
    image_id: int
    person_id: int
    area: float = float("nan")  # COCO's segment area, for OKS
    head_size: float = float("nan")  # MPII's head size with SC_BIAS already in, for PCKh
    score: float = 1.0  # of a detected box; 1 for ground truth
    picture_size: tuple[int, int] | None = None  # width, height where the annotation tells it
    image_name: str | None = None  # the file's own id of the picture, where that is text


class Texts(Sequence[str]):
    """Texts as bytes in one array: processes share its pages, and would copy a list's for every count of a name."""

    def __init__(self, letters: np.ndarray, ends: np.ndarray) -> None:
        self.letters = letters  # uint8: all texts, one after the other
        self.ends = ends  # (T,) int64

    @classmethod
    def of(cls, texts: Iterable[str]) -> Texts:
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        ends = np.cumsum([len(each) for each in encoded], dtype=np.int64)
        return cls(np.frombuffer(b"".join(encoded), np.uint8), ends)

    def __getstate__(self) -> dict[str, Any]:
        return for_workers(self.__dict__)

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> list[str]: ...
    def __getitem__(self, place: int | slice) -> str | list[str]:
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        place = range(len(self))[place]
        start = self.ends[place - 1] if place else 0
        return self.letters[start : self.ends[place]].tobytes().decode("utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        letters, start = self.letters.tobytes(), 0
        for end in self.ends.tolist():
            yield letters[start:end].decode("utf-8", "surrogatepass")
            start = end


@dataclass(frozen=True, eq=False)
class Persons(Sequence[Person]):
    """People as arrays, a row a person, each column named as `Person` names it. An index gives a `Person`, whose arrays
    are views of the row; a slice, a mask or an array of indices gives `Persons`.
    """

    joints: np.ndarray  # (N, K, 2) float64
    visible: np.ndarray  # (N, K) uint8
    centre: np.ndarray  # (N, 2) float64
    scale: np.ndarray  # (N, 2) float64
    box: np.ndarray  # (N, 4) float64
    image_id: np.ndarray  # (N,) int64
    person_id: np.ndarray  # (N,) int64
    area: np.ndarray  # (N,) float64
    head_size: np.ndarray  # (N,) float64
    score: np.ndarray  # (N,) float64
    picture_size: np.ndarray  # (N, 2) int64, 0 where unknown
    picture: np.ndarray  # (N,) int64: the place of its picture in `pictures`
    name: np.ndarray  # (N,) int64: the place of `image_name` in `names`, -1 for none
    pictures: Texts
    names: Texts

    @classmethod
    def of(cls, persons: Iterable[Person]) -> Persons:
        """The columns of single persons; those of columns are themselves."""
        if isinstance(persons, Persons):
            return persons
        people = list(persons)
        pictures, picture = _table(person.image for person in people)
        names, name = _table(person.image_name for person in people)
        count = len(people[0].visible) if people else 0

        def column(field: str, *shape: int, kind: type = np.float64) -> np.ndarray:
            values = [getattr(person, field) for person in people]
            return np.array(values, kind).reshape(len(people), *shape)

        try:
            joints, visible = column("joints", count, 2), column("visible", count, kind=np.uint8)
        except ValueError as error:
            raise PoseError(
                f"These persons have not all {count} joints, as the first has: {error}."
            ) from error
        return cls(
            joints=joints,
            visible=visible,
            centre=column("centre", 2),
            scale=column("scale", 2),
            box=column("box", 4),
            image_id=column("image_id", kind=np.int64),
            person_id=column("person_id", kind=np.int64),
            area=column("area"),
            head_size=column("head_size"),
            score=column("score"),
            picture_size=np.array(
                [person.picture_size or (0, 0) for person in people], np.int64
            ).reshape(-1, 2),
            picture=picture,
            name=name,
            pictures=pictures,
            names=names,
        )

    @classmethod
    def from_columns(
        cls,
        joints: np.ndarray,
        visible: np.ndarray,
        centre: np.ndarray,
        scale: np.ndarray,
        box: np.ndarray,
        image_id: np.ndarray,
        person_id: np.ndarray,
        pictures: Texts,
        picture: np.ndarray,
        **known: Any,
    ) -> Persons:
        """What a reader has; the columns that `known` does not give say what `Person` says by default."""
        count = len(joints)
        usual = {
            "area": np.full(count, np.nan),
            "head_size": np.full(count, np.nan),
            "score": np.ones(count),
            "picture_size": np.zeros((count, 2), np.int64),
            "name": np.full(count, -1),
            "names": Texts.of(()),
        }
        return cls(
            joints=joints,
            visible=visible,
            centre=centre,
            scale=scale,
            box=box,
            image_id=image_id,
            person_id=person_id,
            picture=picture,
            pictures=pictures,
            **{name: known.get(name, values) for name, values in usual.items()},
        )

    @classmethod
    def joined(cls, parts: Sequence[Persons]) -> Persons:
        """The people of all parts, one after another."""
        if not parts:
            return cls.of([])
        columns = {
            name: np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS
        }
        pictures, picture = _joined([(part.pictures, part.picture) for part in parts])
        names, name = _joined([(part.names, part.name) for part in parts])
        return cls(**columns | {"picture": picture, "name": name}, pictures=pictures, names=names)

    def __getstate__(self) -> dict[str, Any]:
        return for_workers(self.__dict__)

    def __len__(self) -> int:
        return len(self.image_id)

    @overload
    def __getitem__(self, place: int | np.integer) -> Person: ...
    @overload
    def __getitem__(self, place: slice | np.ndarray | list[int]) -> Persons: ...
    def __getitem__(self, place: int | np.integer | slice | np.ndarray | list[int]) -> object:
        if isinstance(place, (int, np.integer)):
            return self._row(range(len(self))[place])
        rows = np.array(place, int) if isinstance(place, list) else place
        return replace(self, **{name: getattr(self, name)[rows] for name in _COLUMNS})

    def _row(self, row: int) -> Person:
        width, height = self.picture_size[row].tolist()
        name = int(self.name[row])
        return Person(
            image=self.pictures[int(self.picture[row])],
            joints=self.joints[row],
            visible=self.visible[row],
            centre=self.centre[row],
            scale=self.scale[row],
            box=self.box[row],
            image_id=int(self.image_id[row]),
            person_id=int(self.person_id[row]),
            area=float(self.area[row]),
            head_size=float(self.head_size[row]),
            score=float(self.score[row]),
            picture_size=(width, height) if width or height else None,
            image_name=self.names[name] if name >= 0 else None,
        )

    def __iter__(self) -> Iterator[Person]:
        return (self._row(row) for row in range(len(self)))

    def images(self) -> list[str]:
        """Each person's picture."""
        table = list(self.pictures)
        return [table[place] for place in self.picture.tolist()]


_COLUMNS = [each.name for each in fields(Persons) if each.name not in ("pictures", "names")]


def numbered(texts: Iterable[str | None]) -> tuple[list[str], np.ndarray]:
    """Each text once, in the order in which they come, and the place of each (N,) in them; -1 for None."""
    places: dict[str, int] = {}
    place = [-1 if text is None else places.setdefault(text, len(places)) for text in texts]
    return list(places), np.array(place, np.int64)


def _table(texts: Iterable[str | None]) -> tuple[Texts, np.ndarray]:
    once, place = numbered(texts)
    return Texts.of(once), place


def _joined(parts: Sequence[tuple[Texts, np.ndarray]]) -> tuple[Texts, np.ndarray]:
    """The tables of all parts as one, and the places (N,) in it; -1 stays."""
    texts, place = _table(text for table, _ in parts for text in table)
    before = np.cumsum([0, *(len(table) for table, _ in parts)])
    rows = [np.where(own < 0, -1, own + n) for (_, own), n in zip(parts, before, strict=False)]
    return texts, np.append(place, -1)[np.concatenate(rows)]


def spread(count: int, most: int) -> np.ndarray:
    """Up to `most` of `count` places, from the first to the last, evenly apart."""
    return np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(int))


def bounds_of(joints: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The corners (N, 2) of each pose's box around chosen joints (N, K) of (N, K, 2); infinite where none is chosen."""
    low = np.where(chosen[..., None], joints, np.inf).min(axis=1)
    high = np.where(chosen[..., None], joints, -np.inf).max(axis=1)
    return low, high


def extent_of(joints: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """(N,): the diagonal of each pose's box of annotated joints (N, K, 2), 0 where nothing is annotated."""
    annotated = visible > 0
    low, high = bounds_of(joints, annotated)
    spans = np.where(np.any(annotated, axis=1, keepdims=True), high - low, 0.0)
    return np.linalg.norm(spans, axis=1)


@dataclass
class People:
    """What a reader found, what it left out and why, and which files (with their SHA-256) it read.

    `persons` may be single persons: they are made columns.
    """

    persons: Persons
    skipped: dict[str, int] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    boxes: str = "ground_truth"  # or "detections": where they come from

    def __init__(
        self,
        persons: Iterable[Person],
        skipped: dict[str, int] | None = None,
        sources: Mapping[str, str] | None = None,
        boxes: str = "ground_truth",
    ) -> None:
        self.persons = Persons.of(persons)
        self.skipped = skipped if skipped is not None else {}
        self.sources = sources if sources is not None else {}
        self.boxes = boxes
