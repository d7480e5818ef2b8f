"""The bodies of the synthetic people: proportions, poses within joint limits, forward kinematics, projection.

Everything is batched over F figures and follows from a row of uniform and a row of normal draws per figure, so a
figure depends on its own draws only. Body axes: x to the person's left, y down the spine, z to the front. Picture axes:
x right, y down, z towards the viewer; a person who faces the viewer has both sets aligned. Lengths are in body heights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

UNIFORMS, NORMALS = 12, 40  # draws per figure

_BODY = "pitch roll yaw spine_pitch spine_roll spine_twist head_pitch head_roll head_yaw"
_SIDE = "shoulder_flexion shoulder_abduction shoulder_twist elbow hip_flexion hip_abduction hip_twist knee"
ANGLES = _BODY.split() + [
    f"{side}_{angle}" for side in ("left", "right") for angle in _SIDE.split()
]
_MIRRORED = {
    "yaw",
    "roll",
    "spine_roll",
    "spine_twist",
    "head_roll",
    "head_yaw",
}  # change sign in a mirror

# The joint limits in degrees.
_LIMITS = {
    "pitch": (-45, 45), "roll": (-200, 200), "yaw": (-360, 360),
    "spine_pitch": (-30, 80), "spine_roll": (-30, 30), "spine_twist": (-45, 45),
    "head_pitch": (-35, 45), "head_roll": (-30, 30), "head_yaw": (-65, 65),
    "shoulder_flexion": (-50, 178), "shoulder_abduction": (-10, 150), "shoulder_twist": (-70, 70), "elbow": (2, 145),
    "hip_flexion": (-30, 120), "hip_abduction": (-8, 60), "hip_twist": (-20, 40), "knee": (0, 140),
}  # fmt: skip

# Mean and spread of the angles in degrees; "each" holds for both sides, left_/right_ for one (mirrored half the time).
_REST = {
    "pitch": (4, 5), "roll": (0, 4), "spine_pitch": (2, 5), "spine_roll": (0, 4), "spine_twist": (0, 7),
    "head_pitch": (3, 9), "head_roll": (0, 6), "head_yaw": (0, 17),
    "each_shoulder_flexion": (4, 12), "each_shoulder_abduction": (12, 9), "each_shoulder_twist": (0, 18),
    "each_elbow": (22, 16), "each_hip_flexion": (2, 7), "each_hip_abduction": (5, 5), "each_hip_twist": (6, 7),
    "each_knee": (6, 6),
}  # fmt: skip
_POSES: dict[str, tuple[float, dict[str, tuple[float, float]]]] = {
    "standing": (0.27, {}),
    "akimbo": (0.07, {"each_shoulder_abduction": (42, 12), "each_shoulder_twist": (45, 15), "each_elbow": (85, 18)}),
    "walking": (0.19, {
        "left_hip_flexion": (26, 9), "right_hip_flexion": (-14, 7), "left_knee": (14, 10), "right_knee": (26, 16),
        "left_shoulder_flexion": (-18, 10), "right_shoulder_flexion": (24, 12), "each_elbow": (32, 20),
        "spine_pitch": (6, 5),
    }),
    "running": (0.07, {
        "left_hip_flexion": (58, 14), "right_hip_flexion": (-14, 9), "left_knee": (72, 20), "right_knee": (48, 26),
        "left_shoulder_flexion": (-30, 10), "right_shoulder_flexion": (44, 16), "each_elbow": (88, 16),
        "spine_pitch": (14, 7),
    }),
    "reaching": (0.15, {
        "left_shoulder_flexion": (125, 35), "left_shoulder_abduction": (28, 25), "left_elbow": (26, 24),
        "right_shoulder_flexion": (25, 35), "right_elbow": (40, 30), "spine_roll": (0, 9),
    }),
    "waving": (0.08, {
        "left_shoulder_abduction": (115, 22), "left_shoulder_twist": (-40, 30), "left_elbow": (50, 32),
        "right_shoulder_abduction": (45, 42), "right_elbow": (40, 30),
    }),
    "sitting": (0.08, {
        "each_hip_flexion": (82, 9), "each_hip_abduction": (12, 9), "each_knee": (80, 13), "pitch": (10, 6),
        "each_shoulder_flexion": (28, 18), "each_elbow": (55, 25), "spine_pitch": (8, 8),
    }),
    "lunging": (0.05, {
        "left_hip_flexion": (68, 14), "left_knee": (72, 16), "right_hip_flexion": (-16, 8), "right_knee": (24, 14),
        "each_hip_abduction": (14, 10), "each_shoulder_abduction": (50, 35), "each_elbow": (40, 30),
    }),
    "jumping": (0.035, {
        "each_hip_abduction": (32, 13), "each_hip_flexion": (22, 18), "each_knee": (45, 30),
        "each_shoulder_abduction": (110, 30), "each_elbow": (25, 20), "roll": (0, 10),
    }),
    "bending": (0.03, {"spine_pitch": (55, 14), "each_hip_flexion": (28, 16), "each_shoulder_flexion": (65, 28)}),
    "upside_down": (0.02, {
        "roll": (180, 14), "each_shoulder_flexion": (160, 12), "each_elbow": (12, 9), "each_hip_abduction": (20, 16),
        "each_knee": (20, 22),
    }),
}  # fmt: skip

# Lengths of a grown-up's body in body heights.
_LENGTHS = {
    "torso": 0.275, "neck": 0.055, "head": 0.155, "shoulder": 0.108, "hip": 0.062, "upper_arm": 0.17,
    "forearm": 0.145, "hand": 0.07, "thigh": 0.245, "shank": 0.235, "foot": 0.115,
}  # fmt: skip
_CHILD = {
    "head": 0.32,
    "torso": 0.04,
    "thigh": -0.13,
    "shank": -0.13,
    "upper_arm": -0.08,
    "forearm": -0.08,
}

_POINTS = (
    "pelvis thorax upper_neck neck head_top nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder "
    "left_elbow right_elbow left_wrist right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle"
)
POINTS = tuple(_POINTS.split())
_PARTS = (
    "torso hips neck head left_upper_arm right_upper_arm left_forearm right_forearm left_hand right_hand "
    "left_thigh right_thigh left_shank right_shank left_foot right_foot"
)
PARTS = tuple(_PARTS.split())
# The parts that a joint belongs to: it is hidden where anything drawn after all of them covers it.
BELONGS = {
    "pelvis": "hips torso left_thigh right_thigh", "thorax": "torso neck head", "upper_neck": "neck head torso",
    "neck": "neck torso head", "head_top": "head", "nose": "head", "eye": "head", "ear": "head",
    "shoulder": "*upper_arm", "elbow": "*upper_arm *forearm", "wrist": "*forearm *hand", "hip": "*thigh",
    "knee": "*thigh *shank", "ankle": "*shank *foot",
}  # fmt: skip


@dataclass
class Figures:
    """F bodies in picture axes and body heights, their pelvis at 0."""

    points: np.ndarray  # (F, 22, 3) in the order of POINTS
    circles: (
        np.ndarray
    )  # (F, P, 4, 4): x, y, z, radius of the four circles whose hull is each of PARTS
    fronts: np.ndarray  # (F, P, 3): which way each part's front faces
    lefts: np.ndarray  # (F, P, 3): which way each part's left side faces
    order: np.ndarray  # (F, P): the parts from the farthest to the nearest
    face_seen: np.ndarray  # (F, 22) bool: False for points of the head on its far side


def _table() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    means, spreads = np.zeros((2, len(_POSES), len(ANGLES)))
    for row, (_, special) in enumerate(_POSES.values()):
        for name, (mean, spread) in {**_REST, **special}.items():
            for angle in (
                (f"{side}_{name[5:]}" for side in ("left", "right"))
                if name.startswith("each_")
                else (name,)
            ):
                means[row, ANGLES.index(angle)], spreads[row, ANGLES.index(angle)] = mean, spread
    bare = [angle.removeprefix("left_").removeprefix("right_") for angle in ANGLES]
    low, high = np.array([_LIMITS[angle] for angle in bare], dtype=np.float64).T
    return means, spreads, low, high


_MEANS, _SPREADS, _LOW, _HIGH = _table()
_CUMULATIVE = np.cumsum([weight for weight, _ in _POSES.values()])
POSES = tuple(_POSES)
_SWAPPED = [
    ANGLES.index(a.replace("left_", "@").replace("right_", "left_").replace("@", "right_"))
    for a in ANGLES
]
_FLIPPED_SIGN = np.array([-1.0 if angle in _MIRRORED else 1.0 for angle in ANGLES])


# Each angle turns about one axis: pitch-like x, abduction and roll z, yaw and twist y; the sign makes a positive angle
# bend forwards, lift sideways and flex the knee backwards.
def _axis_of(kind: str) -> str:
    if "roll" in kind or "abduction" in kind:
        return "z"
    return "y" if "yaw" in kind or "twist" in kind else "x"


_AXES, _SIGNS = [], []
for _angle in ANGLES:
    _kind = _angle.removeprefix("left_").removeprefix("right_")
    _AXES.append(_axis_of(_kind))
    _sided = (
        -1.0 if _angle.startswith("right_") and ("abduction" in _kind or "twist" in _kind) else 1.0
    )
    _SIGNS.append(-1.0 if "pitch" in _kind or _kind == "knee" else _sided)
_KEEP, _COS, _SIN = np.zeros((3, len(ANGLES), 3, 3))
for _i, _axis in enumerate(_AXES):
    _a, _b = {"x": (2, 1), "y": (0, 2), "z": (0, 1)}[_axis]
    _KEEP[_i, 3 - _a - _b, 3 - _a - _b] = 1
    _COS[_i, _a, _a] = _COS[_i, _b, _b] = 1
    _SIN[_i, _a, _b], _SIN[_i, _b, _a] = 1, -1


def joint_angles(uniforms: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """In degrees (F, A)."""
    pose = np.minimum(
        np.searchsorted(_CUMULATIVE / _CUMULATIVE[-1], uniforms[:, 0], side="right"), len(POSES) - 1
    )
    angles = _MEANS[pose] + _SPREADS[pose] * np.clip(normals[:, : len(ANGLES)], -2.5, 2.5)
    view, turn = uniforms[:, 1], uniforms[:, 2] * 2 - 1
    yaw = np.where(
        view < 0.62,
        50 * turn,
        np.where(view < 0.82, 180 + 45 * turn, 90 * np.sign(turn) + 40 * turn),
    )
    angles[:, ANGLES.index("yaw")] = yaw
    angles = np.clip(angles, _LOW, _HIGH)
    mirrored = uniforms[:, 3] < 0.5
    angles[mirrored] = angles[mirrored][:, _SWAPPED] * _FLIPPED_SIGN
    return angles


def _lengths(uniforms: np.ndarray, normals: np.ndarray) -> dict[str, np.ndarray]:
    child = np.clip((uniforms[:, 4] - 0.8) / 0.2, 0, 1)  # one in five is more or less of a child
    jitter = np.exp(0.05 * np.clip(normals, -2.5, 2.5))
    return {
        name: length * (1 + child * _CHILD.get(name, 0)) * jitter[:, i]
        for i, (name, length) in enumerate(_LENGTHS.items())
    }


def _along(
    frame: np.ndarray, x: np.ndarray | float, y: np.ndarray | float, z: np.ndarray | float
) -> np.ndarray:
    """The picture vector (F, 3) of body offsets in a frame (F, 3, 3)."""
    total: np.ndarray | None = None
    for axis, length in enumerate((x, y, z)):
        if isinstance(length, np.ndarray):
            step = frame[:, :, axis] * length[:, None]
        elif length:
            step = frame[:, :, axis] * length
        else:
            continue
        total = step if total is None else total + step
    return np.zeros(frame.shape[:2]) if total is None else total


def pose_figures(uniforms: np.ndarray, normals: np.ndarray) -> Figures:
    """Bodies from draws: `uniforms` (F, UNIFORMS) in 0..1, `normals` (F, NORMALS)."""
    angles = joint_angles(uniforms, normals)  # (F, A)
    size = _lengths(uniforms, normals[:, len(ANGLES) :])
    # One rotation (F, 3, 3) for each angle
    radians = np.deg2rad(angles) * _SIGNS
    turns = (
        _KEEP + np.cos(radians)[..., None, None] * _COS + np.sin(radians)[..., None, None] * _SIN
    )
    turn = {name: turns[:, i] for i, name in enumerate(ANGLES)}
    # From the pelvis outwards: each part's frame, and the points at its ends
    frames, points = _trunk(turn, size)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        _add_arm(side, sign, turn, size, frames, points)
        _add_leg(side, sign, turn, size, frames, points)
    seen = _head_points(points, frames["head"], size["head"])
    # And the flesh around the bones
    circles = _circles(points, frames, size, np.exp(0.16 * np.clip(normals[:, -1], -2, 2.5)))
    return Figures(
        points=np.stack([points[name] for name in POINTS], axis=1),
        circles=circles,
        fronts=np.stack([frames[part][:, :, 2] for part in PARTS], axis=1),
        lefts=np.stack([frames[part][:, :, 0] for part in PARTS], axis=1),
        order=_order(circles, points),
        face_seen=seen,
    )


Named = dict[
    str, np.ndarray
]  # frames (F, 3, 3) by part, or points (F, 3) by joint, or lengths (F,)


def _trunk(turn: Named, size: Named) -> tuple[Named, Named]:
    """Frames and points of hips, torso, neck and head."""
    root = turn["roll"] @ turn["pitch"] @ turn["yaw"]
    torso = root @ turn["spine_pitch"] @ turn["spine_roll"] @ turn["spine_twist"]
    head = torso @ turn["head_yaw"] @ turn["head_pitch"] @ turn["head_roll"]
    thorax = _along(torso, 0.0, -size["torso"], 0.0)
    upper_neck = thorax + _along(torso, 0.0, -size["neck"], 0.01)
    points = {
        "pelvis": np.zeros((len(root), 3)),
        "thorax": thorax,
        "upper_neck": upper_neck,
        "neck": (thorax + upper_neck) / 2,
        "head_top": upper_neck + _along(head, 0.0, -size["head"], 0.0),
    }
    return {"hips": root, "torso": torso, "neck": torso, "head": head}, points


def _add_arm(
    side: str, sign: float, turn: Named, size: Named, frames: Named, points: Named
) -> None:
    torso = frames["torso"]
    arm = torso @ turn[f"{side}_shoulder_abduction"] @ turn[f"{side}_shoulder_flexion"]
    arm = arm @ turn[f"{side}_shoulder_twist"]
    forearm = arm @ turn[f"{side}_elbow"]
    frames |= {f"{side}_upper_arm": arm, f"{side}_forearm": forearm, f"{side}_hand": forearm}
    shoulder = points["thorax"] + _along(torso, sign * size["shoulder"], 0.018, 0.0)
    elbow = shoulder + _along(arm, 0.0, size["upper_arm"], 0.0)
    wrist = elbow + _along(forearm, 0.0, size["forearm"], 0.0)
    hand = wrist + _along(forearm, 0.0, size["hand"], 0.0)
    points |= {f"{side}_shoulder": shoulder, f"{side}_elbow": elbow}
    points |= {f"{side}_wrist": wrist, f"{side}_hand": hand}


def _add_leg(
    side: str, sign: float, turn: Named, size: Named, frames: Named, points: Named
) -> None:
    root = frames["hips"]
    thigh = root @ turn[f"{side}_hip_abduction"] @ turn[f"{side}_hip_flexion"]
    thigh = thigh @ turn[f"{side}_hip_twist"]
    shank = thigh @ turn[f"{side}_knee"]
    frames |= {f"{side}_thigh": thigh, f"{side}_shank": shank, f"{side}_foot": shank}
    hip = _along(root, sign * size["hip"], 0.02, 0.0)
    knee = hip + _along(thigh, 0.0, size["thigh"], 0.0)
    ankle = knee + _along(shank, 0.0, size["shank"], 0.0)
    points |= {f"{side}_hip": hip, f"{side}_knee": knee, f"{side}_ankle": ankle}
    points[f"{side}_heel"] = ankle + _along(shank, 0.0, 0.022, -0.018)
    points[f"{side}_toe"] = ankle + _along(shank, sign * 0.012, 0.032, size["foot"] * 0.8)


def _head_points(points: dict[str, np.ndarray], head: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Adds nose, eyes and ears; says which points are not on the far side of the head."""
    unit = length / 0.155
    middle = points["head_top"] + _along(head, 0.0, 0.085 * unit, 0.0)
    seen = np.ones((len(head), len(POINTS)), dtype=bool)
    places = {
        "nose": (0, 0.012, 0.07),
        "left_eye": (0.025, -0.012, 0.056),
        "left_ear": (0.057, 0.0, -0.004),
    }
    for name, (x, y, z) in places.items():
        for side, sign in (("left", 1), ("right", -1)) if x else (("", 1),):
            offset = _along(head, sign * x * unit, y * unit, z * unit)
            point = name.replace("left", side)
            points[point] = middle + offset
            seen[:, POINTS.index(point)] = offset[:, 2] > (0.0 if "ear" in name else 0.012) * unit
    return seen


