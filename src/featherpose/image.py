"""From a picture file to uint8 RGB, the same pixels as cv2 gives, faster for JPEG; and what to say when it can't be."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import simplejpeg

from featherpose.errors import PoseError
from featherpose.person import Person

LONGEST = 32_766  # pixels of a side; OpenCV cuts crops out of nothing longer
LIMIT = "OPENCV_IO_MAX_IMAGE_PIXELS"  # OpenCV's own setting; `featherpose` makes it 1e8 where nobody has set it
PNG = b"\x89PNG\r\n\x1a\n"
ORIENTATION = 0x0112  # EXIF's number for it
_TURN = {3: cv2.ROTATE_180, 6: cv2.ROTATE_90_CLOCKWISE, 8: cv2.ROTATE_90_COUNTERCLOCKWISE}


def load(person: Person) -> np.ndarray:
    """The person's picture (H, W, 3), lying as its annotations do.

    The benchmarks' protocol ignores an EXIF rotation; tools with which people annotate their own pictures obey it. The
    annotated picture size decides where there is one: the picture is turned when only that makes the sizes equal.
    """
    picture = read(person.image)
    if person.picture_size is None:
        return picture
    annotated = (int(person.picture_size[1]), int(person.picture_size[0]))
    if picture.shape[:2] == annotated:
        return picture
    turned = upright(picture, exif_orientation(Path(person.image).read_bytes()))
    if turned.shape[:2] == annotated:
        return turned
    raise PoseError(
        f"{person.image} is {picture.shape[1]} x {picture.shape[0]} pixels, but the annotation of person "
        f"{person.person_id} says {annotated[1]} x {annotated[0]}: is it the original picture?"
    )


def read(path: str | Path, obey_exif: bool = False) -> np.ndarray:
    """A picture file as uint8 RGB (H, W, 3): any depth, grey, CMYK; `obey_exif` turns it as viewers do."""
    data = _bytes(path)
    try:
        picture = decode(data, str(path))
    except MemoryError as error:
        raise PoseError(f"There is not enough memory for the picture {path}.") from error
    return upright(picture, exif_orientation(data)) if obey_exif else picture


def _bytes(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except FileNotFoundError as error:
        raise PoseError(f"The picture {path} is missing.") from error
    except OSError as error:
        raise PoseError(f"The picture {path} can't be read: {error.strerror}.") from error


def write(path: str | Path, picture: np.ndarray) -> None:
    """RGB, uint8, in the format that the name ends in."""
    cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))


def encode_below(
    picture: np.ndarray, most: int, forms: Sequence[tuple[int, int]], ending: str
) -> bytes:
    """RGB as the best of `forms` (width at most, quality) that `most` bytes allow; else the coarsest."""
    flag = cv2.IMWRITE_WEBP_QUALITY if ending == ".webp" else cv2.IMWRITE_JPEG_QUALITY
    bgr, content = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), b""
    for widest, quality in forms:
        shown = bgr
        if bgr.shape[1] > widest:
            size = (widest, max(1, round(bgr.shape[0] * widest / bgr.shape[1])))
            shown = cv2.resize(bgr, size, interpolation=cv2.INTER_AREA)
        content = cv2.imencode(ending, shown, [flag, quality])[1].tobytes()
        if len(content) <= most:
            break
    return content


def decode(data: bytes, name: str = "picture") -> np.ndarray:
    """The bytes of a picture file as uint8 RGB (H, W, 3); a truncated one is an error, not half a grey picture."""
    if not data:
        raise PoseError(f"The picture {name} is an empty file.")
    _refuse_the_huge(data, name)
    if data[:2] == b"\xff\xd8":
        picture = _decode_jpeg(data, name)
        if picture is not None:
            return picture
    elif data[:8] == PNG and all(kind != b"IEND" for kind, _ in _png_chunks(data)):
        raise PoseError(f"The picture {name} is truncated: fetch it again.")
    try:
        picture = cv2.imdecode(
            np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        )
    except cv2.error as error:
        raise PoseError(f"The picture {name} can't be decoded: {error.err}.") from error
    if picture is None:
        raise PoseError(
            f"The picture {name} is no picture that can be decoded, or is damaged: fetch it again."
        )
    check_sides(picture, name)  # of other kinds the head was not read
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def _refuse_the_huge(data: bytes, name: str) -> None:
    """Before any memory is asked for: 15 kB of JPEG can claim 65,500 x 65,500 pixels, 12 GiB."""
    width, height = claimed_size(data) or (0, 0)
    given = os.environ.get(LIMIT, "")
    most = int(given) if given.isdigit() else 100_000_000
    if width * height > most:
        raise PoseError(
            f"The picture {name} claims {width:,} x {height:,} pixels, more than {most:,}: make it smaller, or set "
            f"{LIMIT}={width * height} if you trust it."
        )
    _refuse_the_long(width, height, name)


def check_sides(picture: np.ndarray, name: str) -> None:
    """Refuses a picture (H, W, 3) without pixels, and one of which no crops can be cut."""
    height, width = picture.shape[:2]
    if not picture.size:
        raise PoseError(f"The picture {name} has no pixels: it is {width} x {height}.")
    _refuse_the_long(width, height, name)


def _refuse_the_long(width: int, height: int, name: str) -> None:
    if max(width, height) > LONGEST:
        raise PoseError(
            f"The picture {name} is {width:,} x {height:,} pixels, and a side may have {LONGEST:,}: make it smaller, "
            "or cut it into parts."
        )


def _decode_jpeg(data: bytes, name: str) -> np.ndarray | None:
    """None for what only cv2 decodes (CMYK)."""
    try:
        return simplejpeg.decode_jpeg(data, "RGB")
    except ValueError as error:
        message = str(error).lower()
    if "premature end" in message or "truncat" in message or "eoi" in message:
        raise PoseError(f"The picture {name} is truncated: fetch it again.")
    try:  # oddities such as bytes before a marker leave the pixels whole
        return simplejpeg.decode_jpeg(data, "RGB", strict=False)
    except ValueError:
        return None


def size_of(data: bytes) -> tuple[int, int] | None:
    """Width and height from a JPEG's header, without decoding; None for other files."""
    try:
        height, width = simplejpeg.decode_jpeg_header(data, strict=False)[:2]
    except (ValueError, KeyError):  # the latter of a head that is cut off
        return None
    return int(width), int(height)


