"""Files in a bucket of an S3-compatible store: `files/` for whole ones, `incoming/` for pieces that
are there for a time only.

An upload is a multipart upload of the store, and a part streams through without being kept here.
Which uploads there are, and who may write, is in rows (`uploads.models.stores`), so that any
machine takes any part.
"""

from functools import cache

from uploads.storage.base import Storage
from uploads.storage.leases import LEASE_SECONDS, LeaseLocks
from uploads.storage.s3.bucket import Bucket
from uploads.storage.s3.config import S3Config, configuration
from uploads.storage.s3.objects import S3Objects
from uploads.storage.s3.rows import BACKEND
from uploads.storage.s3.uploads import S3Uploads

__all__ = ["S3Config", "configuration", "s3_storage"]


@cache
def s3_storage(config: S3Config, *, lease_seconds: float = LEASE_SECONDS) -> Storage:
    bucket = Bucket(config)
    locks = LeaseLocks(lease_seconds=lease_seconds)
    return Storage(BACKEND, S3Uploads(bucket, locks), S3Objects(bucket), locks)
