"""Joint orders, pairs and people's own skeletons."""

from __future__ import annotations

import pytest

from featherpose.errors import PoseError
from featherpose.skeletons import COCO, LSP, MPII, skeleton_of


@pytest.mark.parametrize(
    ("skeleton", "joints", "pairs"), [(COCO, 17, 8), (MPII, 16, 6), (LSP, 14, 6)]
)
def test_flipping_twice_changes_nothing(skeleton, joints: int, pairs: int) -> None:
    order = skeleton.flip_order
    assert len(skeleton) == joints
    assert len(skeleton.pairs) == pairs
    assert [order[i] for i in order] == list(range(joints))
    for joint, other in zip(skeleton.joints, order, strict=True):
        assert skeleton.joints[other] == joint.replace("left_", "\0").replace(
            "right_", "left_"
        ).replace("\0", "right_")


@pytest.mark.parametrize("skeleton", [COCO, MPII, LSP])
def test_limbs_and_columns_name_real_joints_and_sides_match(skeleton) -> None:
    flip = skeleton.flip_order
    limbs = {frozenset(limb) for limb in skeleton.limbs}
    assert {frozenset(flip[end] for end in limb) for limb in limbs} == limbs
    for column in skeleton.columns.values():
        assert {flip[joint] for joint in column} == set(column)


def test_mpii_leaves_pelvis_and_thorax_out() -> None:
    assert [MPII.joints[i] for i in range(16) if i not in MPII.scored] == ["pelvis", "thorax"]


def test_own_skeleton() -> None:
    own = skeleton_of(
        {
            "name": "arm",
            "joints": ["left_hand", "right_hand", "nose"],
            "limbs": ["left_hand-nose", "right_hand-nose"],
        }
    )
    assert own.pairs == ((0, 1),)
    assert own.limbs == ((0, 2), (1, 2))
    assert own.flip_order == (1, 0, 2)


@pytest.mark.parametrize("skeleton", [COCO, MPII, LSP])
def test_limbs_alone_keep_names_sides_and_order(skeleton) -> None:
    part = skeleton.only("limbs")
    assert len(part) == 12 and part.partial and part.scored == tuple(range(12))
    assert set(part.joints) == set(COCO.joints[5:])
    assert list(part.joints) == [joint for joint in skeleton.joints if joint in part.joints]
    for a, b in part.pairs:
        assert part.joints[a].removeprefix("left") == part.joints[b].removeprefix("right")
    names = [{skeleton.joints[a], skeleton.joints[b]} for a, b in skeleton.limbs]
    assert all({part.joints[a], part.joints[b]} in names for a, b in part.limbs)
    assert [part.joints[joint] for joint in part.torso] == ["left_shoulder", "right_hip"]
    if skeleton is COCO:
        assert part.sigmas == COCO.sigmas[5:]


def test_some_joints_stand_in_the_order_that_is_asked_for() -> None:
    part = LSP.only(["neck", "right_hip", "left_hip", "neck"])
    assert part.joints == ("neck", "right_hip", "left_hip") and part.torso is None
    assert part.columns == {"head": (0,), "hip": (1, 2)} and part.limbs == ((1, 2),)
    assert part.flip_order == (0, 2, 1)
    for wrong, said in (
        ("limb", "has no limb"),
        ([], "asked for none"),
        (["nose"], "no nose"),
        (["neck", "left_hip"], "Name left_hip and right_hip together"),
        ("right_hip", "Name left_hip and right_hip together"),
    ):
        with pytest.raises(PoseError, match=said):
            LSP.only(wrong)


def test_mistakes_are_named() -> None:
    with pytest.raises(PoseError, match="Did you mean mpii"):
        skeleton_of("mpi")
    for torso in ("ab", ["a"], ["a", "a"], ["a", "b", "c"]):
        with pytest.raises(PoseError, match=r"skeleton\.torso is .*; it has to name two joints"):
            skeleton_of({"name": "x", "joints": ["a", "b", "c"], "torso": torso})
    with pytest.raises(PoseError, match="names a joint"):
        skeleton_of({"name": "x", "joints": ["a"], "limbs": ["a-b"]})
    with pytest.raises(
        PoseError, match=r"skeleton\.sigmas is .*; it has to be a list of 1 numbers"
    ):
        skeleton_of({"name": "x", "joints": ["a"], "sigmas": [0.1, 0.2]})


# Joints by their numbers in the datasets' own orders, as COCO, MPII and LSP publish them
COLUMNS = {
    "coco": {
        "head": (0, 1, 2, 3, 4),
        "shoulder": (5, 6),
        "elbow": (7, 8),
        "wrist": (9, 10),
        "hip": (11, 12),
        "knee": (13, 14),
        "ankle": (15, 16),
    },
    "mpii": {
        "head": (9,),
        "shoulder": (12, 13),
        "elbow": (11, 14),
        "wrist": (10, 15),
        "hip": (2, 3),
        "knee": (1, 4),
        "ankle": (0, 5),
    },
    "lsp": {
        "head": (12, 13),
        "shoulder": (8, 9),
        "elbow": (7, 10),
        "wrist": (6, 11),
        "hip": (2, 3),
        "knee": (1, 4),
        "ankle": (0, 5),
    },
}


@pytest.mark.parametrize("skeleton", [COCO, MPII, LSP])
def test_the_tables_columns_are_the_datasets_joints(skeleton) -> None:
    columns = {name: tuple(sorted(members)) for name, members in skeleton.columns.items()}
    assert columns == COLUMNS[skeleton.name]


def test_sigmas_torsos_and_upper_bodies() -> None:
    assert COCO.sigmas is not None and MPII.sigmas is None and LSP.sigmas is None
    # nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles
    wanted = [0.026, 0.025, 0.035, 0.079, 0.072, 0.062, 0.107, 0.087, 0.089]
    assert list(COCO.sigmas) == wanted[:1] + [sigma for sigma in wanted[1:] for _ in range(2)]
    assert [s.torso for s in (COCO, MPII, LSP)] == [(5, 12), (13, 2), (9, 2)]
    # HRNet's half bodies: COCO's joints above the hips, MPII's from the thorax on
    assert (COCO.upper, MPII.upper) == (tuple(range(11)), tuple(range(7, 16)))
    assert LSP.upper == tuple(range(6, 14))
