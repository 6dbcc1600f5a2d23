"""A client of Doorito, the file ingest portal: upload, download, batches, events, workflows."""

from doorito_client.aio import AsyncClient
from doorito_client.client import Client
from doorito_client.errors import (
    DigestDiffers,
    DooritoError,
    FileChanged,
    NoAnswer,
    PortalError,
)
from doorito_client.results import (
    AccountUsage,
    Batch,
    Consumption,
    Event,
    File,
    Run,
    RunDetail,
)
from doorito_client.uploading import Outcome, Upload

__version__ = "0.1.0"

__all__ = [
    "AccountUsage",
    "AsyncClient",
    "Batch",
    "Client",
    "Consumption",
    "DigestDiffers",
    "DooritoError",
    "Event",
    "File",
    "FileChanged",
    "NoAnswer",
    "Outcome",
    "PortalError",
    "Run",
    "RunDetail",
    "Upload",
]
