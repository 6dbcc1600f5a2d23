"""The task that makes another size and format of an image."""

import io
import logging
from pathlib import Path

import pytest
from PIL import Image, ImageCms
from pydantic import ValidationError

from uploads.tests import documents
from uploads.tests.workflow_context import context_for
from uploads.workflows.errors import TaskFailed
from uploads.workflows.tasks.transcode_image import transcode_image

_ORIENTATION = 0x0112
_MAKE = 0x010F


def _transcoded(path: Path, content_type: str = "image/png", **config: object):
    folder = path.parent / "run"
    folder.mkdir(exist_ok=True)
    context = context_for("transcode_image", path, content_type, folder=folder, config=config)
    return transcode_image(context)


def _saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize(
    ("format", "suffix"), [("png", ".png"), ("webp", ".webp"), ("jpeg", ".jpg")]
)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_images_of_each_format_become_each_format(tmp_path, kind, format, suffix):
    path = tmp_path / "my photo.img"
    path.write_bytes(documents.image_bytes(kind, (400, 200)))
    result = _transcoded(path, f"image/{kind.lower()}", format=format, max_width=100)
    assert result.filename == f"my photo{suffix}"
    with Image.open(result.file) as image:
        assert (image.format, image.size) == (format.upper(), (100, 50))
        image.load()
    assert f"{kind} 400 x 200" in result.output_text
    assert f"{format.upper()} 100 x 50" in result.output_text


def test_a_small_image_is_not_made_larger(tmp_path):
    path = _saved(tmp_path / "a.png", Image.new("RGB", (10, 20)))
    with Image.open(_transcoded(path).file) as image:
        assert image.size == (10, 20)


def test_a_photo_is_turned_upright_and_loses_its_metadata(tmp_path):
    exif = Image.Exif()
    exif[_ORIENTATION] = 6
    exif[_MAKE] = "Acme"
    source = Image.new("RGB", (400, 200), "red")
    source.paste("blue", (0, 0, 200, 200))
    path = _saved(tmp_path / "a.jpg", source, exif=exif, comment=b"Acme")
    for format in ("png", "webp", "jpeg"):
        result = _transcoded(path, "image/jpeg", format=format, max_width=50, max_height=200)
        content = result.file.read_bytes()
        assert b"Acme" not in content
        with Image.open(io.BytesIO(content)) as image:
            assert image.size == (50, 100)
            assert not image.getexif()
            red, _green, blue = image.convert("RGB").getpixel((25, 10))
            assert blue > red  # the left half is on top


def test_the_colour_profile_is_kept_or_not(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = _saved(tmp_path / "a.jpg", Image.new("RGB", (20, 20)), icc_profile=profile)
    with Image.open(_transcoded(path, "image/jpeg").file) as image:
        assert image.info["icc_profile"] == profile
    with Image.open(_transcoded(path, "image/jpeg", keep_color_profile=False).file) as image:
        assert "icc_profile" not in image.info


def test_transparency_becomes_the_background_in_jpeg_and_stays_elsewhere(tmp_path):
    path = _saved(tmp_path / "a.png", Image.new("RGBA", (20, 20), (0, 0, 0, 0)))
    with Image.open(_transcoded(path, format="jpeg", background="#00ff00").file) as image:
        red, green, blue = image.getpixel((5, 5))
        assert green > 250
        assert max(red, blue) < 5
    with Image.open(_transcoded(path, format="webp").file) as image:
        assert image.convert("RGBA").getchannel("A").getpixel((5, 5)) == 0


def test_a_transparent_colour_of_a_palette_stays_transparent(tmp_path):
    source = Image.new("P", (20, 20), 0)
    source.putpalette([255, 0, 0, 0, 0, 255])
    path = _saved(tmp_path / "a.gif", source, transparency=0)
    with Image.open(_transcoded(path, "image/gif", format="png").file) as image:
        assert image.convert("RGBA").getchannel("A").getpixel((5, 5)) == 0


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "F"])
@pytest.mark.parametrize("format", ["png", "webp", "jpeg"])
def test_every_mode_can_be_written(tmp_path, mode, format):
    source = Image.linear_gradient("L").convert("RGB" if mode == "P" else "L").convert(mode)
    path = _saved(tmp_path / "a.tiff", source)
    with Image.open(_transcoded(path, "image/tiff", format=format, max_width=64).file) as image:
        assert image.size == (64, 64)


def test_sixteen_bit_grey_keeps_its_shades(tmp_path):
    source = Image.new("I;16", (20, 20), 32_768)
    path = _saved(tmp_path / "a.png", source)
    with Image.open(_transcoded(path, format="png").file) as image:
        assert image.getpixel((5, 5)) == 128


def test_of_an_animation_the_first_frame_is_kept_and_the_log_says_so(tmp_path, caplog):
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    path = _saved(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:])
    with caplog.at_level(logging.INFO):
        result = _transcoded(path, "image/gif", format="png")
    assert "only the first" in caplog.text
    with Image.open(result.file) as image:
        assert image.convert("RGB").getpixel((5, 5)) == (255, 0, 0)


def test_a_bomb_of_few_bytes_is_not_decoded(tmp_path):
    path = documents.make_image_bomb(tmp_path / "a.png", side=50_000)
    assert path.stat().st_size < 10_000
    with pytest.raises(TaskFailed) as raised:
        _transcoded(path)
    assert raised.value.code == "image_bomb"
    assert "100,000,000 pixels" in raised.value.message


def test_an_image_of_more_pixels_than_configured_is_not_decoded(tmp_path):
    path = _saved(tmp_path / "a.png", Image.new("L", (1_100, 1_000)))
    with pytest.raises(TaskFailed) as raised:
        _transcoded(path, max_megapixels=1)
    assert raised.value.code == "image_bomb"
    usual = Image.MAX_IMAGE_PIXELS
    assert _transcoded(path, max_megapixels=2).file.exists()
    assert usual == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF"])
def test_an_image_that_was_cut_off_is_unreadable(tmp_path, kind):
    path = tmp_path / "a.img"
    content = documents.image_bytes(kind, (300, 300))
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(TaskFailed) as raised:
        _transcoded(path, f"image/{kind.lower()}")
    assert raised.value.code == "file_unreadable"


@pytest.mark.parametrize("content", [b"", b"no image", b"%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_what_is_no_image_is_unreadable(tmp_path, content):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(TaskFailed) as raised:
        _transcoded(path)
    assert raised.value.code == "file_unreadable"


@pytest.mark.parametrize(
    "config", [{"format": "exe"}, {"quality": 0}, {"max_width": 0}, {"background": "red"}]
)
def test_a_configuration_out_of_bounds_is_refused(tmp_path, config):
    path = _saved(tmp_path / "a.png", Image.new("RGB", (10, 10)))
    with pytest.raises(ValidationError):
        _transcoded(path, **config)