# The limbs: from where to where, and the radius at either end
_LIMBS = (
    ("upper_arm", "shoulder", "elbow", 0.037, 0.028),
    ("forearm", "elbow", "wrist", 0.028, 0.019),
    ("hand", "wrist", "hand", 0.02, 0.022),
    ("thigh", "hip", "knee", 0.056, 0.038),
    ("shank", "knee", "ankle", 0.04, 0.025),
    ("foot", "heel", "toe", 0.027, 0.021),
)


def _circles(
    points: dict, frames: dict, size: dict[str, np.ndarray], build: np.ndarray
) -> np.ndarray:
    """The circles whose hull each part is: two for limbs (given twice), four for torso and hips,
    and for the head the skull's two, the chin and the nose."""
    limb, trunk, unit = build**0.6, build, size["head"] / 0.155
    torso, root, head = frames["torso"], frames["hips"], frames["head"]
    # Where the circles of trunk and head lie
    waist = points["thorax"] * 0.22
    top = points["head_top"]
    shoulders = [
        points["thorax"] + _along(torso, s * size["shoulder"] * 0.76, 0.045, 0.0) for s in (1, -1)
    ]
    waists = [waist + _along(torso, s * size["hip"] * 0.85, 0.0, 0.008) for s in (1, -1)]
    hips = [_along(root, s * size["hip"] * 0.8, 0.012, -0.006) for s in (1, -1)]
    lower = [waist * 1.3 + _along(torso, s * size["hip"] * 0.75, 0.0, 0.0) for s in (1, -1)]
    skull = [top + _along(head, 0.0, 0.06 * unit, z * unit) for z in (0.006, -0.014)]
    chin = top + _along(head, 0.0, 0.118 * unit, 0.022 * unit)
    # Centre and radius of each part's circles
    parts: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {
        "torso": [(p, 0.052 * trunk) for p in shoulders] + [(p, 0.05 * trunk) for p in waists],
        "hips": [(p, 0.046 * trunk) for p in lower] + [(p, 0.056 * trunk) for p in hips],
        "neck": [
            (points["thorax"] + _along(torso, 0.0, 0.01, 0.0), 0.034 * limb),
            (points["upper_neck"], 0.03 * limb),
        ],
        "head": [
            (skull[0], 0.06 * unit),
            (skull[1], 0.06 * unit),
            (chin, 0.036 * unit),
            (points["nose"], 0.008 * unit),
        ],
    }
    for part, start, end, first, last in _LIMBS:
        for side in ("left", "right"):
            ends = ((start, first), (end, last))
            parts[f"{side}_{part}"] = [(points[f"{side}_{p}"], radius * limb) for p, radius in ends]
    # Four for every part, so that all lie in one array (F, P, 4, 4)
    four = [
        circle for part in PARTS for circle in parts[part] for _ in range(4 // len(parts[part]))
    ]
    circles = np.empty((len(build), len(four), 4))
    circles[..., :3] = np.stack([centre for centre, _ in four], axis=1)
    circles[..., 3] = np.stack([radius for _, radius in four], axis=1)
    return circles.reshape(len(build), len(PARTS), 4, 4)


_IN_FRONT = np.array([0.05 if "arm" in part or "hand" in part else 0.0 for part in PARTS])
_IN_FRONT[PARTS.index("head")] = 0.02
_IN_FRONT[PARTS.index("hips")] = -0.03
_IN_FRONT[PARTS.index("neck")] = -0.02


def _order(circles: np.ndarray, points: dict[str, np.ndarray]) -> np.ndarray:
    """Painter's order by mean depth; arms at the sides lie over the torso unless their shoulder is turned away."""
    depth = circles[..., 2].mean(axis=2) + _IN_FRONT
    torso = depth[:, PARTS.index("torso")]
    for side in ("left", "right"):
        away = points[f"{side}_shoulder"][:, 2] - points["thorax"][:, 2] < -0.075
        arm = PARTS.index(f"{side}_upper_arm")
        depth[:, arm] = np.where(away, np.minimum(depth[:, arm], torso - 1e-3), depth[:, arm])
    return np.argsort(depth, axis=1, kind="stable")