def claimed_size(data: bytes) -> tuple[int, int] | None:
    """Width and height as a JPEG's or a PNG's head says them; None for other files, which OpenCV measures itself."""
    if data[:8] == PNG and len(data) >= 24:
        width, height = struct.unpack_from(">II", data, 16)
        return width, height
    return size_of(data) if data[:2] == b"\xff\xd8" else None


def upright_size(path: str | Path) -> np.ndarray:
    """Width and height (2,) of the picture as viewers show it, with its EXIF rotation."""
    data = _bytes(path)
    size = claimed_size(data)
    if size is None:
        height, width = decode(data, str(path)).shape[:2]
        size = width, height
    return np.array(size[::-1] if exif_orientation(data) >= 5 else size)


def exif_orientation(data: bytes) -> int:
    """1 to 8 from the EXIF block of a JPEG, PNG or WebP; 1 (lying as stored) where there is none."""
    tiff = _exif_block(data)
    order = "<" if tiff[:2] == b"II" else ">"
    try:
        (first,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, first)
        for entry in range(count):
            tag, _, _, value = struct.unpack_from(order + "HHIH", tiff, first + 2 + 12 * entry)
            if tag == ORIENTATION:
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def _exif_block(data: bytes) -> bytes:
    """From its byte order on."""
    start = -1
    if data[:2] == b"\xff\xd8":
        start = data.find(b"Exif\x00\x00", 0, 65536)
    elif data[:8] == PNG:
        start = next((at for kind, at in _png_chunks(data) if kind == b"eXIf"), -1)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        start = next((at for kind, at in _webp_chunks(data) if kind == b"EXIF"), -1)
    if start < 0:
        return b""
    return data[start : start + 65536].removeprefix(b"Exif\x00\x00")


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Each chunk's kind and where its content begins."""
    at = 8
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        yield kind, at + 8
        at += 12 + length


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, int]]:
    at = 12
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        yield kind, at + 8
        at += 8 + length + length % 2


def hides_its_turn(data: bytes) -> bool:
    """Whether viewers turn or mirror the picture without a change of its size, from which `load` would know."""
    orientation = exif_orientation(data)
    if orientation < 5:
        return orientation > 1
    width, height = claimed_size(data) or decode(data).shape[:2]
    return width == height


def encoded_upright(data: bytes, name: str) -> bytes:
    """The picture as viewers show it, in its own format: JPEG with hardly a loss, PNG and WebP without any."""
    picture = upright(decode(data, name), exif_orientation(data))
    if data[:2] == b"\xff\xd8":
        return simplejpeg.encode_jpeg(
            np.ascontiguousarray(picture), quality=98, colorsubsampling="444"
        )
    ending, how = (".png", []) if data[:8] == PNG else (".webp", [cv2.IMWRITE_WEBP_QUALITY, 101])
    return cv2.imencode(ending, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), how)[1].tobytes()


def upright(picture: np.ndarray, orientation: int) -> np.ndarray:
    """The picture turned and mirrored as its EXIF orientation asks."""
    if orientation in (2, 4, 5, 7):
        picture = cv2.flip(picture, 1)
        orientation = {2: 1, 4: 3, 5: 8, 7: 6}[orientation]
    return cv2.rotate(picture, _TURN[orientation]) if orientation in _TURN else picture
