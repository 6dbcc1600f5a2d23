"""A task that resizes and converts images."""

from pathlib import PurePath
from typing import Annotated, Any, Literal

from PIL import ExifTags, Image, ImageOps
from pydantic import Field

from uploads.workflows.context import RunContext, WorkflowResult
from uploads.workflows.images import limited
from uploads.workflows.registry import ADJUSTABLE, TaskConfig, workflow_task

_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
_SUFFIXES = {"png": ".png", "webp": ".webp", "jpeg": ".jpg"}
_ON_ITS_SIDE = {5, 6, 7, 8}  # EXIF orientations (CIPA DC-008, 4.6.4)
_PIXELS_PER_MEGAPIXEL = 1_000_000

Side = Annotated[int, Field(ge=1, le=16_383)]  # the largest size of WebP


class TranscodeImageConfig(TaskConfig):
    format: Literal["png", "webp", "jpeg"] = Field(
        "webp", title="Format", json_schema_extra=ADJUSTABLE
    )
    max_width: Side = Field(
        1_600,
        title="Width at most (pixels)",
        description="Larger images are made smaller; none is made larger.",
        json_schema_extra=ADJUSTABLE,
    )
    max_height: Side = Field(1_600, title="Height at most (pixels)", json_schema_extra=ADJUSTABLE)
    quality: int = Field(
        85,
        ge=1,
        le=100,
        title="Quality",
        description="Of WebP and JPEG: 1 is the smallest file, 100 the best image.",
        json_schema_extra=ADJUSTABLE,
    )
    keep_color_profile: bool = Field(
        True, title="Keep the colour profile", json_schema_extra=ADJUSTABLE
    )
    background: str = Field(
        "#ffffff",
        pattern="^#[0-9a-fA-F]{6}$",
        title="Background",
        description="What transparent parts become in JPEG, for example #ffffff.",
        json_schema_extra=ADJUSTABLE,
    )
    max_megapixels: int = Field(
        100, ge=1, le=1_000, title="Megapixels at most", description="Larger images fail."
    )


@workflow_task(
    "transcode_image",
    accepts=("image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp", "image/tiff"),
    config=TranscodeImageConfig,
)
def transcode_image(context: RunContext[TranscodeImageConfig]) -> WorkflowResult:
    """Makes a smaller or normalised PNG, WebP or JPEG of an image, without its metadata."""
    config = context.config
    suffix = _SUFFIXES[config.format]
    result = context.folder / f"image{suffix}"
    with (
        limited(pixels=config.max_megapixels * _PIXELS_PER_MEGAPIXEL),
        context.open() as source,
        Image.open(source, formats=_FORMATS) as image,
    ):
        before = f"{image.format} {image.width} x {image.height}"
        context.progress(10, before)
        smaller = _fitted(image, context)
    profile = smaller.info.get("icc_profile") if config.keep_color_profile else None
    ready = _in_mode_for(smaller, config)
    if _family(ready.mode) != _family(smaller.mode):
        profile = None  # a profile describes other colours after the conversion
    ready.info.clear()  # some formats would write its comments
    context.progress(70, "writing")
    with result.open("wb") as target:
        ready.save(target, config.format.upper(), icc_profile=profile, **_save_options(config))
    after = f"{config.format.upper()} {ready.width} x {ready.height}"
    return WorkflowResult(
        output_text=f"{before} ({context.file.size_bytes:,} bytes) became "
        f"{after} ({result.stat().st_size:,} bytes).\n",
        file=result,
        filename=(PurePath(context.file.filename).stem or "image") + suffix,
    )


def _fitted(image: Image.Image, context: RunContext[TranscodeImageConfig]) -> Image.Image:
    """Rotate and shrink. JPEG is decoded at a fraction of its size, which takes less memory."""
    config = context.config
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        context.logger.info("Of the %s frames, only the first is kept.", frames)
    box = (config.max_width, config.max_height)
    if image.getexif().get(ExifTags.Base.Orientation, 1) in _ON_ITS_SIDE:
        box = (config.max_height, config.max_width)
    image.draft(None, box)
    if image.mode.startswith("I"):
        image = _eight_bits(image)
    elif image.mode in {"P", "PA"} or "transparency" in image.info:
        image = image.convert("RGBA")  # colours of a palette cannot be interpolated
    image.thumbnail(box, Image.Resampling.LANCZOS)
    ImageOps.exif_transpose(image, in_place=True)
    return image


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey to 8 bits; Pillow's conversion would clip values above 255."""
    return image.point(lambda value: value * (1 / 256)).convert("L")


def _in_mode_for(image: Image.Image, config: TranscodeImageConfig) -> Image.Image:
    if not image.has_transparency_data:
        return image if image.mode in {"L", "RGB"} else image.convert("RGB")
    image = image.convert("RGBA")
    if config.format != "jpeg":
        return image
    ground = Image.new("RGB", image.size, config.background)
    ground.paste(image, mask=image.getchannel("A"))
    return ground


def _family(mode: str) -> str:
    if mode in {"RGB", "RGBA", "P", "PA", "RGBX"}:
        return "RGB"
    return "grey" if mode in {"L", "LA", "1", "I", "I;16"} else mode


def _save_options(config: TranscodeImageConfig) -> dict[str, Any]:
    match config.format:
        case "png":
            return {"optimize": True}
        case "webp":
            return {"quality": config.quality, "method": 4}
        case "jpeg":
            return {"quality": config.quality, "optimize": True, "progressive": True}
