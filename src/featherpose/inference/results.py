"""What predicting leaves behind: annotated pictures or a video, COCO-style json, CSV. Whole files only."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from featherpose.errors import PoseError
from featherpose.files import below_shared_folder, replacing, write_atomically
from featherpose.inference.pose import FoundPose
from featherpose.inference.streams import Frame
from featherpose.skeletons import Skeleton

if TYPE_CHECKING:
    from pandas import DataFrame
    from typing_extensions import Self


class Results:
    """Writes a run's results into a folder. A context manager: however the run ends, what was done is kept whole.

    Args:
        folder: where to; it is made.
        skeleton: for the CSV's columns.
        rate: of the video's frames a second; None writes pictures.
        pictures: write pictures or video at all.
        name: of the video.
        sources: all the pictures that may come: their names and numbers are what tells them apart.
    """

    def __init__(
        self,
        folder: Path,
        skeleton: Skeleton,
        rate: float | None = None,
        pictures: bool = True,
        name: str = "video",
        sources: Sequence[Path] = (),
    ) -> None:
        self.folder = Path(folder)
        self.skeleton = skeleton
        self.rate = rate
        self.pictures = pictures
        self.video_path = self.folder / f"{name}.mp4"
        self.video: cv2.VideoWriter | None = None
        self.whole = ExitStack()  # puts the video in place
        self.size: tuple[int, int] | None = None
        self.records: list[dict[str, Any]] = []
        self.rows: list[list[Any]] = []
        self.drawn: dict[str, int] = {}  # by a drawing's name, how many wanted it
        self.written: list[str] = []  # the files, by their names
        self.names = names_apart(sources)
        self.numbers = numbers_apart(sources)

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self.video is not None:
            self.video.release()
            self.video = None
            self.whole.close()
            self.written.append(self.video_path.name)
        if not self.records and error is not None:
            return
        self._write("keypoints.json", json_of(self.records))
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(columns_of(self.skeleton))
        writer.writerows(self.rows)
        self._write("keypoints.csv", plain(table.getvalue()))

    def _write(self, name: str, text: str) -> None:
        write_atomically(self.folder / name, text)
        self.written.append(name)

    def add(self, frame: Frame, people: Sequence[FoundPose], drawn: np.ndarray | None) -> None:
        """One picture's people, and the picture with them drawn on it."""
        name = self.names.get(frame.name, Path(frame.name).name)
        image_id = self.numbers.get(frame.name, frame.index)
        for number, person in enumerate(people):
            row = row_of(name, frame.index, frame.seconds, number, person)
            file, _, _, _, score, *numbers = row
            record = {
                "image_id": image_id,
                "file_name": file,
                "category_id": 1,
                "keypoints": numbers[4:],
                "score": score,
                "bbox": numbers[:4],
            }
            if person.identity is not None:
                record["track_id"] = person.identity
            self.records.append(record)
            self.rows.append(row)
        if drawn is not None and self.pictures:
            if self.rate is None:
                self._picture(Path(frame.name).stem, drawn)
            else:
                self._frame(drawn)

    def _picture(self, stem: str, drawn: np.ndarray) -> None:
        count, name = self.drawn.get(stem, 0), stem
        while name in self.drawn:  # a.jpg and a.png, or one name in two folders
            count += 1
            name = f"{stem}_{count}"
        self.drawn[stem] = max(count, 1)
        self.drawn.setdefault(name, 1)
        path = self.folder / f"{name}.jpg"
        done, data = cv2.imencode(".jpg", drawn[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
        if not done:
            raise PoseError(f"{path} can't be encoded.")
        with replacing(path, flush=False) as beside:  # thousands of them, and easily made again
            beside.write_bytes(data.tobytes())
        self.written.append(path.name)

    def _frame(self, drawn: np.ndarray) -> None:
        height, width = drawn.shape[:2]
        if self.video is None:
            self.size = (width, height)
            fourcc = cv2.VideoWriter.fourcc(*"mp4v")
            beside = self.whole.enter_context(replacing(self.video_path))
            self.video = cv2.VideoWriter(str(beside), fourcc, self.rate or 25.0, self.size)
            if not self.video.isOpened():
                self.video = None
                self.whole.pop_all()  # there is nothing to put in place
                raise PoseError(
                    f"{self.video_path} can't be written: this OpenCV has no encoder for mp4 video."
                )
        if (width, height) != self.size:
            drawn = cv2.resize(drawn, self.size or (width, height))
        self.video.write(np.ascontiguousarray(drawn[..., ::-1]))


def plain(text: str) -> str:
    """Text that can be written: a file's name in another encoding, as Latin-1's ö, is none."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def names_apart(pictures: Sequence[Path]) -> dict[str, str]:
    """What each is called: its bare name; where two have one, all by their paths below the folder that they share."""
    bare = {str(path): path.name for path in pictures}
    if len(set(bare.values())) == len(bare):
        return bare
    return dict(zip(bare, below_shared_folder([Path(name) for name in bare]), strict=True))


def numbers_apart(pictures: Sequence[Path]) -> dict[str, int]:
    """COCO names its pictures by their ids; empty where the names of these are not such."""
    stems = [path.stem for path in pictures if path.stem.isdecimal()]
    numbers = [int(stem) for stem in stems]
    if len(stems) < len(pictures) or len(set(numbers)) < len(numbers):
        return {}
    return dict(zip(map(str, pictures), numbers, strict=True))


def columns_of(skeleton: Skeleton) -> list[str]:
    """Of keypoints.csv."""
    joints = [f"{joint}_{what}" for joint in skeleton.joints for what in ("x", "y", "confidence")]
    return [
        *("file", "frame", "seconds", "person", "score", "x", "y", "width", "height"),
        *joints,
    ]


def row_of(file: str, frame: int, seconds: float, number: int, person: FoundPose) -> list[Any]:
    """One person's; `number` in the picture stands where the person has none of its own."""
    table = np.concatenate([person.keypoints.round(3), person.confidence[:, None].round(4)], axis=1)
    who = number if person.identity is None else person.identity
    return [
        file,
        frame,
        round(seconds, 3),
        who,
        round(person.score, 5),
        *np.round(person.box, 3).tolist(),
        *table.ravel().tolist(),
    ]


def to_dataframe(
    found: Sequence[FoundPose] | Mapping[str, Sequence[FoundPose]], skeleton: Skeleton
) -> DataFrame:
    """Poses as a pandas DataFrame, a row a person, with the columns of keypoints.csv.

    Args:
        found: one picture's people, or those of several by the pictures' names.
        skeleton: the network's, `pose.skeleton`.
    """
    try:
        from pandas import DataFrame
    except ImportError as error:
        raise PoseError("to_dataframe needs pandas: pip install pandas.") from error
    pictures = found if isinstance(found, Mapping) else {"": found}
    rows = [
        row_of(Path(name).name, index, 0.0, number, person)
        for index, (name, people) in enumerate(pictures.items())
        for number, person in enumerate(people)
    ]
    return DataFrame(rows, columns=columns_of(skeleton))


def json_of(records: Sequence[dict[str, Any]]) -> str:
    """A list with one record a line, as COCO's result files read."""
    return (
        "[\n"
        + ",\n".join(
            json.dumps(record, separators=(",", ":"), allow_nan=False) for record in records
        )
        + "\n]\n"
    )
