"""Poses in one line: `Pose("best.ckpt")("picture.jpg")`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from featherpose import crop
from featherpose.draw import as_rgb, draw_pose
from featherpose.errors import PoseError, missing
from featherpose.image import ORIENTATION, check_sides, read, upright
from featherpose.inference.backends import SUFFIXES, Backend, FileBackend, check_runtime
from featherpose.inference.boxes import FARTHEST, FindBoxes, extent, is_whole
from featherpose.inference.estimator import Estimator
from featherpose.inference.people import AUTO, finder_of
from featherpose.inference.streams import Frame
from featherpose.nms import oks_nms
from featherpose.settings import whole
from featherpose.skeletons import Skeleton
from featherpose.zoo.shipped import DEFAULT, file_of_name

if TYPE_CHECKING:
    from featherpose.inference.checkpoints import Trained

# joints below this confidence do not count for a person's score, as in HRNet's rescoring
CLEAR = 0.2
FEWEST = 3  # clear joints that say where a person is
ALIKE = 0.9  # OKS, as HRNet suppresses
LOOKS = 2  # closer looks at a person who was looked for in a whole picture
TURNS = (90.0, 180.0, 270.0)  # degrees, for people who lie or hang upside down
SURER = 0.15  # by so much: below 0.1 upright people are turned too, to the harm of COCO's AP (docs/deploy.md)


@dataclass(frozen=True)
class FoundPose:
    """One person's pose in picture pixels from 0."""

    keypoints: np.ndarray  # (K, 2)
    confidence: np.ndarray  # (K,) the heatmaps' peaks, about 0 to 1
    box: np.ndarray  # (4,) x, y, width, height: where it was looked for
    score: float  # mean confidence of the clear joints, times the box's own score
    identity: int | None = None  # the same number for the same person throughout a video
    chance: np.ndarray | None = None  # (K,) that the joint is near its place, where the file knows


