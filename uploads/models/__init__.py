from uploads.models.batches import BatchStatus, UploadBatch
from uploads.models.checks import StorageCheck
from uploads.models.files import FileStatus, IngestFile
from uploads.models.grants import UploadGrant
from uploads.models.holds import BytesHold
from uploads.models.limits import AccountLimits
from uploads.models.sessions import PartOrder, SessionStatus, Transfer, UploadPart, UploadSession
from uploads.models.shares import ShareLink
from uploads.models.stores import LeftObject, RangeLease, StoreUpload
from uploads.models.usage import UsageShare
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
    "AccountLimits",
    "AttemptOutcome",
    "BatchStatus",
    "BytesHold",
    "FileStatus",
    "IngestFile",
    "LeftObject",
    "PartOrder",
    "RangeLease",
    "RunStatus",
    "RunTrigger",
    "SessionStatus",
    "ShareLink",
    "StorageCheck",
    "StoreUpload",
    "Transfer",
    "UploadBatch",
    "UploadGrant",
    "UploadPart",
    "UploadSession",
    "UsageShare",
    "Workflow",
    "WorkflowAttempt",
    "WorkflowLogLine",
    "WorkflowRun",
    "WorkflowSecret",
]
