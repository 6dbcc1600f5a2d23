"""What can be wrong between rows and bytes."""

from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID


class Kind(StrEnum):
    BYTES_WITHOUT_ROW = "bytes_without_row"
    ROW_WITHOUT_BYTES = "row_without_bytes"
    WRONG_SIZE = "wrong_size"
    WRONG_DIGEST = "wrong_digest"
    UPLOAD_WITHOUT_BYTES = "upload_without_bytes"
    SPOOL_WITHOUT_UPLOAD = "spool_without_upload"


MENDABLE = frozenset(Kind) - {Kind.WRONG_SIZE, Kind.WRONG_DIGEST}


@dataclass(frozen=True)
class Finding:
    """`file_id` is of the row, where there is one. `token` is the store's, of an upload."""

    kind: Kind
    backend: str
    key: str
    bucket: str = ""
    file_id: UUID | None = None
    expected: str = ""
    found: str = ""
    token: str = ""

    def __str__(self) -> str:
        where = f"{self.bucket}/{self.key}" if self.bucket else self.key
        values = f": {self.found} instead of {self.expected}" if self.expected else ""
        return f"{self.kind.replace('_', ' ')}: {where} in {self.backend}{values}"


@dataclass
class Tally:
    """What was looked at: objects of the store and their bytes, and rows."""

    objects: int = 0
    size_bytes: int = 0
    rows: int = 0
    findings: dict[str, int] = field(default_factory=dict)

    def count(self, finding: Finding) -> None:
        self.findings[finding.kind] = self.findings.get(finding.kind, 0) + 1
