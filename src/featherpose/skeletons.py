"""Joint names, left/right pairs, limbs, OKS sigmas and table columns: the only place where a joint order stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from featherpose.errors import PoseError
from featherpose.settings import numbers

DEFAULT_SIGMA = 0.067  # the mean of COCO's seventeen
PAIRS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")


@dataclass(frozen=True)
class Skeleton:
    """A set of joints in one fixed order.

    `scored` are the joints that PCK means count; `columns` groups them as the papers' tables do.
    `sigmas` are per-joint constants of the object keypoint similarity, as COCO's.
    `torso` is the pair of joints whose distance is the torso size of LSP's PCK.
    `partial`: these are some of another skeleton's joints, which the names of scores say.
    """

    name: str
    joints: tuple[str, ...]
    limbs: tuple[tuple[int, int], ...]
    columns: Mapping[str, tuple[int, ...]]
    scored: tuple[int, ...]
    sigmas: tuple[float, ...] | None = None
    torso: tuple[int, int] | None = None
    upper: tuple[int, ...] = ()
    partial: bool = False
    pairs: tuple[tuple[int, int], ...] = field(init=False)

    def __post_init__(self) -> None:
        index = {joint: i for i, joint in enumerate(self.joints)}
        pairs = [(index[f"left_{j[6:]}"], i) for j, i in index.items() if j.startswith("right_")]
        object.__setattr__(self, "pairs", tuple(sorted(pairs)))

    def __len__(self) -> int:
        return len(self.joints)

    @property
    def similarity_sigmas(self) -> tuple[float, ...]:
        """The joints' own sigmas, or one for all where the skeleton names none."""
        return self.sigmas or (DEFAULT_SIGMA,) * len(self)

    @property
    def flip_order(self) -> tuple[int, ...]:
        """The joint that stands at each place once the picture is mirrored."""
        return flipped(len(self.joints), self.pairs)

    def index(self, joint: str) -> int:
        return self.joints.index(joint)

    def only(self, wanted: str | Sequence[str]) -> Skeleton:
        """Some of the joints, all of which count: `limbs` for those of arms and legs, or their names."""
        if wanted == "limbs":
            wanted = [joint for joint in self.joints if joint.endswith(PAIRS)]
        wanted = [wanted] if isinstance(wanted, str) else list(dict.fromkeys(wanted))
        unknown = [joint for joint in wanted if joint not in self.joints]
        if unknown or not wanted:
            wrong = (
                f"has no {unknown[0]} among its joints"
                if unknown
                else "is asked for none of its joints"
            )
            raise PoseError(
                f"The skeleton {self.name} {wrong}: {', '.join(self.joints)}; limbs stands for those of arms and legs."
            )
        place = {self.index(joint): i for i, joint in enumerate(wanted)}
        for one, other in self.pairs:
            if (one in place) != (other in place):
                both = f"{self.joints[one]} and {self.joints[other]}"
                raise PoseError(f"Name {both} together: the flip test exchanges them.")

        def left(group: Iterable[int]) -> tuple[int, ...]:
            return tuple(place[joint] for joint in group if joint in place)

        pairs = [left(limb) for limb in self.limbs]
        columns = {column: left(group) for column, group in self.columns.items()}
        torso = left(self.torso or ())
        return Skeleton(
            name=self.name,
            joints=tuple(wanted),
            limbs=tuple((pair[0], pair[1]) for pair in pairs if len(pair) == 2),
            columns={column: group for column, group in columns.items() if group},
            scored=tuple(range(len(wanted))),
            sigmas=self.sigmas and tuple(self.sigmas[joint] for joint in place),
            torso=(torso[0], torso[1]) if len(torso) == 2 else None,
            upper=left(self.upper),
            partial=True,
        )


def flipped(count: int, pairs: Iterable[tuple[int, int]]) -> tuple[int, ...]:
    """Places with those of each pair exchanged."""
    order = list(range(count))
    for left, right in pairs:
        order[left], order[right] = right, left
    return tuple(order)


def _limbs(joints: Sequence[str], text: str) -> tuple[tuple[int, int], ...]:
    ends = [limb.split("-") for limb in text.split()]
    return tuple((joints.index(a), joints.index(b)) for a, b in ends)


def _columns(joints: Sequence[str], head: str) -> dict[str, tuple[int, ...]]:
    """The head's joints, then each pair of the limbs: the columns of the published tables."""
    return {"head": tuple(joints.index(joint) for joint in head.split())} | {
        pair: tuple(i for i, joint in enumerate(joints) if joint.endswith("_" + pair))
        for pair in PAIRS
    }


