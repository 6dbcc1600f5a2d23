"""Turns what boto, and the store itself, say into our errors."""

import http.client
import logging
import random
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectionError,
    EndpointConnectionError,
    HTTPClientError,
    IncompleteReadError,
    InvalidEndpointConfigurationError,
    NoCredentialsError,
    PartialCredentialsError,
    ResponseStreamingError,
    SSLError,
)
from urllib3.exceptions import HTTPError

from common.errors import DooritoError, InsufficientStorage, ServiceUnavailable
from uploads.storage.refusals import upload_missing

logger = logging.getLogger(__name__)

BUSY_SECONDS = (2, 6)  # spread, so that all do not come back at once
_FAILED_SECONDS = 60
_FULL_SECONDS = 3600
_CODE = re.compile(r"<Code>([A-Za-z0-9.]+)</Code>")

_SETTINGS = {
    "NoSuchBucket": "there is no bucket of this name: see AWS_STORAGE_BUCKET_NAME",
    "InvalidBucketName": "this is no bucket's name: see AWS_STORAGE_BUCKET_NAME",
    "InvalidAccessKeyId": "it does not know the key: see AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "the secret key is another one: see AWS_SECRET_ACCESS_KEY",
    "ExpiredToken": "the credentials have expired: see AWS_SESSION_TOKEN",
    "InvalidToken": "the session token is not valid: see AWS_SESSION_TOKEN",
    "AccessDenied": "these credentials may not do it: see AWS_ACCESS_KEY_ID, and the policy that "
    "`doorito storage s3-setup` prints",
    "AllAccessDisabled": "the bucket is closed: see AWS_STORAGE_BUCKET_NAME",
    "AuthorizationHeaderMalformed": "the bucket is in another region: see AWS_S3_REGION_NAME",
    "PermanentRedirect": "the bucket is elsewhere: see AWS_S3_REGION_NAME and AWS_S3_ENDPOINT_URL",
    "IllegalLocationConstraintException": "the bucket is in another region: see AWS_S3_REGION_NAME",
    "RequestTimeTooSkewed": "this machine's clock is wrong",
    "InvalidStorageClass": "it has no such storage class: see PORTAL_S3_STORAGE_CLASS",
    "InvalidTag": "it does not take these tags: see PORTAL_S3_TAGS",
    "301": "the bucket is elsewhere: see AWS_S3_REGION_NAME and AWS_S3_ENDPOINT_URL",
    "400": "it refuses the request: see AWS_S3_REGION_NAME and AWS_SECRET_ACCESS_KEY",
    "403": "these credentials may not do it: see AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "404": "there is no bucket of this name: see AWS_STORAGE_BUCKET_NAME",
}
_FULL = {"QuotaExceeded", "XMinioStorageFull", "InsufficientCapacity", "StorageFull", "507"}
_BUSY = {"RequestTimeout", "OperationAborted", "RequestLimitExceeded", "BandwidthLimitExceeded"}
_GONE_UPLOAD = {"NoSuchUpload"}
MISSING_OBJECT = {"NoSuchKey", "404", "NotFound"}


@contextmanager
def store_errors_explained() -> Iterator[None]:
    """Raises NotFound `upload_missing`, InsufficientStorage `no_room`, ServiceUnavailable
    `storage_busy` (worth another try) or `storage_failed` (its administrator has to look).
    """
    try:
        yield
    except ClientError as exc:
        raise refusal(code_of(exc), status=status_of(exc)) from exc
    except (NoCredentialsError, PartialCredentialsError) as exc:
        raise _failed("there are no credentials: see AWS_ACCESS_KEY_ID") from exc
    except (SSLError, ssl.SSLCertVerificationError) as exc:
        raise _failed("its certificate is not trusted: see AWS_CA_BUNDLE") from exc
    except (
        ConnectionError,
        ConnectionClosedError,
        EndpointConnectionError,
        HTTPClientError,
        IncompleteReadError,
        ResponseStreamingError,
        HTTPError,
        http.client.HTTPException,
    ) as exc:
        raise busy("It does not answer") from exc
    except InvalidEndpointConfigurationError as exc:
        raise _failed(f"{exc}: see AWS_S3_ENDPOINT_URL") from exc
    except BotoCoreError as exc:
        raise _failed(str(exc)) from exc
    except ValueError as exc:  # boto's of an endpoint that is no address
        if "endpoint" not in str(exc).lower():
            raise
        raise _failed("it has no such address: see AWS_S3_ENDPOINT_URL") from exc


def refusal(code: str, *, status: int) -> DooritoError:
    """The error for an answer of the store with `code` (S3's own, or the status again)."""
    if code in _GONE_UPLOAD:
        return upload_missing()
    if code in _FULL or status == 507:
        return InsufficientStorage(
            "no_room", "The portal's store has no room for this file.", retry_after=_FULL_SECONDS
        )
    if status in {429} or status >= 500 or code in _BUSY or "Throttl" in code or code == "SlowDown":
        return busy(f"It answered {code}")
    return _failed(_SETTINGS.get(code, f"it answered {code}"))


def busy(said: str) -> ServiceUnavailable:
    logger.warning("The store is busy. %s.", said)
    return ServiceUnavailable(
        "storage_busy",
        "The portal's store cannot take it just now; try again.",
        retry_after=random.randint(*BUSY_SECONDS),  # noqa: S311
    )


def code_of(exc: ClientError) -> str:
    return str(exc.response.get("Error", {}).get("Code", ""))


def status_of(exc: ClientError) -> int:
    return int(exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500))


def code_in(body: str, *, status: int) -> str:
    """The code in an answer's XML, else its status."""
    match = _CODE.search(body)
    return match[1] if match else str(status)


def _failed(said: str) -> ServiceUnavailable:
    return ServiceUnavailable(
        "storage_failed",
        f"The portal's store cannot be used: {said}. Its administrator has to look at it.",
        retry_after=_FAILED_SECONDS,
    )
