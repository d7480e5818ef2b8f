"""Synthetic people: the same everywhere, exact, varied, and told apart left from right by what survives a mirror."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from featherpose.crop import apply, crop_matrix
from featherpose.data.baseline import mean_pose, predict_mean_pose
from featherpose.errors import PoseError
from featherpose.machine import one_process
from featherpose.person import People
from featherpose.skeletons import COCO, LSP, MPII, Skeleton, skeleton_of
from featherpose.synthetic import bodies, painted, scenes


@pytest.fixture(scope="module")
def people() -> People:
    return painted.read(None, "train", 300, seed=1, skeleton="mpii")


def test_a_person_depends_on_seed_split_and_index_only(people: People) -> None:
    late = painted.read(None, "train", 5, seed=1, skeleton="mpii", start=270).persons
    for ours, theirs in zip(people.persons[270:275], late, strict=True):
        for field in ("joints", "visible", "centre", "scale", "box"):
            np.testing.assert_array_equal(getattr(ours, field), getattr(theirs, field))
        for field in ("image", "image_id", "person_id", "area", "head_size", "picture_size"):
            assert getattr(ours, field) == getattr(theirs, field)
        np.testing.assert_array_equal(painted.load(ours), painted.load(theirs))


def test_pictures_are_the_same_in_any_process_and_order(people: People) -> None:
    chosen = people.persons[:6]
    here = [painted.load(person) for person in chosen]
    with one_process() as pool:
        there = list(pool.map(painted.load, chosen[::-1]))[::-1]
    for ours, theirs in zip(here, there, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_splits_seeds_and_indices_give_other_people(people: People) -> None:
    others = [
        painted.read(None, "val", 1, seed=1).persons[0],
        painted.read(None, "test", 1, seed=1).persons[0],
        painted.read(None, "train", 1, seed=2).persons[0],
        people.persons[1],
    ]
    first = people.persons[0]
    assert all(not np.array_equal(first.joints, other.joints) for other in others)
    assert len({p.image for p in (first, *others)}) == 5
    assert len({p.image_id for p in (first, others[0], others[1], others[3])}) == 4


@pytest.mark.parametrize("skeleton", [COCO, MPII, LSP], ids=lambda s: s.name)
def test_records_hold_together(skeleton: Skeleton) -> None:
    for person in painted.read(None, "val", 60, seed=4, skeleton=skeleton).persons:
        picture = painted.load(person)
        height, width = picture.shape[:2]
        assert picture.dtype == np.uint8
        assert picture.flags.c_contiguous
        assert person.picture_size == (width, height)
        assert person.joints.shape == (len(skeleton), 2)
        inside = np.all(
            (person.joints >= -0.5) & (person.joints < np.array([width, height]) - 0.5), axis=1
        )
        np.testing.assert_array_equal(person.visible > 0, inside)
        x, y, w, h = person.box
        assert 0 <= x < x + w <= width
        assert 0 <= y < y + h <= height
        there = person.joints[person.visible > 0]
        assert np.all((there >= [x - 1e-3, y - 1e-3]) & (there <= [x + w + 1e-3, y + h + 1e-3]))
        assert 0 < person.area < w * h
        assert 0.05 * max(w, h) * 0.6 < person.head_size < max(w, h)


def test_limbs_keep_their_length_and_joints_their_limits() -> None:
    rng = np.random.default_rng(0)
    uniforms, normals = (
        rng.random((500, bodies.UNIFORMS)),
        rng.standard_normal((500, bodies.NORMALS)),
    )
    drawn = bodies.pose_figures(uniforms, normals)
    at = {point: drawn.points[:, i] for i, point in enumerate(bodies.POINTS)}
    for start, end in (
        ("shoulder", "elbow"),
        ("elbow", "wrist"),
        ("hip", "knee"),
        ("knee", "ankle"),
    ):
        left, right = (
            np.linalg.norm(at[f"{s}_{start}"] - at[f"{s}_{end}"], axis=1) for s in ("left", "right")
        )
        np.testing.assert_allclose(left, right, rtol=1e-9)
    for side in ("left", "right"):
        for a, b, c, least in (("shoulder", "elbow", "wrist", 35), ("hip", "knee", "ankle", 40)):
            upper, lower = (
                at[f"{side}_{a}"] - at[f"{side}_{b}"],
                at[f"{side}_{c}"] - at[f"{side}_{b}"],
            )
            cosine = (
                (upper * lower).sum(1)
                / np.linalg.norm(upper, axis=1)
                / np.linalg.norm(lower, axis=1)
            )
            assert np.rad2deg(np.arccos(np.clip(cosine, -1, 1))).min() >= least - 1e-6
        thigh = PARTS_INDEX[f"{side}_thigh"]
        backwards = (at[f"{side}_ankle"] - at[f"{side}_knee"]) * -drawn.fronts[:, thigh]
        assert backwards.sum(1).min() > -1e-9  # knees bend backwards only


PARTS_INDEX = {part: i for i, part in enumerate(bodies.PARTS)}


def test_a_mirrored_body_is_the_mirror_picture() -> None:
    rng = np.random.default_rng(1)
    uniforms, normals = rng.random((50, bodies.UNIFORMS)), rng.standard_normal((50, bodies.NORMALS))
    normals[:, len(bodies.ANGLES) :] = 0
    uniforms[:, 3] = 0.9
    plain = bodies.pose_figures(uniforms, normals)
    mirrored = uniforms.copy()
    mirrored[:, 3] = 0.1
    other = bodies.pose_figures(mirrored, normals)
    swap = [
        bodies.POINTS.index(
            p.replace("left_", "@").replace("right_", "left_").replace("@", "right_")
        )
        for p in bodies.POINTS
    ]
    np.testing.assert_allclose(other.points, plain.points[:, swap] * (-1, 1, 1), atol=1e-12)


def test_left_is_on_the_right_of_people_who_face_us() -> None:
    rng = np.random.default_rng(2)
    uniforms, normals = (
        rng.random((400, bodies.UNIFORMS)),
        rng.standard_normal((400, bodies.NORMALS)),
    )
    drawn = bodies.pose_figures(uniforms, normals)
    at = {point: drawn.points[:, i] for i, point in enumerate(bodies.POINTS)}
    facing = drawn.fronts[:, PARTS_INDEX["torso"], 2]
    upright = at["thorax"][:, 1] < -0.15
    across = (at["left_shoulder"] - at["right_shoulder"])[:, 0]
    assert (across[upright & (facing > 0.3)] > 0).all()
    assert (across[upright & (facing < -0.3)] < 0).all()
    assert 0.1 < (facing < -0.3).mean() < 0.35  # enough of both to learn from
    # The eyes show from the front, not from behind; the nose points to where the body looks.
    head = drawn.fronts[:, PARTS_INDEX["head"], 2]
    eyes = drawn.face_seen[:, bodies.POINTS.index("left_eye")]
    assert eyes[head > 0.9].mean() > 0.95
    assert not eyes[head < -0.5].any()


def test_hidden_joints_are_hidden_and_only_they(people: People) -> None:
    """Repainting one body over the others must change a hidden joint's surroundings, not a visible one's."""
    checked = {1: 0, 2: 0}
    for person in people.persons[:80]:
        scene = painted.scene_of(person.image)
        front, numbers = scenes.layers(scene)
        others = [n for figure, own in numbers.items() if figure != 0 for n in own]
        top = max(n for own in numbers.values() for n in own)
        for joint, (point, flag) in enumerate(zip(person.joints, person.visible, strict=True)):
            if flag == 0:
                continue
            x, y = np.rint(point).astype(int)
            foreign = front[y, x] > top or (
                front[y, x] in others and front[y, x] > numbers[0].max()
            )
            if foreign:
                assert flag == 1, (
                    f"{person.image}: {MPII.joints[joint]} lies behind another figure or an object"
                )
            checked[int(flag)] += 1
    assert min(checked.values()) > 50


def test_objects_hide_what_they_cover() -> None:
    scene = replace(painted.scene_of("synthetic:0:train:3"), objects=[])
    front, numbers = scenes.layers(scene)
    free = scenes.seen(scene, 0, front, numbers[0])
    width, height = scene.size
    scene.objects = [np.array([(0.0, 0.0), (width, 0.0), (width, height), (0.0, height)])]
    front, numbers = scenes.layers(scene)
    covered = scenes.seen(scene, 0, front, numbers[0])
    assert (free == 2).sum() > 10
    assert not (covered == 2).any()
    np.testing.assert_array_equal(covered > 0, free > 0)


@pytest.mark.parametrize("centre", [(40.0, 31.0), (40.25, 30.5), (39.9, 31.7)])
def test_what_is_drawn_lies_on_its_joint(centre: tuple[float, float]) -> None:
    """The drawn pixels' centre of mass is the joint: an integer is a pixel's centre, with no half pixel between."""
    mask = np.zeros((64, 80), np.uint8)
    outline = cv2.convexHull(scenes.fixed_rings(np.array([[(*centre, 0.0, 12.0)]]))[0])
    cv2.fillConvexPoly(mask, outline, 1, cv2.LINE_8, scenes.SHIFT)
    rows, columns = np.nonzero(mask)
    np.testing.assert_allclose((columns.mean(), rows.mean()), centre, atol=0.15)


def test_people_vary(people: People) -> None:
    flags = np.stack([person.visible for person in people.persons])
    assert 0.01 < (flags == 0).mean() < 0.12  # truncated
    assert 0.05 < (flags == 1).mean() < 0.3  # hidden
    crowded = [len(painted.scene_of(person.image).sequence) for person in people.persons]
    assert {1, 2, 3} == set(crowded)
    assert len({person.picture_size for person in people.persons}) > 30
    means = np.array([cv2.mean(painted.load(person))[:3] for person in people.persons[:60]])
    assert means.std(axis=0).min() > 20


def test_the_mean_pose_is_a_sensible_but_weak_answer(people: People) -> None:
    size = (256, 192)
    mean = mean_pose(people, size)
    assert mean.shape == (16, 2)
    assert (
        mean[MPII.index("head_top"), 1]
        < mean[MPII.index("pelvis"), 1]
        < mean[MPII.index("left_ankle"), 1]
    )
    found = predict_mean_pose(people, mean, size)
    # In each crop the prediction is the mean itself.
    for person, points in list(zip(people.persons, found, strict=True))[:10]:
        matrix = crop_matrix(person.centre, person.scale, (size[1], size[0]))
        np.testing.assert_allclose(apply(matrix, points), mean * (size[1], size[0]), atol=1e-9)
    errors = np.array(
        [
            np.linalg.norm(f - p.joints, axis=1) / p.head_size
            for f, p in zip(found, people.persons, strict=True)
        ]
    )
    annotated = np.stack([p.visible > 0 for p in people.persons])
    assert 0.1 < (errors[annotated] < 0.5).mean() < 0.5


def test_mean_pose_counts_annotated_joints_only() -> None:
    base = painted.read(None, "train", 2, skeleton="lsp").persons
    flags = [np.full(14, 2, np.uint8), np.full(14, 2, np.uint8)]
    flags[1][0] = 0
    flags[0][13] = flags[1][13] = 0
    pair = People([replace(p, visible=f) for p, f in zip(base, flags, strict=True)])
    mean = mean_pose(pair, (64, 64))
    crops = [apply(crop_matrix(p.centre, p.scale, (64, 64)), p.joints) / 64 for p in pair.persons]
    np.testing.assert_allclose(mean[0], crops[0][0])
    np.testing.assert_allclose(mean[5], (crops[0][5] + crops[1][5]) / 2)
    np.testing.assert_allclose(mean[13], (0.5, 0.5))


def test_what_cannot_be_drawn_is_one_clear_sentence(people: People) -> None:
    with pytest.raises(PoseError, match=r"no split 'validation'.*train, val, test"):
        painted.read(None, "validation", 3)
    with pytest.raises(PoseError, match="1 to 10,000,000 people"):
        painted.read(None, "train", 0)
    with pytest.raises(PoseError, match="no joint 'left_big_toe'"):
        painted.read(None, "train", 1, skeleton={"name": "feet", "joints": ["left_big_toe"]})
    with pytest.raises(PoseError, match="synthetic:SEED:SPLIT:INDEX"):
        painted.load(replace(people.persons[0], image="picture.jpg"))


def test_own_skeletons_and_counts_per_split() -> None:
    own = {
        "name": "arms",
        "joints": ["left_wrist", "right_wrist", "neck"],
        "limbs": ["left_wrist-neck"],
    }
    arms = painted.read(None, "val", {"train": 9, "val": 4}, skeleton=own).persons
    assert len(arms) == 4
    mpii = painted.read(None, "val", 4, skeleton=skeleton_of("mpii")).persons
    np.testing.assert_array_equal(arms[0].joints[0], mpii[0].joints[MPII.index("left_wrist")])
