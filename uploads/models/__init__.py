from uploads.models.batches import BatchStatus, UploadBatch
from uploads.models.files import FileStatus, IngestFile
from uploads.models.sessions import PartStatus, SessionStatus, UploadPart, UploadSession

__all__ = [
    "BatchStatus",
    "FileStatus",
    "IngestFile",
    "PartStatus",
    "SessionStatus",
    "UploadBatch",
    "UploadPart",
    "UploadSession",
]