class Pose:
    """A network ready to be called with pictures.

    Args:
        source: the name of a network that ships (`light`) or that the zoo has fetched, a checkpoint, a run folder (its
            best), an exported .onnx, .tflite, .xml or .ncnn.param file, or a network in torch with what it was made for
            (a PoseModule).
        device: `auto`, `cpu` or `cuda`, for checkpoints.
        runtime: `onnxruntime` or `openvino`, for .onnx files; `openvino` takes .tflite files too.
        threads: of those; 0 for one per core.
        protocol: replaces single entries of the source's own, e.g. `{"flip": True, "decoder": "dark"}`.
        batch_size: so many people at a time at most.
        trust: also build a checkpoint's network that is not featherpose's own; its file may then run any code.
        detector: who finds people in pictures without boxes: `auto` (the finder that ships, for COCO's, MPII's and
            LSP's joints), `finder` (the same for any), `none` (one person in the whole picture) or an ONNX file.
    """

    def __init__(
        self,
        source: str | Path | Trained = DEFAULT,
        device: str = "auto",
        runtime: str = "onnxruntime",
        threads: int = 0,
        protocol: Mapping[str, Any] | None = None,
        batch_size: int = 32,
        trust: bool = False,
        detector: str | Path | None = AUTO,
    ) -> None:
        if not isinstance(protocol, Mapping | None):
            raise PoseError(
                f'The protocol holds single entries, e.g. {{"flip": True, "decoder": "dark"}}, and is {protocol!r:.60}.'
            )
        self.batch_size = whole("batch_size", batch_size, least=1)
        backend = open_backend(source, device, runtime, threads, trust)
        self.estimator = Estimator(
            backend, backend.description.protocol.with_changes(protocol or {})
        )
        self.description = self.estimator.description
        self.skeleton = self.description.skeleton
        self.detector = detector
        self.threads = threads

    @classmethod
    def from_weights(
        cls,
        path: str | Path,
        model: Mapping[str, Any],
        data: Mapping[str, Any],
        protocol: Mapping[str, Any],
        /,
        **how: Any,
    ) -> Pose:
        """Published weights hold numbers only: the config says which network, skeleton and input size they are of.

        `how` are the arguments of `Pose`, its changes of the protocol included.
        """
        from featherpose.inference.checkpoints import from_weights

        return cls(from_weights(path, model, data, protocol), **how)

    def __call__(
        self, picture: str | Path | np.ndarray | Any, boxes: Sequence | np.ndarray | None = None
    ) -> list[FoundPose]:
        """Poses of the people in `boxes` (N, 4: x, y, width, height) of a file, an RGB array or one of PIL's pictures.

        Without boxes, of the people whom the detector finds. Where it finds nobody, of one person, who is looked for in
        the whole picture and then around what was found.
        """
        image = as_picture(picture)
        if boxes is None:
            frame = Frame("", 0, image)
            found, scores = self.find(frame)
            people = self.many([(image, found, scores)])
            if is_whole(frame, found):
                return self.look_closer([image], people)[0]
            return found_once(people[0], self.skeleton, ALIKE)
        found = checked_boxes(boxes)
        return self.many([(image, found, np.ones(len(found)))])[0]

    @cached_property
    def find(self) -> FindBoxes:
        """Who finds people, opened when it is needed first."""
        return finder_of(self.detector, self.skeleton, threads=self.threads)

    def look_closer(
        self, pictures: Sequence[np.ndarray], found: list[list[FoundPose]], times: int = LOOKS
    ) -> list[list[FoundPose]]:
        """People who were looked for in whole pictures, looked at again in the box of their clear joints.

        What was found before stays where the closer look is less sure.
        """
        for _ in range(times):
            work = []
            for image, people in zip(pictures, found, strict=True):
                boxes = [box for person in people if (box := closer(person, image)) is not None]
                work.append((image, np.array(boxes).reshape(-1, 4), np.ones(len(boxes))))
            again = self.many(work)
            found = [
                new if new and new[0].score >= old[0].score else old
                for old, new in zip(found, again, strict=True)
            ]
        return found

    def look_turned(
        self, pictures: Sequence[np.ndarray], found: list[list[FoundPose]], below: float
    ) -> list[list[FoundPose]]:
        """People whose joints' mean confidence is lower than `below`, looked at again as if the picture were turned.

        The surest answer takes the upright one's place where it is clearly surer.
        """
        size_wh = (self.description.input_size[1], self.description.input_size[0])
        found = [list(people) for people in found]
        doubted, matrices, crops = [], [], []
        for image, people in zip(pictures, found, strict=True):
            for place, person in enumerate(people):
                if person.confidence.mean() >= below:
                    continue
                doubted.append((people, place))
                centre, scale = crop.centre_and_scale(person.box)
                for angle in TURNS:
                    matrix = crop.crop_matrix(centre, crop.turned(scale, angle), size_wh, angle)
                    matrices.append(matrix)
                    crops.append(crop.split_channels(crop.cut(image, matrix, size_wh)))
        keypoints, confidence = self.estimate(crops, matrices)
        for number, (people, place) in enumerate(doubted):
            these = range(number * len(TURNS), (number + 1) * len(TURNS))
            surest = max(these, key=lambda each: confidence[each].mean())
            old = people[place]
            if confidence[surest].mean() >= old.confidence.mean() + SURER:
                clear = clear_mean(old.confidence)
                own = old.score / clear if clear else 1.0  # the box's score
                new = self._found(keypoints[surest], confidence[surest], old.box, own)
                people[place] = replace(new, identity=old.identity)
        return found

    def many(
        self, work: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]
    ) -> list[list[FoundPose]]:
        """Poses in several pictures (picture, boxes, the boxes' scores), all their people in common batches."""
        size_wh = (self.description.input_size[1], self.description.input_size[0])
        matrices, crops = [], []
        for picture, boxes, _ in work:
            for box in boxes:
                matrix = crop.crop_matrix(*crop.centre_and_scale(box), size_wh)
                matrices.append(matrix)
                crops.append(crop.split_channels(crop.cut(picture, matrix, size_wh)))
        keypoints, confidence = self.estimate(crops, matrices)
        number, found = 0, []
        for _, boxes, scores in work:
            people = []
            for box, score in zip(boxes, scores, strict=True):
                people.append(self._found(keypoints[number], confidence[number], box, float(score)))
                number += 1
            found.append(people)
        return found

    def _found(
        self, keypoints: np.ndarray, confidence: np.ndarray, box: np.ndarray, score: float
    ) -> FoundPose:
        clear = clear_mean(confidence)
        confidence, chances = confidence.astype(np.float64), self.description.chances
        # the flip test's average has lower peaks: a curve holds for the way in which it was fitted
        fits = chances is not None and chances.flip == self.estimator.protocol.flip
        return FoundPose(
            keypoints,
            confidence,
            np.asarray(box),
            score * clear,
            chance=chances(confidence) if chances is not None and fits else None,
        )

    def estimate(
        self, crops: list[np.ndarray], matrices: list[np.ndarray]
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Each crop's keypoints (K, 2) in its picture and their confidences (K,)."""
        keypoints, confidence = [], []
        for start in range(0, len(crops), self.batch_size):
            part = slice(start, start + self.batch_size)
            points, sure = self.estimator(np.stack(crops[part]))
            keypoints += list(crop.to_pictures(points, np.stack(matrices[part])))
            confidence += list(sure)
        return keypoints, confidence

    def draw(
        self,
        picture: str | Path | np.ndarray | Any,
        people: Sequence[FoundPose],
        threshold: float = CLEAR,
    ) -> np.ndarray:
        """A copy of the picture with the poses on it, without the joints whose confidence is below the threshold."""
        image = as_rgb(picture) if isinstance(picture, np.ndarray) else as_picture(picture)
        for person in people:
            image = draw_pose(
                image, person.keypoints, 2 * (person.confidence >= threshold), self.skeleton
            )
        return image if people else image.copy()


def as_picture(given: str | Path | np.ndarray | Any) -> np.ndarray:
    """A file, or what numpy makes a picture of, as uint8 RGB (H, W, 3) that lies as viewers show it."""
    if isinstance(given, (str, Path)):
        return read(given, obey_exif=True)
    try:
        picture = np.asarray(given)
    except (TypeError, ValueError):  # lists of unlike lengths, arrays of a GPU
        picture = np.zeros(0)
    if picture.dtype != np.uint8 or picture.shape[2:] != (3,):
        raise PoseError(
            "A picture is a file's name or a uint8 RGB array (height, width, 3), not "
            f"{type(given).__name__} of {picture.dtype} {picture.shape}."
        )
    check_sides(picture, "given")
    exif = getattr(given, "getexif", None)  # of PIL's pictures
    return upright(picture, exif().get(ORIENTATION, 1)) if exif else picture


def clear_mean(confidence: np.ndarray) -> float:
    """Of the joints that count for a person's score; 0 where there is none."""
    clear = confidence[confidence > CLEAR]
    return float(clear.mean() if len(clear) else 0.0)


def found_once(people: list[FoundPose], skeleton: Skeleton, alike: float | None) -> list[FoundPose]:
    """Without the weaker pose of each person who was found twice, in two boxes that overlap too little to tell."""
    if alike is None or len(people) < 2:
        return people
    kept = oks_nms(
        np.zeros(len(people), np.int64),
        np.stack([person.keypoints for person in people]),
        np.array([person.score for person in people]),
        np.array([person.box[2] * person.box[3] for person in people]),
        skeleton.similarity_sigmas,
        alike,
    )
    return [people[i] for i in sorted(kept)]


def closer(person: FoundPose, image: np.ndarray) -> np.ndarray | None:
    """The box around a person's clear joints, grown to what an annotated box holds; None with fewer than three."""
    clear = person.confidence >= CLEAR
    if clear.sum() < FEWEST:
        return None
    box = extent(person.keypoints[clear], (image.shape[1], image.shape[0]))
    return box if box[2:].min() >= 1 else None


def checked_boxes(boxes: Sequence | np.ndarray) -> np.ndarray:
    """Boxes given by hand as (N, 4) float64, in pixels of a picture that can be."""
    try:
        found = np.asarray(boxes, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise PoseError(
            f"Boxes are x, y, width, height of each person, in numbers: {error}."
        ) from error
    if found.shape in ((4,), (0,)):  # one box, or none
        found = found.reshape(-1, 4)
    if found.ndim != 2 or found.shape[1] != 4:
        raise PoseError(
            f"Boxes are (N, 4): x, y, width, height of each person; these are of shape {found.shape}."
        )
    wrong = ~((np.abs(found) <= FARTHEST).all(axis=1) & (found[:, 2:] >= 1).all(axis=1))
    if wrong.any():
        number = int(wrong.argmax())
        raise PoseError(
            f"Box {number} is {found[number].tolist()}: a box is x, y, width, height in pixels, "
            "at least one pixel wide and high."
        )
    return found


def open_backend(
    source: str | Path | Trained,
    device: str = "auto",
    runtime: str = "onnxruntime",
    threads: int = 0,
    trust: bool = False,
) -> Backend:
    """What runs a checkpoint, a run folder, an exported file or a network in torch."""
    check_runtime(runtime)
    if not isinstance(source, (str, Path)) and not hasattr(source, "network"):
        raise PoseError(
            f"A network is a name, a file, a run folder or a PoseModule, not {source!r:.60}."
        )
    if isinstance(source, str):  # a folder of that name is ./light
        source = file_of_name(source) or source
    if isinstance(source, (str, Path)) and Path(source).suffix.lower() in SUFFIXES:
        return FileBackend(source, runtime, threads)
    try:
        from featherpose.inference.checkpoints import TorchBackend, from_checkpoint
    except ModuleNotFoundError as error:
        raise PoseError(missing(error) or str(error)) from error
    trained = from_checkpoint(source, trust) if isinstance(source, (str, Path)) else source
    return TorchBackend(trained, device)
