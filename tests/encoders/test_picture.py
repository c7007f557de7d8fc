"""Pictures become upright RGB pixels whatever they are stored as, or InvalidImage."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from app.encoders import picture
from app.encoders.picture import FORMATS, pixels_of, resized, size_of
from app.errors import InvalidImage
from tests.encoders.pictures import saved, scene

SCENE = scene(1)
WANTED = np.asarray(SCENE)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_formats_without_loss_are_read_to_the_last_bit(kind: str) -> None:
    assert (pixels_of(saved(SCENE, kind)) == WANTED).all()


@pytest.mark.parametrize(("kind", "options"), [("JPEG", {"quality": 95}), ("WEBP", {})])
def test_formats_with_loss_are_read_nearly(kind: str, options: dict[str, int]) -> None:
    found = pixels_of(saved(SCENE, kind, **options)).astype(int)
    assert np.abs(found - WANTED).mean() < 6


def test_other_formats_are_refused_by_content_whatever_they_are_called() -> None:
    assert "ICO" not in FORMATS
    for file in (saved(SCENE, "ICO"), saved(SCENE, "TGA"), saved(SCENE, "PDF"), b"", b"\x89PNG"):
        with pytest.raises(InvalidImage, match="expected an image of one of the formats"):
            pixels_of(file)
        with pytest.raises(InvalidImage):
            size_of(file)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_as_the_camera_says(orientation: int) -> None:
    # Expected from the EXIF standard's own words: where row 0 and column 0 are seen.
    turned = {
        1: WANTED,
        2: WANTED[:, ::-1],
        3: WANTED[::-1, ::-1],
        4: WANTED[::-1],
        5: WANTED.transpose(1, 0, 2),
        6: np.rot90(WANTED, -1),
        7: WANTED[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(WANTED),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    for kind in ("PNG", "TIFF"):
        assert (pixels_of(saved(SCENE, kind, exif=exif)) == turned).all()


def test_damaged_notes_of_the_camera_do_not_refuse_a_picture() -> None:
    file = saved(SCENE, "JPEG", exif=b"Exif\0\0nonsense")
    assert pixels_of(file).shape == WANTED.shape


def test_transparent_pixels_are_seen_on_white() -> None:
    clear = Image.new("RGBA", (2, 1))
    clear.putpixel((0, 0), (10, 20, 30, 255))
    clear.putpixel((1, 0), (10, 20, 30, 0))
    for image in (clear, clear.convert("PA")):
        assert pixels_of(saved(image, "TIFF" if image.mode == "PA" else "PNG")).tolist() == [
            [[10, 20, 30], [255, 255, 255]]
        ]
    grey = Image.new("LA", (1, 1), (0, 51))
    assert pixels_of(saved(grey)).tolist() == [[[204, 204, 204]]]
    palette = Image.new("P", (2, 1))
    palette.putpalette([0, 0, 0, 9, 8, 7])
    palette.putpixel((1, 0), 1)
    assert pixels_of(saved(palette, transparency=0)).tolist() == [[[255] * 3, [9, 8, 7]]]


def test_sixteen_bits_are_scaled_to_eight() -> None:
    deep = Image.fromarray(np.array([[0, 128, 257 * 100, 65535]], np.uint16))
    for kind in ("PNG", "TIFF", "PPM"):
        found = pixels_of(saved(deep, kind))
        assert found[0, :, 0].tolist() == [0, 0, 100, 255], kind


def test_grey_bilevel_palette_and_cmyk_become_three_colours() -> None:
    grey = SCENE.convert("L")
    assert (pixels_of(saved(grey)) == np.asarray(grey)[..., None]).all()
    bilevel = SCENE.convert("1")
    assert (pixels_of(saved(bilevel))[..., 0] == 255 * np.asarray(bilevel)).all()
    few = SCENE.quantize(8)
    assert (pixels_of(saved(few)) == np.asarray(few.convert("RGB"))).all()
    cmyk = SCENE.convert("CMYK")
    assert (pixels_of(saved(cmyk, "TIFF")) == np.asarray(cmyk.convert("RGB"))).all()


def test_floating_point_pixels_have_no_range_and_are_refused() -> None:
    with pytest.raises(InvalidImage, match="floating-point"):
        pixels_of(saved(Image.new("F", (3, 3)), "TIFF"))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_is_read(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    file = saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert (pixels_of(file) == [255, 0, 0]).all()


def test_the_size_of_a_bomb_is_told_without_decoding_it() -> None:
    """Hundreds of megabytes of pixels, and gigabytes, in a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", 12_000, 12_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    assert size_of(bomb + chunk(b"IEND", b"")) == (12_000, 12_000)
    worse = bomb.replace(head, struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    with pytest.raises(InvalidImage):
        size_of(worse)


@pytest.mark.filterwarnings("ignore")  # Pillow warns of odd files before it refuses them
@given(st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM"]), st.data())
def test_damaged_files_are_read_or_refused_and_nothing_else(kind: str, data: st.DataObject) -> None:
    file = bytearray(saved(SCENE.resize((24, 18)), kind))
    for _ in range(data.draw(st.integers(0, 4))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(file[: data.draw(st.integers(0, len(file)))])
    try:
        width, height = size_of(cut)
        if width * height < 1 << 16:
            assert pixels_of(cut).shape[2] == 3
    except InvalidImage:
        pass


def test_truncated_files_are_refused() -> None:
    for kind in ("PNG", "JPEG", "PPM", "BMP"):
        file = saved(SCENE, kind)
        with pytest.raises(InvalidImage, match="damaged or ends too early"):
            pixels_of(file[: len(file) * 2 // 3])


def test_resizing_is_pillows(tmp_path: Path) -> None:
    found = resized(WANTED, 50, 20, "bicubic")
    wanted = SCENE.resize((50, 20), Image.Resampling.BICUBIC)
    assert (found == np.asarray(wanted)).all()
    assert resized(WANTED, 120, 90, "nearest") is WANTED


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "L", "1", "P", "CMYK", "I;16"])
def test_colours_are_converted_strip_by_strip_without_a_seam(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.arange(90 * 120, dtype=np.uint16).reshape(90, 120) * 6)
    else:
        image = SCENE.convert(mode)
    file = saved(image, "TIFF" if mode == "CMYK" else "PNG")
    whole = pixels_of(file)
    monkeypatch.setattr(picture, "_STRIP_PIXELS", 7 * 120 + 1)
    assert (pixels_of(file) == whole).all()


SLOW = {
    "numbers as text": b"P3 2 1 255\n1 2 3 4 5 6\n",
    "an odd depth": b"P6 2 1 254\n" + bytes(6),
    # 50 million pixels in a row, of which the file says only that the row ends.
    "run lengths": struct.pack("<2sIHHI", b"BM", 64, 0, 0, 54 + 1024)
    + struct.pack("<IiiHHIIiiII", 40, 50_000_000, 1, 1, 8, 1, 0, 0, 0, 256, 0)
    + bytes(1024)
    + b"\1\1\0\0\0\1",
}


@pytest.mark.parametrize("file", SLOW.values(), ids=SLOW)
def test_what_would_be_decoded_in_python_is_refused_by_its_header(file: bytes) -> None:
    with pytest.raises(InvalidImage, match="save it as PNG"):
        size_of(file)


def test_a_jpeg_goes_over_the_picture_a_hundred_times_at_most() -> None:
    file = saved(SCENE, "JPEG", progressive=True)
    assert size_of(file) == SCENE.size
    scan = file.rindex(b"\xff\xda")
    with pytest.raises(InvalidImage, match="scans"):
        size_of(file[:-2] + file[scan:-2] * 100 + file[-2:])
