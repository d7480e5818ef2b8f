"""The pictures of the synthetic people: background, clothes, faces, light, noise.

What tells left from right has to survive a mirror, for training flips pictures and swaps the joints' names: a left
sleeve of another colour would become a right one. So the cues are those of real people: which side faces the viewer
(faces, plackets and knee patches in front; hair, elbow patches and yokes behind), which limb is nearer (drawn over the
other, and lighter), and stripes on the outer sides of the limbs.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from featherpose.synthetic.bodies import PARTS, POINTS
from featherpose.synthetic.scenes import FIGURES, SHIFT, Scene, fixed_rings

_ONE = 1 << SHIFT
_AA = cv2.LINE_AA
_NOISE = np.random.default_rng(20).normal(0, 1, (768, 768, 3))
_NOISE_BYTES = {
    level: np.clip(np.rint(_NOISE * level) + 16, 0, 32).astype(np.uint8) for level in (2, 4, 6)
}
_SIXTEEN = np.full(
    (420, 420, 3), 16, np.uint8
)  # the noise is kept with this offset, as unsigned bytes
_SKINS = np.array(
    [
        (244, 208, 177),
        (231, 180, 143),
        (208, 149, 108),
        (174, 112, 74),
        (124, 78, 50),
        (92, 58, 40),
    ],
    float,
)
_HAIRS = np.array(
    [(28, 22, 20), (62, 40, 26), (104, 68, 38), (172, 128, 70), (120, 118, 116), (150, 62, 30)],
    float,
)
_LIMBS: dict[str, int] = {part: i for i, part in enumerate(PARTS)}


@dataclass
class Clothes:
    """One figure's colours (RGB) and cut; a sleeve or leg ends at so many segments of the limb (1 elbow, 2 wrist)."""

    skin: np.ndarray
    hair: np.ndarray
    shirt: np.ndarray
    trousers: np.ndarray
    shoes: np.ndarray
    trim: np.ndarray  # placket, stripes, patches
    sleeve: float
    leg: float
    striped: bool
    patched: bool
    pattern: int  # of the shirt: 0 plain, 1 hoops, 2 logo
    hat: bool
    long_hair: bool


def _vivid(u: np.ndarray, chroma: float = 0.75) -> np.ndarray:
    """An RGB colour from three uniforms: any hue, mostly not too grey or too dark."""
    hue, saturation, value = (float(v) for v in u)
    hue = hue * 6
    saturation = 0.15 + chroma * saturation
    value = 50 + 190 * value
    ramps = (min(max(abs((hue + turn) % 6 - 3) - 1, 0.0), 1.0) for turn in (0, 4, 2))
    return np.array([value * (1 - saturation + saturation * ramp) for ramp in ramps])


def dress(u: np.ndarray) -> Clothes:
    """Clothes from 24 uniforms."""
    skin = _SKINS[int(u[0] * 6)] * (0.94 + 0.12 * u[1])
    shirt = _vivid(u[2:5])
    trousers = _vivid(u[5:8]) * 0.8
    trim = _vivid(u[8:11])
    if np.abs(trim - shirt).sum() < 150:  # a trim nobody sees is no cue
        trim = 255 - shirt
    return Clothes(
        skin=np.clip(skin, 0, 255),
        hair=_HAIRS[int(u[11] * 6)],
        shirt=shirt,
        trousers=trousers,
        shoes=_vivid(u[12:15]) * 0.7,
        trim=trim,
        sleeve=(0.0, 0.55, 1.95)[int(u[15] * 3)],
        leg=(0.65, 1.95, 1.95)[int(u[16] * 3)],
        striped=u[17] < 0.45,
        patched=u[18] < 0.5,
        pattern=int(u[19] * 3),
        hat=u[20] < 0.15,
        long_hair=u[21] < 0.35,
    )


