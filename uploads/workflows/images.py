"""Shared by all code that uses Pillow."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, UnidentifiedImageError

from uploads.workflows.errors import TaskFailed
from uploads.workflows.text.base import reading, unreadable

_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)


@contextmanager
def limited(*, pixels: int) -> Iterator[None]:
    """Around all that opens and decodes an image. Raises TaskFailed `image_bomb` for more pixels
    and `file_unreadable`."""
    usual, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, pixels
    try:
        with warnings.catch_warnings(), reading("an image", OSError):
            warnings.filterwarnings("ignore", module="PIL")  # about unusual but harmless metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            try:
                yield
            except _BOMBS as exc:
                raise TaskFailed(
                    "image_bomb",
                    f"The image was not decoded: it has more than {pixels:,} pixels.",
                ) from exc
            except UnidentifiedImageError as exc:
                raise unreadable("an image", "its format is not known") from exc
    finally:
        Image.MAX_IMAGE_PIXELS = usual
