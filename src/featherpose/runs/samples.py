"""What a run's predictions got wrong: by joint, by size, by occlusion, sample by sample, and against another run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from featherpose import crop
from featherpose.draw import contact_sheet, draw_pose
from featherpose.errors import PoseError
from featherpose.person import Person, extent_of
from featherpose.runs.dataframes import names_apart
from featherpose.runs.folder import Run
from featherpose.targets import build_listed

NEAR = 0.05  # of the pose's extent: a joint this near counts as found; comparable across datasets, unlike PCKh


def errors(run: Run, stage: int = -1) -> pd.DataFrame:
    """One row per annotated joint of each sample.

    Columns: sample (row of val.npz), index, person, image, joint, occluded, extent (the diagonal of the annotated
    joints' box, pixels), pixels (distance to the annotation), relative (pixels / extent), found (relative <= 0.05),
    confidence.
    """
    found = run.predictions
    joints, visible = found["joints"].astype(float), found["visible"]
    annotated = visible > 0
    pixels = np.linalg.norm(found["keypoints"][stage].astype(float) - joints, axis=-1)
    extent = extent_of(joints, visible)
    sample, joint = np.nonzero(annotated & (extent > 0)[:, None])
    table = pd.DataFrame(
        {
            "sample": sample,
            "index": found["index"][sample],
            "person": found["person_id"][sample],
            "image": found["image"][sample].astype(str),
            "joint": np.array(run.skeleton.joints)[joint],
            "occluded": visible[sample, joint] == 1,
            "extent": extent[sample],
            "pixels": pixels[sample, joint],
            "confidence": found["confidence"][stage][sample, joint].astype(float),
        }
    )
    table["relative"] = table["pixels"] / table["extent"]
    table["found"] = table["relative"] <= NEAR
    return table


def by_joint(run: Run, stage: int = -1) -> pd.DataFrame:
    """Per joint: annotated count, share found, median and mean error."""
    return _summary(errors(run, stage), "joint").reindex(run.skeleton.joints).dropna(how="all")


def by_occlusion(run: Run, stage: int = -1) -> pd.DataFrame:
    table = errors(run, stage)
    return _summary(
        table.assign(occluded=np.where(table["occluded"], "occluded", "visible")), "occluded"
    )


def by_size(run: Run, stage: int = -1, bins: int = 4) -> pd.DataFrame:
    """Per quantile of the person's extent in the picture, smallest first."""
    table = errors(run, stage)
    return _summary(table.assign(size=size_of(table["extent"], bins)), "size")


def size_of(extent: pd.Series, bins: int = 4) -> pd.Series:
    """Each extent's quantile in words, `40 to 55 px`; `all` where there is one extent only."""
    if extent.nunique() < 2:
        return pd.Series("all", extent.index)
    cuts = pd.qcut(extent, bins, duplicates="drop")
    names = {cut: f"{max(cut.left, 0):.0f} to {cut.right:.0f} px" for cut in cuts.cat.categories}
    return cuts.cat.rename_categories(names)


def by_stage(runs: Sequence[Run]) -> pd.DataFrame:
    """Share of joints found after each supervised output, one column per run."""
    found = {}
    for label, run in zip(names_apart(runs), runs, strict=True):
        names = run.output_names(len(run.predictions["keypoints"]))
        found[label] = pd.Series(
            {name: 100 * errors(run, s)["found"].mean() for s, name in enumerate(names)}
        )
    return pd.concat(found, axis=1, sort=False)  # in the outputs' own order


def per_sample(run: Run, stage: int = -1) -> pd.DataFrame:
    """Per sample: mean relative error, share of joints found, how many were annotated; worst first."""
    grouped = errors(run, stage).groupby("sample")
    table = grouped.agg(
        index=("index", "first"),
        person=("person", "first"),
        image=("image", "first"),
        joints=("joint", "size"),
        relative=("relative", "mean"),
        found=("found", "mean"),
        extent=("extent", "first"),
    )
    return table.sort_values("relative", ascending=False)


def disagreement(first: Run, second: Run) -> pd.DataFrame:
    """Samples that both runs predicted, by how much worse the first is than the second; its worst first."""
    if first.skeleton.joints != second.skeleton.joints:
        raise PoseError(f"{first.name} and {second.name} have different skeletons.")
    left, right = (per_sample(run).reset_index().set_index("index") for run in (first, second))
    both = left.join(right, how="inner", lsuffix="_first", rsuffix="_second")
    same = (both["image_first"] == both["image_second"]) & (
        both["person_first"] == both["person_second"]
    )
    if both.empty or not same.all():
        raise PoseError(f"{first.name} and {second.name} did not predict the same people.")
    both["difference"] = both["relative_first"] - both["relative_second"]
    return both.sort_values("difference", ascending=False)


def sample_sheet(
    run: Run,
    samples: Sequence[int],
    load: Callable[[Person], np.ndarray] | None = None,
    columns: int = 4,
    side: int = 220,
    stage: int = -1,
) -> np.ndarray:
    """Pairs of tiles, annotation and prediction, of some rows of val.npz."""
    found, load = run.predictions, load or picture_loader(run)
    relative = per_sample(run, stage)["relative"]
    tiles, labels = [], []
    for row in map(int, samples):
        person = _person(found, row)
        picture = load(person)
        truth = draw_pose(picture, person.joints, person.visible, run.skeleton)
        guess = draw_pose(picture, found["keypoints"][stage][row], None, run.skeleton)
        for drawn in (truth, guess):
            tiles.append(
                crop.around(drawn, person.centre, person.scale, side, 255 if load is blank else 0)
            )
        labels += [f"#{row} annotation", f"error {100 * relative.get(row, float('nan')):.0f} %"]
    return contact_sheet(tiles, columns=2 * max(1, columns // 2), labels=labels)


def good_middling_and_bad(run: Run, each: int = 4) -> list[int]:
    """Rows of val.npz: the best samples, some about the median, the worst; fewer of each where there are few people."""
    order = list(map(int, per_sample(run).index))[::-1]
    each = min(each, len(order) // 3)
    if each < 1:
        raise PoseError(
            f"{run.name} predicted {len(order)} people: too few for good, middling and bad ones."
        )
    middle = (len(order) - each) // 2
    return [*order[:each], *order[middle : middle + each], *order[-each:]]


def blank(person: Person) -> np.ndarray:
    """White paper in a picture's place: poses of people whose pictures may not be passed on."""
    width, height = np.ceil(person.centre + crop.PIXEL_STD * person.scale).astype(int)
    return np.full((max(height, 8), max(width, 8), 3), 255, np.uint8)


def picture_loader(run: Run) -> Callable[[Person], np.ndarray]:
    """The function that gives a person's picture, as the run's config says."""
    entry = run.select("data.load")
    if entry is None:
        raise PoseError(f"{run.folder / 'config.yaml'} says nothing about data.load.")
    return build_listed(entry, str(run.folder / "config.yaml"))


def _person(found: dict[str, np.ndarray], row: int) -> Person:
    joints, visible = found["joints"][row].astype(float), found["visible"][row].astype(np.uint8)
    known = joints[visible > 0] if (visible > 0).any() else joints
    low, high = known.min(axis=0), known.max(axis=0)
    side = max(float((high - low).max()) * 1.5, 16.0) / crop.PIXEL_STD
    number = int(found["person_id"][row])
    width, height = found["picture_size"][row].tolist() if "picture_size" in found else (0, 0)
    return Person(
        image=str(found["image"][row]),
        joints=joints,
        visible=visible,
        centre=(low + high) / 2,
        scale=np.array([side, side]),
        box=np.concatenate([low, high - low]),
        image_id=number,
        person_id=number,
        picture_size=(width, height) if width and height else None,
    )


def _summary(table: pd.DataFrame, key: str) -> pd.DataFrame:
    grouped = table.groupby(key, observed=True)
    return pd.DataFrame(
        {
            "joints": grouped.size(),
            "found %": 100 * grouped["found"].mean(),
            "median error": grouped["relative"].median(),
            "mean error": grouped["relative"].mean(),
            "median pixels": grouped["pixels"].median(),
        }
    )
