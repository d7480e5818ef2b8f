"""Where pictures come from: one, a folder, a glob, a video, a camera."""

from __future__ import annotations

import glob
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from featherpose.errors import PoseError
from featherpose.image import read
from featherpose.inference.beside import ahead

PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm"}
VIDEOS = {".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".gif"}
# Pictures that only a single source reads, where OpenCV does at all; in a folder they are named, with the videos
OTHERS = {".gif", ".jfif", ".jpe", ".jp2", ".pgm", ".pbm", ".pnm", ".avif", ".heic", ".heif"}
OTHERS |= {".jxl", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".psd", ".svg"}
PATIENCE = 30  # frames that may fail in a row before a video counts as ended


@dataclass
class Frame:
    """One picture of a source, RGB; `seconds` from the start of a video, whose name all its frames have."""

    name: str
    index: int
    picture: np.ndarray
    seconds: float = 0.0
    moving: bool = False


@dataclass
class Source:
    """An opened source. `problems` are sentences about what could not be read and was left out."""

    moving: bool
    total: int | None
    rate: float = 0.0
    problems: list[str] = field(default_factory=list)
    pictures: list[Path] = field(default_factory=list)
    capture: cv2.VideoCapture | None = None
    name: str = ""
    live: bool = False

    def frames(self) -> Iterator[Frame]:
        if not self.moving:
            yield from self._pictures()
            return
        try:
            # a camera's frame is shown when it comes, so nothing of it is kept waiting
            yield from self._video() if self.live else ahead(self._video())
        finally:
            if self.capture is not None:
                self.capture.release()

    def _pictures(self) -> Iterator[Frame]:
        for index, path in enumerate(self.pictures):
            try:
                picture = read(path, obey_exif=True)
            except PoseError as error:
                if len(self.pictures) == 1:
                    raise
                self.problems.append(str(error))
                continue
            yield Frame(str(path), index, picture)

    def _video(self) -> Iterator[Frame]:
        assert self.capture is not None
        index = 0
        failed = 0
        begun = time.perf_counter()
        good = 0
        upto = 0  # the frame after the last one that could be read
        while self.total is None or index < self.total or failed == 0:
            grabbed, picture = self.capture.read()
            if grabbed and picture is not None and picture.size:
                if failed:
                    self.problems.append(
                        f"{self.name}: {failed} frames before frame {index} can't be read."
                    )
                failed, good, upto = 0, good + 1, index + 1
                seconds = time.perf_counter() - begun if self.live else index / self.rate
                picture = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
                yield Frame(self.name, index, picture, seconds, moving=True)
            else:
                failed += 1
                if failed >= PATIENCE or (self.total is None and not self.live):
                    break
            index += 1
        if good == 0:
            raise PoseError(f"{self.name} gives no frame that can be read.")
        if self.live:
            self.problems.append(f"{self.name} stopped giving frames after {good}.")
        elif self.total is not None and upto < self.total:
            self.problems.append(
                f"{self.name} breaks off after frame {upto} of {self.total}; what came before is kept."
            )


def open_source(source: str | int | Path) -> Source:
    """Opens a picture, a folder, a glob, a video file, or a camera by its number."""
    text = str(source)
    if text.isdecimal() and not Path(text).exists():
        return open_camera(int(text))
    path = Path(text)
    if path.is_dir():
        return of_files(path.iterdir(), text, f"The folder {path} holds no picture")
    if path.is_file():
        if path.suffix.lower() in VIDEOS:
            return open_video(path)
        return Source(moving=False, total=1, pictures=[path], name=text)
    if any(letter in text for letter in "*?["):
        found = [Path(each) for each in glob.glob(text, recursive=True)]
        if not found:
            raise PoseError(
                f"No picture fits {text}; put the pattern in quotes, so that the shell leaves it as it is."
            )
        return of_files(found, text, f"No picture fits {text}")
    raise PoseError(f"There is no picture, folder or video {text}.")


def of_files(files: Iterable[Path], name: str, none: str) -> Source:
    """The pictures among the files; what else could be meant by the source is named."""
    files = sorted(set(files))
    pictures = [path for path in files if path.suffix.lower() in PICTURES]
    others = [path.suffix.lower() for path in files if path.suffix.lower() in OTHERS | VIDEOS]
    left = ""
    if others:
        left = (
            f"{len(others)} files ending in {', '.join(sorted(set(others)))}: folders and patterns give the pictures "
            f"{', '.join(sorted(PICTURES))}. Convert other pictures; each video is a source of its own."
        )
    if not pictures:
        raise PoseError(
            f"{none}, but {left}" if left else f"{none} ({', '.join(sorted(PICTURES))})."
        )
    return Source(
        moving=False,
        total=len(pictures),
        problems=[left] if left else [],
        pictures=pictures,
        name=name,
    )


def open_video(path: Path) -> Source:
    capture = _capture(str(path))
    if not capture.isOpened():
        raise PoseError(f"{path} is not a video that can be read, or is damaged.")
    rate = capture.get(cv2.CAP_PROP_FPS)
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    rate = rate if 0 < rate < 1000 else 25.0
    return Source(
        moving=True, total=count if count > 0 else None, rate=rate, capture=capture, name=str(path)
    )


def open_camera(number: int) -> Source:
    capture = _capture(number)
    if not capture.isOpened():
        raise PoseError(f"There is no camera {number}, or another program uses it.")
    rate = capture.get(cv2.CAP_PROP_FPS)
    return Source(
        moving=True,
        total=None,
        rate=rate or 25.0,
        capture=capture,
        name=f"camera {number}",
        live=True,
    )


def _capture(what: str | int) -> cv2.VideoCapture:
    """OpenCV tells of every failure in its own words; one sentence of ours is enough."""
    log = getattr(cv2.utils, "logging", None)
    if log is None:
        return cv2.VideoCapture(what)
    before = log.setLogLevel(log.LOG_LEVEL_SILENT)
    try:
        return cv2.VideoCapture(what)
    finally:
        log.setLogLevel(before)
