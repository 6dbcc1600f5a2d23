"""Excel workbooks."""

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO
from zipfile import ZipFile

from uploads.workflows.text.base import Job, Piece, reading
from uploads.workflows.text.charts import chart_title
from uploads.workflows.text.clean import one_line
from uploads.workflows.text.diagrams import diagram_text
from uploads.workflows.text.drawing import drawn_text
from uploads.workflows.text.opc import Package, choose, named, relation_id
from uploads.workflows.text.sheets import Box, tables
from uploads.workflows.text.zips import repack

_LABEL = "an Excel workbook"
# What Excel writes for programs that know no threads, beside the thread itself.
_SHADOW = "[Threaded comment]"


def convert(source: BinaryIO, job: Job) -> Iterator[Piece]:
    with TemporaryDirectory(dir=job.options.folder) as folder:
        copy = Path(folder, "copy.xlsx")
        with reading(_LABEL):
            yield from repack(source, copy, job, watch=_Cells)
        with reading(_LABEL, OSError), ZipFile(copy) as archive:
            beside = _Beside(Package(archive), job)
            yield from tables(copy, job, _LABEL, beside=beside.text)


class _Beside:
    """What lies on sheets beside the values of their cells."""

    def __init__(self, package: Package, job: Job) -> None:
        self._package = package
        self._job = job
        self._parts = {}
        with suppress(KeyError, ValueError):  # read without it: only the tables are told
            self._parts = dict(self._sheets(package.main_part()))

    def _sheets(self, main: str) -> Iterator[tuple[str, str]]:
        relations = self._package.relations(main)
        for sheet in named(self._package.root(main), "sheet"):
            if (relation := relations.get(relation_id(sheet))) is not None:
                yield sheet.get("name", ""), relation.target

    def text(self, sheet: str) -> str:
        """Comments, text boxes and titles of charts; the values of charts are in the cells."""
        part = self._parts.get(sheet)
        if part is None:
            return ""
        kinds = {
            "comments": ("The comments of a sheet", self._comments),
            "threadedComment": ("The comments of a sheet", self._comments),
            "drawing": ("The drawings of a sheet", self._drawing),
        }
        found = [
            self._job.attempt(
                kinds[relation.kind][0], partial(kinds[relation.kind][1], relation.target)
            )
            for relation in self._package.relations(part).values()
            if relation.kind in kinds
        ]
        return "\n\n".join(filter(None, found))

    def _comments(self, part: str) -> str:
        """ECMA-376 part 1, 18.7, and [MS-XLSX] 2.6.204 (threads)."""
        lines = []
        for comment in self._package.root(part).iter("{*}comment", "{*}threadedComment"):
            text = one_line("".join(each.text or "" for each in comment.iter("{*}t", "{*}text")))
            if text and not text.startswith(_SHADOW):
                lines.append(f"- **Comment on {comment.get('ref', '')}:** {text}")
        return "\n".join(lines)

    def _drawing(self, part: str) -> str:
        root = self._package.root(part)
        choose(root)
        boxes = ["\n\n".join(text for _l, text in drawn_text(box)) for box in named(root, "txBody")]
        relations = self._package.relations(part)
        targets = [
            relations[relation_id(chart)].target
            for chart in named(root, "chart")
            if relation_id(chart) in relations
        ]
        charts = [chart_title(self._package.root(target)) for target in targets]
        diagrams = [diagram_text(self._package, part, each) for each in named(root, "relIds")]
        titles = [f"**Chart:** {title}" for title in charts if title]
        return "\n\n".join(filter(None, [*boxes, *titles, *diagrams]))


class _Cells:
    """Measures a worksheet during parsing: `<row><c r="B7"><v>` (ECMA-376 part 1, 18.3.1)."""

    def __init__(self) -> None:
        self.box = Box()
        self.root = ""
        self.row = self.column = -1

    def __call__(self, name: str, attributes: dict[str, str]) -> None:
        name = name.rpartition(":")[2]
        self.root = self.root or name
        if self.root != "worksheet":
            return
        if name == "c":
            self._place(attributes.get("r", ""))
        elif name == "row":
            number = attributes.get("r", "")
            self.row = int(number) - 1 if number.isdecimal() else self.row + 1
            self.column = -1
        elif name in {"v", "is", "f"}:
            self.box.add(row=max(0, self.row), column=max(0, self.column))

    def _place(self, reference: str) -> None:
        """Move to a reference like `B7`; without one, to the right of the previous cell."""
        letters = reference.rstrip("0123456789")
        digits = reference[len(letters) :]
        if not (digits and letters.isascii() and letters.isalpha() and len(letters) <= 3):
            self.column += 1
            return
        self.row = int(digits[:10]) - 1
        self.column = -1
        for letter in letters.upper():
            self.column = (self.column + 1) * 26 + ord(letter) - ord("A")
