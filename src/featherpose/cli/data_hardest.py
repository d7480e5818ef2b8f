"""What to label next: the pictures that a network doubts most, no two of them alike.

SOURCE is a folder of unlabelled pictures, a glob in quotes, or a video. Doubt is 1 minus confidence times agreement,
of the joints on average: how sure the network is, and how far it says the same where the picture is mirrored and turned
by 15 degrees to both sides, and in a video halfway between the frames before and after. What is chosen comes out as a
sheet, a table and labels to correct (CVAT, Label Studio, YOLO); a video's frames as pictures.
"""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from featherpose.errors import PoseError, UsageError

if TYPE_CHECKING:
    from featherpose.inference.boxes import FindBoxes
    from featherpose.inference.doubt import Doubt
    from featherpose.inference.pose import FoundPose, Pose
    from featherpose.inference.predicting import Result
    from featherpose.inference.streams import Frame, Source

    View = tuple[Frame, list[FoundPose], list[np.ndarray | None] | None]

TILE = (240, 240)
COLUMNS = 6
ASKED_EVERY = 10  # frames of a video between two questions to the detector, as predict asks


@dataclass(frozen=True)
class Seen:
    """One picture: who was found in it, and the doubt of the person who is doubted most."""

    path: str
    size: tuple[int, int]
    people: list[FoundPose]
    worst: Doubt
    look: np.ndarray
    frame: int = 0  # of the video


def arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="featherpose data hardest", description=__doc__)
    parser.add_argument("source", metavar="SOURCE")
    parser.add_argument(
        "--network", default="light", help="a run, a checkpoint or an exported file; default: light"
    )
    parser.add_argument("--count", type=int, default=24, help="pictures (default: %(default)s)")
    parser.add_argument(
        "--every", type=int, default=10, metavar="N",
        help="of a video, judge one frame in N (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("hardest"), help="default: %(default)s")
    parser.add_argument(
        "--labels", default="coco", help="coco, yolo, sleap or several, a,b (default: %(default)s)"
    )
    parser.add_argument(
        "--threshold", type=float, default=0.2,
        help="joints of a lower confidence are left for you to set (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--boxes", type=Path, help="a json of the people's boxes")
    parser.add_argument(
        "--detector", default="auto",
        help="auto, the finder that ships; none, one person a picture; or an ONNX file (default: %(default)s)",
    )  # fmt: skip
    return parser.parse_args(words)


def main(words: list[str]) -> int:
    options = arguments(words)
    if options.count < 1:
        raise UsageError(f"--count is {options.count}; it is a number of pictures, 1 or more.")
    if options.every < 1:
        raise UsageError(f"--every is {options.every}; it is a number of frames, 1 or more.")
    if not 0 <= options.threshold <= 1:
        raise UsageError(f"--threshold is {options.threshold}; it is a confidence from 0 to 1.")
    from featherpose.console import console
    from featherpose.importing.predicted import Predicted
    from featherpose.inference.boxes import BoxesFromFile, whole_picture
    from featherpose.inference.doubt import hardest
    from featherpose.inference.people import finder_of
    from featherpose.inference.pose import Pose
    from featherpose.inference.streams import open_source

    source = open_source(options.source)
    if source.live:
        raise UsageError(
            "data hardest is for pictures and videos: a camera's frames can't be read again."
        )
    pose = Pose(options.network, protocol={"flip": False})
    labels = Predicted(pose.skeleton, options.labels.split(","), options.threshold)
    labels.refuse_corrected(options.out, "--out FOLDER")
    if options.boxes is not None:
        find: FindBoxes = BoxesFromFile(options.boxes)
        asked = 1
    else:
        find = finder_of(options.detector, pose.skeleton)
        asked = 0 if find is whole_picture else ASKED_EVERY
    closer = options.boxes is None
    seen, empty = look(source, pose, find, asked, closer, options.every)
    what = "frames" if source.moving else "pictures"
    for problem in source.problems:
        console.print(f"[yellow]left out:[/] {problem}")
    if not seen and not empty:
        raise PoseError(f"No frame of {options.source} was judged: it is short; lower --every.")
    if not seen:
        raise PoseError(f"Nobody was found in the {empty:,} {what} of {options.source}.")
    doubt = np.array([each.worst.doubt for each in seen])
    chosen, alike = hardest(doubt, np.stack([each.look for each in seen]), options.count)
    rows = [seen[place] for place in chosen]
    options.out.mkdir(parents=True, exist_ok=True)
    if source.moving:
        rows = write_frames(options.out / "frames", options.source, rows)
    for each in rows:
        labels.add(each.path, each.size, [(p.keypoints, p.confidence) for p in each.people])
    nobody = f"; nobody was found in {empty:,} others" if empty else ""
    console.print(
        f"{len(seen):,} {what}{nobody}. Doubt: half of them below {np.median(doubt):.2f}, "
        f"of the {len(rows):,} chosen from {doubt[chosen].min():.2f} to {doubt[chosen].max():.2f}"
    )
    write_table(options.out / "hardest.csv", rows, alike)
    write_sheet(options.out / "hardest.png", rows, pose, options.threshold)
    folders = labels.write(options.out)
    written = ["hardest.csv", "hardest.png", *(folder.name + "/" for folder in folders)]
    console.print(f"wrote to {options.out}: {', '.join(written)}")
    return 0


def look(
    source: Source, pose: Pose, find: FindBoxes, asked: int, closer: bool, every: int
) -> tuple[list[Seen], int]:
    """Every picture that anybody was found in, and how many hold nobody.

    Of a video one frame in `every`; `find` is asked after `asked` frames, as predict does it.
    """
    from rich.progress import track

    from featherpose.console import console
    from featherpose.inference.doubt import doubts, thumbnail
    from featherpose.inference.predicting import predict

    seen, empty = [], 0
    results = predict(source, pose, find, asked, closer=closer)
    results = track(results, "looking", source.total, console=console, transient=True)
    for frame, people, between in in_video(results, every) if source.moving else alone(results):
        if not people:
            empty += 1
            continue
        worst = max(doubts(pose, frame.picture, people, between), key=lambda each: each.doubt)
        height, width = frame.picture.shape[:2]
        looks = thumbnail(frame.picture)
        seen.append(Seen(frame.name, (width, height), people, worst, looks, frame.index))
    return seen, empty


def alone(results: Iterable[Result]) -> Iterator[View]:
    return ((frame, people, None) for frame, people in results)


def in_video(results: Iterable[Result], every: int) -> Iterator[View]:
    """One frame in `every` with a frame before and after it, and where its people are between these."""
    for before, (frame, people), after in in_threes(results):
        if frame.index % every == 0:
            yield frame, people, [halfway(person, before, after) for person in people]


def in_threes(
    results: Iterable[Result],
) -> Iterator[tuple[list[FoundPose], Result, list[FoundPose]]]:
    """Each frame but the first and the last with its people, between the people before and after."""
    window: deque[Result] = deque(maxlen=3)
    for result in results:
        window.append(result)
        if len(window) == 3:
            yield window[0][1], window[1], window[2][1]


def halfway(
    person: FoundPose, before: list[FoundPose], after: list[FoundPose]
) -> np.ndarray | None:
    """The person's joints between two frames; None where it is not found in both."""
    ends = [
        other.keypoints
        for people in (before, after)
        for other in people
        if other.identity == person.identity
    ]
    return (ends[0] + ends[1]) / 2 if len(ends) == 2 else None


def write_frames(folder: Path, video: str, rows: list[Seen]) -> list[Seen]:
    """The chosen frames as pictures, out of the video once more; the rows with the pictures' paths."""
    from featherpose import image
    from featherpose.inference.streams import open_source

    folder.mkdir(exist_ok=True)
    stem = Path(video).stem.replace(" ", "_")
    paths = {row.frame: folder / f"{stem}_{row.frame:06}.png" for row in rows}
    left = set(paths)
    for frame in open_source(video).frames():
        if frame.index in left:
            image.write(paths[frame.index], frame.picture)
            left.remove(frame.index)
        if not left:
            break
    return [replace(row, path=str(paths[row.frame])) for row in rows]


def write_table(path: Path, rows: list[Seen], alike: np.ndarray) -> None:
    import csv
    import io

    from featherpose.files import write_atomically

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["rank", "file", "people", "doubt", "confidence", "agreement", "alike"])
    for rank, (each, like) in enumerate(zip(rows, alike.tolist(), strict=True), start=1):
        numbers = (each.worst.doubt, each.worst.confidence, each.worst.agreement)
        shown = [f"{number:.4f}" for number in numbers]
        writer.writerow([rank, each.path, len(each.people), *shown, like])
    write_atomically(path, text.getvalue())


def write_sheet(path: Path, rows: list[Seen], pose: Pose, threshold: float) -> None:
    """The chosen pictures with what the network makes of them, the most doubtful first."""
    from featherpose import image
    from featherpose.draw import contact_sheet
    from featherpose.files import replacing

    tiles = []
    for each in rows:
        picture = image.read(each.path, obey_exif=True)
        tiles.append(pose.draw(picture, each.people, threshold))
    names = [f"{each.worst.doubt:.2f} {Path(each.path).name}" for each in rows]
    with replacing(path) as beside:
        image.write(beside, contact_sheet(tiles, COLUMNS, names, TILE))