def paint(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """The picture of a scene, (H, W, 3) uint8 RGB."""
    picture = _background(scene, rng)
    wardrobe, u = rng.random((FIGURES, 24)), rng.random(16)
    light = np.array([u[0] - 0.5, -0.35])
    _shadows(picture, scene)
    for figure in scene.sequence:
        _figure(picture, scene, figure, dress(wardrobe[figure]), light)
    for i, outline in enumerate(scene.objects):
        colour = _vivid(u[1 + 3 * i : 4 + 3 * i])
        _fill(picture, np.rint(outline * _ONE).astype(np.int32), colour * 0.7)
        _fill(
            picture,
            np.rint(((outline - outline.mean(0)) * 0.88 + outline.mean(0)) * _ONE).astype(np.int32),
            colour,
        )
    return _expose(picture, u[8:], rng)


def _fill(picture: np.ndarray, polygon: np.ndarray, colour: np.ndarray) -> None:
    cv2.fillConvexPoly(picture, polygon, colour.tolist(), _AA, SHIFT)


def _spot(picture: np.ndarray, centre: np.ndarray, radius: float, colour: np.ndarray) -> None:
    x, y = np.rint(centre * _ONE).astype(int).tolist()
    cv2.circle(
        picture, (x, y), max(1, round(float(radius) * _ONE)), colour.tolist(), -1, _AA, SHIFT
    )


def _line(
    picture: np.ndarray, start: np.ndarray, end: np.ndarray, width: float, colour: np.ndarray
) -> None:
    ends = np.rint(np.stack([start, end]) * _ONE).astype(int).tolist()
    cv2.line(
        picture,
        tuple(ends[0]),
        tuple(ends[1]),
        colour.tolist(),
        max(1, round(float(width))),
        _AA,
        SHIFT,
    )


def _background(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    width, height = scene.size
    cells = int(rng.integers(3, 12))
    wall, floor = rng.random(3), rng.random(3)
    rough = rng.integers(-40, 41, (cells, cells, 3)) * rng.random()
    coarse = np.clip(_vivid(wall, 0.45) + rough, 0, 255)
    if rng.random() < 0.7:  # a floor
        horizon = int(cells * rng.uniform(0.5, 0.9))
        coarse[horizon:] = np.clip(_vivid(floor, 0.45) + rough[horizon:], 0, 255)
    how = cv2.INTER_LINEAR if rng.random() < 0.7 else cv2.INTER_NEAREST
    picture = cv2.resize(coarse.astype(np.uint8), (width, height), interpolation=how)
    for _ in range(int(rng.integers(0, 9))):  # clutter, some of it as long and thin as a limb
        u = rng.random(9)
        colour = _vivid(u[:3]) if u[8] < 0.75 else _SKINS[int(u[0] * 6)]
        centre, size = (u[3] * width, u[4] * height), (u[5] * 0.3 * width, u[6] * 0.3 * height)
        if u[7] < 0.4:
            corners = cv2.boxPoints((centre, size, float(u[8] * 90)))
            _fill(picture, np.rint(corners * _ONE).astype(np.int32), colour)
        elif u[7] < 0.6:
            _spot(picture, np.array(centre), size[0] / 3, colour)
        else:
            angle = u[8] * np.pi
            end = np.array(centre) + np.array([np.cos(angle), np.sin(angle)]) * (20 + size[1] * 2)
            _line(picture, np.array(centre), end, 2 + size[0] / 6, colour)
    return picture


def _shadows(picture: np.ndarray, scene: Scene) -> None:
    feet = [_LIMBS["left_foot"], _LIMBS["right_foot"]]
    for figure in scene.sequence:
        ground = scene.circles[figure, feet]
        x, y = ground[..., 0].mean(), ground[..., 1].max()
        reach = (int(scene.scale[figure] * 0.2), int(scene.scale[figure] * 0.035) + 1)
        row, column = (
            int(np.clip(y, 0, picture.shape[0] - 1)),
            int(np.clip(x, 0, picture.shape[1] - 1)),
        )
        cv2.ellipse(
            picture,
            (int(x), int(y)),
            reach,
            0,
            0,
            360,
            (picture[row, column] * 0.6).tolist(),
            -1,
            _AA,
        )


def _figure(
    picture: np.ndarray, scene: Scene, figure: int, clothes: Clothes, light: np.ndarray
) -> None:
    circles, scale = scene.circles[figure], scene.scale[figure]
    outer = fixed_rings(circles)
    inner = circles.copy()
    inner[..., :2] += light * circles[..., 3:] * 0.45
    inner[..., 3] *= 0.62
    inner = fixed_rings(inner)
    depth = circles[..., 2].mean(axis=1)
    shade = np.clip(0.92 + 0.9 * (depth - depth[0]), 0.66, 1.08)  # what is farther is darker
    limb = _Limbs(scene, figure, clothes, light, shade)
    for index in scene.figures.order[figure]:
        part = PARTS[index]
        colour = limb.colour(part)
        if part == "head":
            _Head(scene, figure, clothes, shade[index]).paint(picture)
            continue
        _fill(picture, cv2.convexHull(outer[index]), colour * 0.78 * shade[index])
        _fill(picture, cv2.convexHull(inner[index]), np.minimum(colour * 1.05 * shade[index], 255))
        if part == "torso":
            _torso(picture, scene, figure, clothes, shade[index], scale)
        else:
            limb.details(picture, part)


class _Limbs:
    """Sleeves, trouser legs, stripes and patches of one figure."""

    def __init__(
        self, scene: Scene, figure: int, clothes: Clothes, light: np.ndarray, shade: np.ndarray
    ) -> None:
        self.circles = scene.circles[figure]
        self.clothes = clothes
        self.light = light
        self.shade = shade
        self.fronts = scene.figures.fronts[figure]
        self.lefts = scene.figures.lefts[figure]

    def colour(self, part: str) -> np.ndarray:
        """The colour a part is filled with first."""
        if part == "torso":
            return self.clothes.shirt
        if part == "hips" or "thigh" in part:
            return self.clothes.trousers
        if "foot" in part:
            return self.clothes.shoes
        if "shank" in part:
            return self.clothes.trousers if self.clothes.leg > 1 else self.clothes.skin
        if "arm" in part:
            covered = self.clothes.sleeve > (1 if "forearm" in part else 0)
            return self.clothes.shirt if covered else self.clothes.skin
        return self.clothes.skin

    def details(self, picture: np.ndarray, part: str) -> None:
        index = _LIMBS[part]
        first, last = self.circles[index, 0], self.circles[index, -1]
        shade, trim = self.shade[index], self.clothes.trim
        cut = {"upper_arm": self.clothes.sleeve, "thigh": self.clothes.leg}.get(
            part.split("_", 1)[-1], 2.0
        )
        if 0 < cut < 1:  # bare from here on
            rest = np.stack([first + (last - first) * cut, last])
            rest[0, 3] *= 0.93
            _fill(
                picture,
                cv2.convexHull(fixed_rings(rest[None])[0]),
                self.clothes.skin * 0.86 * shade,
            )
            rest[:, :2] += self.light * rest[:, 3:] * 0.4
            rest[:, 3] *= 0.6
            _fill(
                picture,
                cv2.convexHull(fixed_rings(rest[None])[0]),
                np.minimum(self.clothes.skin * 1.05 * shade, 255),
            )
            last = first + (last - first) * cut
        outer = (self.lefts if part.startswith("left") else -self.lefts)[index]
        garment = self.colour(part) is not self.clothes.skin
        if (
            self.clothes.striped
            and garment
            and "foot" not in part
            and part not in ("hips", "neck")
            and outer[2] > -0.45
        ):
            start = first[:2] + outer[:2] * first[3] * 0.72
            end = last[:2] + outer[:2] * last[3] * 0.72
            _line(picture, start, end, 0.34 * last[3], trim * shade)
        facing = self.fronts[index]
        if self.clothes.patched and "shank" in part and facing[2] > 0.1:
            _spot(picture, first[:2] + facing[:2] * first[3] * 0.5, first[3] * 0.62, trim * shade)
        if self.clothes.patched and "forearm" in part and facing[2] < -0.1:
            _spot(
                picture,
                first[:2] - facing[:2] * first[3] * 0.4,
                first[3] * 0.62,
                trim * shade * 0.8,
            )
        if "foot" in part:  # a pale sole and toe cap: which way the foot points
            _spot(picture, last[:2], last[3] * 0.7, np.minimum(self.clothes.shoes * 0.5 + 110, 255))


def _torso(
    picture: np.ndarray, scene: Scene, figure: int, clothes: Clothes, shade: float, scale: float
) -> None:
    index = _LIMBS["torso"]
    circles, front = scene.circles[figure, index], scene.figures.fronts[figure, index]
    top, waist = circles[:2].mean(axis=0), circles[2:].mean(axis=0)
    if clothes.pattern == 1:
        for t in (0.2, 0.5, 0.8):
            left, right = (
                circles[0] + (circles[2] - circles[0]) * t,
                circles[1] + (circles[3] - circles[1]) * t,
            )
            across = (left - right)[:2]
            reach = across / max(float(np.hypot(*across)), 1e-6) * left[3] * 0.75
            _line(
                picture,
                left[:2] + reach,
                right[:2] - reach,
                scale * 0.016,
                clothes.trim * shade * 0.9,
            )
    if front[2] > 0.12:  # collar, placket and logo
        offset = front[:2] * top[3] * 0.85
        _line(picture, top[:2] + offset, waist[:2] + offset, scale * 0.014, clothes.trim * shade)
        _spot(
            picture,
            top[:2] + offset + (waist - top)[:2] * -0.28,
            scale * 0.03,
            clothes.skin * shade * 0.9,
        )
        if clothes.pattern == 2:
            _spot(
                picture,
                top[:2] + offset + (waist - top)[:2] * 0.35,
                scale * 0.035,
                clothes.trim * shade,
            )
    elif front[2] < -0.12:  # a yoke across the shoulders
        offset = -front[:2] * top[3] * 0.7
        ends = circles[:2, :2] + offset + (waist - top)[:2] * 0.12
        _line(picture, ends[0], ends[1], scale * 0.05, clothes.shirt * 0.55 * shade)


class _Head:
    """One head, painted from the skull outwards: hair, face or back of the head, ears and eyes, nose and mouth, hat."""

    def __init__(self, scene: Scene, figure: int, clothes: Clothes, shade: float) -> None:
        index = _LIMBS["head"]
        self.clothes = clothes
        self.shade = shade
        self.scale = scene.scale[figure]
        self.circles = scene.circles[figure, index]  # (4, 4): x, y, z, radius
        self.front = scene.figures.fronts[figure, index]
        self.left = scene.figures.lefts[figure, index]
        self.points: dict[str, np.ndarray] = dict(zip(POINTS, scene.points[figure], strict=True))
        face_seen = scene.figures.face_seen[figure]
        self.seen: dict[str, bool] = dict(zip(POINTS, face_seen, strict=True))
        self.skull = self.circles[:2, :2].mean(axis=0)
        self.radius = self.circles[0, 3]
        self.down = self.circles[2, :2] - self.skull  # towards the chin

    def paint(self, picture: np.ndarray) -> None:
        hull = cv2.convexHull(fixed_rings(self.circles[None])[0])
        _fill(picture, hull, self.clothes.skin * 0.85 * self.shade)
        self._hair(picture)
        if self.front[2] > -0.35:
            self._face(picture)
        else:
            back = self.clothes.hair * self.shade * 0.9
            _spot(picture, self.skull + self.down * 0.3, self.radius * 0.85, back)
        for side, outwards in (("left", self.left), ("right", -self.left)):
            self._ear_and_eye(picture, side, outwards)
        if self.seen["nose"]:
            self._nose_and_mouth(picture)
        if self.clothes.hat:
            self._hat(picture)

    def _hair(self, picture: np.ndarray) -> None:
        hair, back = self.clothes.hair * self.shade, self.front[:2] * self.radius
        if self.clothes.long_hair:
            end = self.skull - back * 0.6 + self.down * 1.25
            _line(picture, self.skull - back * 0.5, end, self.radius * 1.1, hair)
        _spot(picture, self.skull, self.radius * 1.02, hair)

    def _face(self, picture: np.ndarray) -> None:
        face = self.circles[:3].copy()
        face[:2, :2] = self.skull + (self.front[:2] * self.radius * 0.42 + self.down * 0.22)
        face[:2, 3] = self.radius * (0.62 + 0.22 * max(self.front[2], 0))
        face[2, 3] *= 0.86
        skin = self.clothes.skin * min(self.shade * 1.04, 1.08)
        _fill(picture, cv2.convexHull(fixed_rings(face[None])[0]), np.minimum(skin, 255))

    def _ear_and_eye(self, picture: np.ndarray, side: str, outwards: np.ndarray) -> None:
        if outwards[2] > -0.25 and not self.clothes.long_hair:
            ear = self.clothes.skin * 0.75 * self.shade
            _spot(picture, self.points[f"{side}_ear"], self.radius * 0.2, ear)
        if self.seen[f"{side}_eye"]:
            eye = self.points[f"{side}_eye"]
            white, pupil = np.array([245.0, 245.0, 245.0]), np.array([20.0, 20.0, 30.0])
            _spot(picture, eye, self.radius * 0.17, white * self.shade)
            ahead = self.front[:2] * self.radius * 0.06
            _spot(picture, eye + ahead, self.radius * 0.1, pupil)

    def _nose_and_mouth(self, picture: np.ndarray) -> None:
        nose = self.points["nose"]
        brow = (self.points["left_eye"] + self.points["right_eye"]) / 2
        _line(picture, brow, nose, self.radius * 0.16, self.clothes.skin * 0.72 * self.shade)
        mouth = nose + self.down * 0.34
        half = self.left[:2] * self.radius * 0.25
        red = np.array([150.0, 50.0, 50.0]) * self.shade
        _line(picture, mouth - half, mouth + half, self.radius * 0.13, red)

    def _hat(self, picture: np.ndarray) -> None:
        cap = np.stack([self.circles[0], self.circles[1]])
        cap[:, :2] -= self.down * 0.35
        cap[:, 3] *= 0.86
        colour = self.clothes.trim
        _fill(picture, cv2.convexHull(fixed_rings(cap[None])[0]), colour * self.shade)
        if self.front[2] > -0.5:  # the brim
            brim = self.skull + (self.front[:2] * self.radius * 1.3 - self.down * 0.25)
            start = self.skull - self.down * 0.25
            _line(picture, start, brim, self.scale * 0.02, colour * 0.7 * self.shade)


def _expose(picture: np.ndarray, u: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Light falling across the picture, a colour cast, blur and sensor noise."""
    height, width = picture.shape[:2]
    gain = 0.72 + 0.5 * u[0]
    corners = gain * (1 + 0.35 * (rng.random((2, 2, 1)) - 0.5)) * (1 + 0.12 * (u[1:4] - 0.5))
    light = cv2.resize(
        (np.clip(corners, 0, 1.6) * 159).astype(np.uint8),
        (width, height),
        interpolation=cv2.INTER_LINEAR,
    )
    picture = cv2.multiply(picture, light, scale=1 / 159)
    if u[4] < 0.35:
        picture = cv2.GaussianBlur(picture, (3, 3), 0)
    level = (2, 4, 6)[int(u[5] * 3)]
    x, y = rng.integers(0, 768 - 420, 2)
    noise = np.ascontiguousarray(_NOISE_BYTES[level][y : y + height, x : x + width])
    return cv2.subtract(cv2.add(picture, noise), _SIXTEEN[:height, :width])