_COCO = (
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow "
    "left_wrist right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle"
).split()
COCO = Skeleton(
    name="coco",
    joints=tuple(_COCO),
    limbs=_limbs(
        _COCO,
        "left_ankle-left_knee left_knee-left_hip right_ankle-right_knee right_knee-right_hip left_hip-right_hip "
        "left_shoulder-left_hip right_shoulder-right_hip left_shoulder-right_shoulder left_shoulder-left_elbow "
        "right_shoulder-right_elbow left_elbow-left_wrist right_elbow-right_wrist left_eye-right_eye nose-left_eye "
        "nose-right_eye left_eye-left_ear right_eye-right_ear left_ear-left_shoulder right_ear-right_shoulder",
    ),
    columns=_columns(_COCO, head="nose left_eye right_eye left_ear right_ear"),
    scored=tuple(range(17)),
    sigmas=tuple(
        round(n / 1000, 3)
        for n in (26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89)
    ),
    torso=(_COCO.index("left_shoulder"), _COCO.index("right_hip")),
    upper=tuple(range(11)),
)

_MPII = (
    "right_ankle right_knee right_hip left_hip left_knee left_ankle pelvis thorax upper_neck head_top "
    "right_wrist right_elbow right_shoulder left_shoulder left_elbow left_wrist"
).split()
MPII = Skeleton(
    name="mpii",
    joints=tuple(_MPII),
    limbs=_limbs(
        _MPII,
        "right_ankle-right_knee right_knee-right_hip right_hip-pelvis left_hip-pelvis left_knee-left_hip "
        "left_ankle-left_knee pelvis-thorax thorax-upper_neck upper_neck-head_top right_wrist-right_elbow "
        "right_elbow-right_shoulder right_shoulder-thorax left_shoulder-thorax left_elbow-left_shoulder "
        "left_wrist-left_elbow",
    ),
    columns=_columns(_MPII, head="head_top"),
    scored=tuple(i for i, joint in enumerate(_MPII) if joint not in ("pelvis", "thorax")),
    torso=(_MPII.index("left_shoulder"), _MPII.index("right_hip")),
    upper=tuple(range(7, 16)),
)

_LSP = (
    "right_ankle right_knee right_hip left_hip left_knee left_ankle right_wrist right_elbow right_shoulder "
    "left_shoulder left_elbow left_wrist neck head_top"
).split()
LSP = Skeleton(
    name="lsp",
    joints=tuple(_LSP),
    limbs=_limbs(
        _LSP,
        "right_ankle-right_knee right_knee-right_hip right_hip-left_hip left_knee-left_hip left_ankle-left_knee "
        "right_hip-right_shoulder left_hip-left_shoulder right_wrist-right_elbow right_elbow-right_shoulder "
        "right_shoulder-neck left_shoulder-neck left_elbow-left_shoulder left_wrist-left_elbow neck-head_top",
    ),
    columns=_columns(_LSP, head="neck head_top"),
    scored=tuple(range(14)),
    torso=(_LSP.index("left_shoulder"), _LSP.index("right_hip")),
    upper=tuple(range(6, 14)),
)

_KNOWN = {skeleton.name: skeleton for skeleton in (COCO, MPII, LSP)}


def skeleton_of(choice: str | Mapping) -> Skeleton:
    """The skeleton of a config: a name (coco, mpii, lsp) or a mapping that declares people's own.

    A mapping has `name`, `joints` (left_/right_ prefixes make the pairs), `limbs` ("elbow-wrist" strings) and
    optionally `columns` ({column: [joints]}), `sigmas`, `torso` ([joint, joint]), `scored` and `upper` ([joints]).
    """
    if isinstance(choice, str):
        if choice in _KNOWN:
            return _KNOWN[choice]
        near = get_close_matches(choice, _KNOWN, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise PoseError(f"There is no skeleton {choice!r}; known: {', '.join(_KNOWN)}.{hint}")
    try:
        joints = tuple(choice["joints"])
        index = {joint: i for i, joint in enumerate(joints)}
        sigmas = choice.get("sigmas")
        if sigmas is not None:
            sigmas = tuple(numbers("skeleton.sigmas", sigmas, count=len(joints), above=0))
        torso = choice.get("torso")
        if torso and (isinstance(torso, str) or len(torso) != 2 or torso[0] == torso[1]):
            raise PoseError(f"skeleton.torso is {torso}; it has to name two joints, e.g. [a, b].")
        columns = choice.get("columns") or {joint: [joint] for joint in joints}
        return Skeleton(
            name=choice["name"],
            joints=joints,
            limbs=_limbs(joints, " ".join(choice.get("limbs", ()))),
            columns={
                column: tuple(index[joint] for joint in group) for column, group in columns.items()
            },
            scored=tuple(index[joint] for joint in choice.get("scored") or joints),
            sigmas=sigmas,
            torso=(index[torso[0]], index[torso[1]]) if torso else None,
            upper=tuple(index[joint] for joint in choice.get("upper") or ()),
        )
    except (KeyError, ValueError) as error:
        raise PoseError(
            f"The skeleton in the config is incomplete or names a joint it does not have: {error}."
        ) from error
