"""The client of one bucket, and bodies that are sent to it as they come."""

import http.client
import select
import ssl
import threading
from collections import deque
from functools import cache
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import boto3
import certifi

from uploads.storage.s3.config import S3Config
from uploads.storage.s3.errors import code_in, refusal, store_errors_explained

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_URL_SECONDS = 3600  # a body must begin to arrive within
_ANSWER_BYTES = 64 * 2**10
_IDLE_CONNECTIONS = 64


@cache
def client_of(config: S3Config) -> "S3Client":
    """Made at the first use, in the process that uses it. Threads share it."""
    with store_errors_explained():
        return boto3.session.Session().client(
            "s3",
            endpoint_url=config.endpoint_url or None,
            aws_access_key_id=config.access_key or None,
            aws_secret_access_key=config.secret_key or None,
            aws_session_token=config.session_token or None,
            verify=config.ca_bundle or None,
            config=config.botocore(),
        )


class Body:
    """Sends a body of known length to the store as it comes, without keeping any of it.

    boto asks a body for its bytes and may ask again; ours come once, from a client's connection.
    So boto signs the request, and it is sent here. The last byte waits for `finish`: until then
    the store keeps nothing.
    """

    def __init__(self, config: S3Config, operation: str, *, size_bytes: int, **values: Any) -> None:
        self._config = config
        self._left = size_bytes
        self._held = b""
        with store_errors_explained():
            url, self._headers = signed(config, operation, size_bytes=size_bytes, **values)
        self._address = urlsplit(url)
        self._connection: http.client.HTTPConnection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:  # unfinished: the store throws away what it got
            self._connection.close()

    def send(self, block: memoryview) -> None:
        """Raises OSError for more than was announced, ServiceUnavailable and the like."""
        if block.nbytes > self._left:
            raise OSError("the body is longer than was announced")
        if not block.nbytes:
            return
        self._left -= block.nbytes
        if not self._left:
            self._held = bytes(block[-1:])
            block = block[:-1]
        self._send(block)

    def finish(self) -> str:
        """The ETag. Raises OSError for less than was announced."""
        if self._left:
            raise OSError(f"the body ends {self._left} bytes early")
        self._send(memoryview(self._held))
        with store_errors_explained():
            connection = self._opened()
            try:
                return self._answer(connection)
            except OSError as exc:
                raise http.client.HTTPException(str(exc)) from exc

    def _send(self, block: memoryview) -> None:
        with store_errors_explained():
            connection = self._opened()
            try:
                connection.send(block)
            except OSError as exc:
                # It may have said why before it stopped to listen.
                self._answer(connection)
                raise http.client.HTTPException(str(exc)) from exc

    def _opened(self) -> http.client.HTTPConnection:
        if self._connection is None:
            self._connection = _Connections.of(self._config).lend(
                self._address.scheme, self._address.netloc
            )
            try:
                self._begin(self._connection)
            except ssl.SSLCertVerificationError:
                raise
            except OSError as exc:
                raise http.client.HTTPException(str(exc)) from exc
        return self._connection

    def _begin(self, connection: http.client.HTTPConnection) -> None:
        path = f"{self._address.path}?{self._address.query}"
        connection.putrequest("PUT", path, skip_accept_encoding=True)
        for name, value in self._headers.items():
            connection.putheader(name, value)
        connection.endheaders()

    def _answer(self, connection: http.client.HTTPConnection) -> str:
        try:
            response = connection.getresponse()
            body = response.read(_ANSWER_BYTES)
        except OSError as exc:
            raise http.client.HTTPException(str(exc)) from exc
        if response.status != 200:
            code = code_in(body.decode(errors="replace"), status=response.status)
            raise refusal(code, status=response.status)
        self._connection = None
        if response.will_close or not response.isclosed():
            connection.close()
        else:
            _Connections.of(self._config).give_back(
                self._address.scheme, self._address.netloc, connection
            )
        return response.headers.get("ETag", "")


def signed(
    config: S3Config,
    operation: str,
    *,
    size_bytes: int,
    expires_seconds: int = _URL_SECONDS,
    **values: Any,
) -> tuple[str, dict[str, str]]:
    """An address to PUT exactly `size_bytes` to, and the headers that go with it."""
    client = client_of(config)
    url = client.generate_presigned_url(
        operation,
        Params={"Bucket": config.bucket, "ContentLength": size_bytes, **values},
        ExpiresIn=expires_seconds,
    )
    names = {
        "ServerSideEncryption": "x-amz-server-side-encryption",
        "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
        "StorageClass": "x-amz-storage-class",
        "Tagging": "x-amz-tagging",
    }
    headers = {names[name]: str(value) for name, value in values.items() if name in names}
    return url, {"Content-Length": str(size_bytes), **headers}


class _Connections:
    """Idle connections to the store, for bodies that we send ourselves."""

    def __init__(self, config: S3Config) -> None:
        self._config = config
        self._idle: dict[tuple[str, str], deque[http.client.HTTPConnection]] = {}
        self._lock = threading.Lock()
        self._tls = ssl.create_default_context(cafile=config.ca_bundle or certifi.where())

    @staticmethod
    @cache
    def of(config: S3Config) -> "_Connections":
        return _Connections(config)

    def lend(self, scheme: str, host: str) -> http.client.HTTPConnection:
        with self._lock:
            idle = self._idle.setdefault((scheme, host), deque())
            while idle:
                connection = idle.pop()
                if _is_usable(connection):
                    return connection
                connection.close()
        timeout = self._config.timeout_seconds
        if scheme == "https":
            return http.client.HTTPSConnection(host, timeout=timeout, context=self._tls)
        return http.client.HTTPConnection(host, timeout=timeout)

    def give_back(self, scheme: str, host: str, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            idle = self._idle.setdefault((scheme, host), deque())
            if len(idle) < _IDLE_CONNECTIONS:
                idle.append(connection)
                return
        connection.close()


def _is_usable(connection: http.client.HTTPConnection) -> bool:
    """Whether the store has not closed it meanwhile."""
    socket = connection.sock
    if socket is None:
        return False
    poll = select.poll()
    poll.register(socket, select.POLLIN)
    return not poll.poll(0)
