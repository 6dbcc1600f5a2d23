"""Excel 97 workbooks. Their sheets have at most 65,536 rows and 256 columns."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from uploads.workflows.text.base import Job, Piece, check_fits_memory
from uploads.workflows.text.sheets import tables


def convert(source: BinaryIO, job: Job) -> Iterator[Piece]:
    check_fits_memory(source, "An Excel 97 workbook")
    with TemporaryDirectory(dir=job.options.folder) as folder:
        copy = Path(folder, "copy.xls")
        with copy.open("wb") as target:
            shutil.copyfileobj(source, target)
        yield from tables(copy, job, "an Excel 97 workbook")
