"""Two S3 servers of independent make, each run in a thread for all tests that want one.

moto checks sizes of parts as AWS does, and no signatures; nanio checks signatures, and no sizes.
"""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import uvicorn
from moto.s3 import models as moto_models
from moto.server import ThreadedMotoServer
from nanio.app import build_app
from nanio.auth.credentials import StaticCredentialResolver
from nanio.config import Settings

from common.ids import uuid7
from uploads import storage
from uploads.storage import Storage
from uploads.storage.s3 import S3Config, s3_storage
from uploads.storage.s3.client import client_of

KEY, SECRET = "AKIDDOORITOTESTS", "a-secret-of-the-tests-only"
BUCKET = "doorito-tests"
MIN_PART_BYTES = 8  # of the servers here; S3's own is 5 MiB
LEASE_SECONDS = 1.0
SERVERS: dict[str, list[pytest.MarkDecorator]] = {"moto": [], "nanio": [pytest.mark.interop]}
EACH_SERVER = [pytest.param(name, marks=marks) for name, marks in SERVERS.items()]


@dataclass(frozen=True)
class S3Server:
    name: str
    url: str

    @property
    def config(self) -> S3Config:
        """A corner of its bucket for one test."""
        return S3Config(
            bucket=BUCKET,
            prefix=f"{uuid7().hex}/",
            endpoint_url=self.url,
            region="us-east-1",
            access_key=KEY,
            secret_key=SECRET,
            addressing_style="path",
            min_part_bytes=MIN_PART_BYTES,
            append_part_bytes=MIN_PART_BYTES,
            attempts=2,
            timeout_seconds=20,
        )


def storage_of(config: S3Config) -> Storage:
    return s3_storage(config, lease_seconds=LEASE_SECONDS)


def names_in(config: S3Config) -> list[str]:
    """What is in the corner of a test, parts of unfinished uploads included."""
    client = client_of(config)
    prefix = config.prefix
    objects = client.list_objects_v2(Bucket=config.bucket, Prefix=prefix).get("Contents", [])
    uploads = client.list_multipart_uploads(Bucket=config.bucket, Prefix=prefix)
    return [found["Key"].removeprefix(prefix) for found in objects] + [
        f"{found['Key'].removeprefix(prefix)} (unfinished)"
        for found in uploads.get("Uploads", [])
        if found["Key"].startswith(prefix)
    ]


@contextmanager
def to_s3(server: S3Server, settings) -> Iterator[S3Config]:
    """A corner of the server's bucket, with parts as small as tests have them."""
    config = server.config
    configured = storage._makers["s3"]
    storage.register("s3", lambda: storage_of(config))
    settings.PORTAL_STORAGE = "s3"
    settings.AWS_STORAGE_BUCKET_NAME = config.bucket
    try:
        yield config
    finally:
        storage.register("s3", configured)


@contextmanager
def running(name: str) -> Iterator[S3Server]:
    with {"moto": _moto, "nanio": _nanio}[name]() as url:
        server = S3Server(name, url)
        client_of(replace(server.config, prefix="")).create_bucket(Bucket=BUCKET)
        yield server


@contextmanager
def _moto() -> Iterator[str]:
    moto_models.S3_UPLOAD_PART_MIN_SIZE = MIN_PART_BYTES
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@contextmanager
def _nanio() -> Iterator[str]:
    with TemporaryDirectory(prefix="nanio-") as folder, socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        settings = Settings(
            data_dir=Path(folder), credentials=StaticCredentialResolver({KEY: SECRET})
        )
        config = uvicorn.Config(
            build_app(settings), log_config=None, access_log=False, lifespan="on"
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = server.force_exit = True
            thread.join()
