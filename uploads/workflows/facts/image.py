"""Images, from their headers: pixels are not decoded."""

from PIL import ExifTags, Image

from uploads.workflows.facts.base import Facts, Subject, known
from uploads.workflows.facts.boxes import picture
from uploads.workflows.images import limited
from uploads.workflows.text.base import reading

# The only EXIF values that are reported: none reveals the place or the owner of the camera.
_EXIF = (
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.LensModel,
    ExifTags.Base.Software,
    ExifTags.Base.DateTime,
    ExifTags.Base.Orientation,
    ExifTags.Base.Artist,
    ExifTags.Base.Copyright,
    ExifTags.Base.ImageDescription,
)
_EXIF_OF_SHOT = (
    ExifTags.Base.DateTimeOriginal,
    ExifTags.Base.ExposureTime,
    ExifTags.Base.FNumber,
    ExifTags.Base.ISOSpeedRatings,
    ExifTags.Base.FocalLength,
)
_TEXT_MAX = 500
# Without formats that start other programs (EPS) and without rare ones.
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "ICO", "AVIF", "JPEG2000", "PPM")
_HEIF = {"image/heic", "image/heif", "image/heic-sequence", "image/heif-sequence"}
_PIXELS_MAX = 250_000_000  # some decoders allocate memory for all pixels when they open a file


def facts(subject: Subject) -> Facts:
    if subject.content_type in _HEIF:  # whose pixels no library here decodes
        with reading("a HEIC picture"):
            return picture(subject.source, subject.size_bytes)
    Image.init()
    formats = [name for name in _FORMATS if name in Image.OPEN]  # AVIF is not in every Pillow
    with (
        limited(pixels=_PIXELS_MAX),
        Image.open(subject.source, formats=formats) as image,
    ):
        return known(
            format=image.format,
            width=image.width,
            height=image.height,
            mode=image.mode,
            frames=getattr(image, "n_frames", 1),
            has_icc_profile="icc_profile" in image.info,
            exif=_exif(image),
        )


def _exif(image: Image.Image) -> dict[str, str | float]:
    exif = image.getexif()
    shot = exif.get_ifd(ExifTags.IFD.Exif)
    found = [(tag, exif.get(tag)) for tag in _EXIF] + [
        (tag, shot.get(tag)) for tag in _EXIF_OF_SHOT
    ]
    return {tag.name: _plain(value) for tag, value in found if value not in (None, "")}


def _plain(value: object) -> str | float:
    if isinstance(value, int):
        return value
    if isinstance(value, str):
        return value.strip("\0 ")[:_TEXT_MAX]
    try:
        return round(float(value), 6)  # type: ignore[arg-type]  # fractions, mostly
    except (TypeError, ValueError, ZeroDivisionError):
        return str(value)[:_TEXT_MAX]
