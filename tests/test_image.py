"""Every kind of picture file: the right pixels, or one sentence that names the file."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg
from PIL import Image, ImageOps

from featherpose import image
from featherpose.errors import PoseError
from featherpose.person import Person


@pytest.fixture
def photo() -> Image.Image:
    small = np.random.default_rng(0).integers(0, 256, (10, 14, 3), dtype=np.uint8)
    return Image.fromarray(cv2.resize(small, (140, 100), interpolation=cv2.INTER_CUBIC))


def person(path: Path, size: tuple[int, int] | None = None) -> Person:
    zero = np.zeros(2)
    return Person(
        str(path),
        np.zeros((1, 2)),
        np.zeros(1, np.uint8),
        zero,
        zero,
        np.zeros(4),
        1,
        7,
        picture_size=size,
    )


def with_cv2(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    assert image is not None
    return image[:, :, ::-1]


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [
        ("RGB", "jpg"),
        ("L", "jpg"),
        ("CMYK", "jpg"),
        ("RGB", "png"),
        ("L", "png"),
        ("P", "png"),
        ("RGBA", "png"),
        ("RGB", "bmp"),
    ],
)
def test_same_pixels_as_cv2(photo, tmp_path, mode, suffix):
    path = tmp_path / f"photo.{suffix}"
    photo.convert(mode).save(path)
    read = image.read(path)
    assert read.shape == (100, 140, 3)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, with_cv2(path))


def test_real_jpegs_decode_as_cv2_does(real_data):
    files = (
        sorted((real_data / "coco").glob("*2017/*.jpg"))[:40]
        + sorted((real_data / "mpii/images").glob("*.jpg"))[:4]
    )
    assert files
    for path in files:
        np.testing.assert_array_equal(image.read(path), with_cv2(path))


def test_sixteen_bits_become_eight(photo, tmp_path):
    path = tmp_path / "deep.png"
    deep = np.array(photo).astype(np.uint16) * 257
    assert cv2.imwrite(str(path), deep[:, :, ::-1])
    np.testing.assert_array_equal(image.read(path), np.array(photo))


def test_fifty_megapixels(tmp_path):
    path = tmp_path / "huge.jpg"
    path.write_bytes(
        simplejpeg.encode_jpeg(np.full((6250, 8000, 3), 90, np.uint8), colorspace="RGB")
    )
    assert image.read(path).shape == (6250, 8000, 3)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation(photo, tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned.{suffix}"
    photo.save(path, exif=exif, lossless=True)
    upright = np.array(ImageOps.exif_transpose(Image.open(path)))
    stored = np.array(Image.open(path))
    np.testing.assert_array_equal(image.read(path), stored)
    np.testing.assert_array_equal(image.read(path, obey_exif=True), upright)
    # the annotated size says how the picture lay when it was annotated
    np.testing.assert_array_equal(image.load(person(path, (140, 100))), stored)
    if orientation >= 5:
        np.testing.assert_array_equal(image.load(person(path, (100, 140))), upright)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("side", [100, 140])
def test_a_turn_that_the_size_does_not_tell(photo, orientation, suffix, side):
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    photo.crop((0, 0, side, 100)).save(file, suffix.replace("jpg", "jpeg"), exif=exif, quality=95)
    data = file.getvalue()
    assert image.hides_its_turn(data) == (orientation > 1 and (side == 100 or orientation < 5))
    again = image.encoded_upright(data, "picture")
    assert image.exif_orientation(again) == 1
    assert again[:2] == data[:2], "the same format"
    off = image.decode(again).astype(int) - image.upright(image.decode(data), orientation)
    assert np.abs(off).mean() <= (1 if suffix == "jpg" else 0)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp"])
def test_a_side_that_no_crop_is_cut_out_of(tmp_path, suffix):
    path = tmp_path / f"long.{suffix}"
    long = np.zeros((2, image.LONGEST + 1, 3), np.uint8)
    if suffix == "jpg":
        path.write_bytes(simplejpeg.encode_jpeg(long))
    else:
        assert cv2.imwrite(str(path), long)
    with pytest.raises(PoseError, match=r"long.* is 32,767 x 2 pixels, and a side may have 32,766"):
        image.read(path)


def test_size_that_is_not_the_annotated_one(photo, tmp_path):
    photo.save(tmp_path / "small.jpg")
    with pytest.raises(
        PoseError,
        match=r"small.jpg is 140 x 100 pixels, but the annotation of person 7 says 640 x 480",
    ):
        image.load(person(tmp_path / "small.jpg", (640, 480)))


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.95])
def test_truncated(photo, tmp_path, suffix, share):
    path = tmp_path / f"half.{suffix}"
    photo.save(path, quality=95)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(PoseError, match=rf"half\.{suffix}.*(truncated|empty|damaged)"):
        image.read(path)


def test_missing_and_no_picture_at_all(tmp_path):
    with pytest.raises(PoseError, match=r"gone\.jpg is missing"):
        image.read(tmp_path / "gone.jpg")
    (tmp_path / "page.jpg").write_text("<html>not found</html>")
    with pytest.raises(PoseError, match=r"page\.jpg is no picture"):
        image.read(tmp_path / "page.jpg")
    with pytest.raises(PoseError, match="can't be read"):
        image.read(tmp_path)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_bytes_after_the_end_do_no_harm(photo, tmp_path, suffix):
    path = tmp_path / f"tail.{suffix}"
    photo.save(path)
    expected = image.read(path)
    path.write_bytes(path.read_bytes() + b"trailer" * 9)
    np.testing.assert_array_equal(image.read(path), expected)


def png_of_nothing(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        whole = kind + content
        return struct.pack(">I", len(content)) + whole + struct.pack(">I", zlib.crc32(whole))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(b"")), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def jpeg_that_claims(photo: Image.Image, width: int, height: int) -> bytes:
    file = io.BytesIO()
    photo.save(file, "JPEG")
    data = bytearray(file.getvalue())
    data[(start := data.index(b"\xff\xc0") + 5) : start + 4] = struct.pack(">HH", height, width)
    return bytes(data)


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_pictures_that_claim_too_much_are_refused_before_memory_is_asked_for(
    photo, tmp_path, monkeypatch, kind
):
    path = tmp_path / f"bomb.{kind}"
    data = (
        png_of_nothing(20_000, 20_000) if kind == "png" else jpeg_that_claims(photo, 65500, 65500)
    )
    path.write_bytes(data)
    for decoder in ("simplejpeg.decode_jpeg", "cv2.imdecode"):
        monkeypatch.setattr(f"featherpose.image.{decoder}", lambda *_, **__: pytest.fail("decoded"))
    with pytest.raises(PoseError, match=r"bomb.* claims .* pixels, more than 100,000,000") as error:
        image.read(path)
    assert "OPENCV_IO_MAX_IMAGE_PIXELS=" in str(error.value)


def test_the_limit_is_a_setting(photo, tmp_path, monkeypatch):
    path = tmp_path / "photo.jpg"
    photo.save(path)
    monkeypatch.setenv("OPENCV_IO_MAX_IMAGE_PIXELS", "13999")
    with pytest.raises(PoseError, match="claims 140 x 100 pixels, more than 13,999"):
        image.read(path)
    monkeypatch.setenv("OPENCV_IO_MAX_IMAGE_PIXELS", "14000")
    assert image.read(path).shape == (100, 140, 3)


def test_opencv_keeps_the_limit_for_all_other_kinds():
    code = (
        "import os, featherpose, cv2, numpy as np\n"
        "ok, data = cv2.imencode('.bmp', np.zeros((1, 1, 3), np.uint8))\n"
        "data[18:26] = np.frombuffer(np.array([20000, 20000], '<i4').tobytes(), np.uint8)\n"
        "from featherpose.image import decode\n"
        "try: decode(data.tobytes(), 'bomb.bmp')\n"
        "except featherpose.errors.PoseError as error: print(error)\n"
    )
    env = {k: v for k, v in os.environ.items() if k != "OPENCV_IO_MAX_IMAGE_PIXELS"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    assert "CV_IO_MAX_IMAGE_PIXELS" in done.stdout


def test_a_picture_that_memory_does_not_hold_costs_itself_only(photo, tmp_path, monkeypatch):
    path = tmp_path / "photo.jpg"
    photo.save(path)

    def full(*_, **__):
        raise MemoryError

    monkeypatch.setattr("featherpose.image.simplejpeg.decode_jpeg", full)
    with pytest.raises(PoseError, match=r"not enough memory for the picture .*photo\.jpg"):
        image.read(path)


def test_what_is_written_is_read_again(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    image.write(tmp_path / "a.png", picture)
    assert np.array_equal(image.read(tmp_path / "a.png"), picture)
