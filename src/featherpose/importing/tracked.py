"""SLEAP and DeepLabCut, read by sleap-io; and poses as SLEAP's predictions."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from featherpose.errors import PoseError
from featherpose.files import replacing
from featherpose.importing.folder import inside, place_picture
from featherpose.importing.labels import PICTURES, Labelled, Labels, Picture


def files_of(source: Path) -> list[Path]:
    """SLEAP's .slp files, or the CollectedData files of a DeepLabCut project."""
    if source.is_file():
        dlc = source.suffix in (".csv", ".h5") and _of_deeplabcut(source)
        return [source] if source.suffix == ".slp" or dlc else []
    slp = sorted(source.glob("*.slp"))
    return slp or sorted(p for p in source.rglob("CollectedData*.csv") if _of_deeplabcut(p))


def _of_deeplabcut(path: Path) -> bool:
    if path.suffix == ".h5":
        return path.name.startswith("CollectedData")
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.read(7).lower() == "scorer,"


def read(source: Path, category: str | None = None) -> Labels | None:
    """All of them as one; None where there are none."""
    files = files_of(source)
    if not files:
        return None
    package = sleap_io(f"{files[0].name} is read by")
    labels: Labels | None = None
    for path in files:
        try:
            content = package.load_file(str(path))
        except Exception as error:  # whatever a damaged file makes of it
            raise PoseError(
                f"{path} can't be read by sleap-io ({' '.join(str(error).split())[:150]})."
            ) from error
        labels = _joined(labels, content, path)
    return labels


def sleap_io(what: str) -> Any:
    """The package, or a sentence that begins with what it is needed for."""
    try:
        return import_module("sleap_io")
    except ModuleNotFoundError as error:
        raise PoseError(
            f"{what} sleap-io, which is not installed: pip install 'featherpose[sleap]'."
        ) from error


def write(labels: Labels, splits: list[str], out: Path) -> None:
    """SPLIT.slp and images/: what a network found as SLEAP's predictions, which its window turns into labels.

    SLEAP trains on labels alone, so nothing that nobody has looked at becomes one. Joints without a flag are left out.
    """
    sio = sleap_io("SLEAP's files are written by")
    for picture in labels.pictures:
        place_picture(picture, out / "images", copy=False)
    nodes = labels.joints
    skeleton = sio.Skeleton(
        nodes=nodes,
        edges=[(nodes[a], nodes[b]) for a, b in labels.limbs],
        symmetries=[(nodes[a], nodes[b]) for a, b in labels.pairs],
    )
    poses: dict[int, list[Any]] = {}
    for person in labels.people:
        seen = person.visible > 0
        points = np.where(seen[:, None], person.joints, np.nan)
        sure = np.ones(len(seen)) if person.sure is None else person.sure
        made = sio.PredictedInstance.from_numpy(
            points, skeleton=skeleton, point_scores=sure, score=float(sure[seen].mean())
        )
        poses.setdefault(person.picture, []).append(made)
    for split in dict.fromkeys(splits):
        places = [place for place, each in enumerate(splits) if each == split]
        files = [out / "images" / inside(labels.pictures[place].name) for place in places]
        video = sio.Video.from_filename([str(file.resolve()) for file in files])
        frames = [
            sio.LabeledFrame(video=video, frame_idx=number, instances=poses.get(place, []))
            for number, place in enumerate(places)
        ]
        with replacing(out / f"{split}.slp") as beside:
            sio.save_file(sio.Labels(frames, [video], [skeleton]), str(beside), format="slp")


def _joined(labels: Labels | None, content: Any, path: Path) -> Labels:
    if not content.skeletons:
        raise PoseError(f"{path} holds no skeleton.")
    skeleton: Any = max(content.skeletons, key=len)
    joints = list(skeleton.node_names)
    if labels is None:
        tool = "SLEAP" if path.suffix == ".slp" else "DeepLabCut"
        limbs = [(int(a), int(b)) for a, b in skeleton.edge_inds]
        order = (
            skeleton.get_flipped_node_inds() if skeleton.symmetries else list(range(len(joints)))
        )
        pairs = [(i, int(j)) for i, j in enumerate(order) if i < int(j)]
        labels = Labels(tool, joints, [], [], limbs, pairs)
    elif labels.joints != joints:
        raise PoseError(f"{path} has other joints than the files before it.")
    for frame in content.labeled_frames:
        instances = frame.user_instances or frame.instances
        instances = [each for each in instances if each.skeleton is skeleton]
        if not instances:
            continue
        labels.pictures.append(_picture(frame, path))
        for each in instances:
            points = np.asarray(each.numpy(), np.float64)[:, :2]
            there = np.isfinite(points).all(axis=1)
            visible = np.where(there, 2, 0).astype(np.uint8)
            labels.people.append(Labelled(len(labels.pictures) - 1, np.nan_to_num(points), visible))
    return labels


def _picture(frame: Any, path: Path) -> Picture:
    """A frame's picture file where it has one; else the video's pixels, which are read when they are written."""
    name, number = frame.video.filename, int(frame.frame_idx)
    if isinstance(name, list):
        file = Path(name[number])
        file = file if file.is_file() else path.parent / file.name
        group = file.parent.name or None
        there = file if file.is_file() else None
        return Picture(f"{file.parent.name}/{file.name}", there, group=group)
    file = Path(name)
    if file.suffix.lower() in PICTURES:
        return Picture(file.name, file if file.is_file() else None)
    group = file.stem
    return Picture(f"{group}/{number:06d}.png", pixels=partial(_pixels, frame), group=group)


def _pixels(frame: Any) -> np.ndarray:
    try:
        picture = np.asarray(frame.image)
    except Exception as error:
        raise PoseError(
            f"Frame {frame.frame_idx} of {frame.video.filename} can't be read ({error})."
        ) from error
    picture = picture[..., :3]
    return np.repeat(picture, 3, axis=-1) if picture.shape[-1] == 1 else picture
