from uploads.models.batches import BatchStatus, UploadBatch
from uploads.models.files import FileStatus, IngestFile
from uploads.models.sessions import PartOrder, SessionStatus, UploadPart, UploadSession
from uploads.models.workflows import (
    AttemptOutcome,
    RunStatus,
    RunTrigger,
    Workflow,
    WorkflowAttempt,
    WorkflowLogLine,
    WorkflowRun,
    WorkflowSecret,
)

__all__ = [
    "AttemptOutcome",
    "BatchStatus",
    "FileStatus",
    "IngestFile",
    "PartOrder",
    "RunStatus",
    "RunTrigger",
    "SessionStatus",
    "UploadBatch",
    "UploadPart",
    "UploadSession",
    "Workflow",
    "WorkflowAttempt",
    "WorkflowLogLine",
    "WorkflowRun",
    "WorkflowSecret",
]
