"""Which bucket, where, and how it is asked."""

from dataclasses import dataclass, field

from botocore.config import Config
from django.conf import settings

# What S3 itself sets: every part but the last, the number of parts, one PUT.
MIN_PART_BYTES = 5 * 2**20
MAX_PART_BYTES = 5 * 2**30
MAX_PARTS = 10_000
ATTEMPTS = 5  # of a request that can be repeated, with growing waits between them


@dataclass(frozen=True)
class S3Config:
    """Empty values are boto's own defaults: instance roles, web identity, AWS's endpoints."""

    bucket: str
    prefix: str = ""
    endpoint_url: str = ""
    region: str = ""
    access_key: str = ""
    secret_key: str = ""
    session_token: str = ""
    addressing_style: str = ""  # path, virtual, auto
    ca_bundle: str = ""  # a file of PEM
    checksums: str = "when_required"  # or when_supported
    encryption: str = ""  # AES256, aws:kms
    kms_key: str = ""
    storage_class: str = ""
    tags: str = ""  # name=value&name=value
    min_part_bytes: int = MIN_PART_BYTES
    append_part_bytes: int = 8 * 2**20
    put_bytes: int = 2**30  # a whole object that is larger is sent in parts of so many
    timeout_seconds: float = 60
    attempts: int = ATTEMPTS

    def botocore(self) -> Config:
        return Config(
            region_name=self.region or None,
            signature_version="s3v4",
            s3={"addressing_style": self.addressing_style or "auto"},  # type: ignore[arg-type]
            request_checksum_calculation=self.checksums,  # type: ignore[arg-type]
            response_checksum_validation=self.checksums,  # type: ignore[arg-type]
            retries={"mode": "standard", "total_max_attempts": self.attempts},
            connect_timeout=10,
            read_timeout=self.timeout_seconds,
            max_pool_connections=64,
        )

    @property
    def of_objects(self) -> dict[str, str]:
        """What every new object is made with, as boto names it."""
        given = {
            "ServerSideEncryption": self.encryption,
            "SSEKMSKeyId": self.kms_key,
            "StorageClass": self.storage_class,
            "Tagging": self.tags,
        }
        return {name: value for name, value in given.items() if value}


@dataclass(frozen=True)
class Names:
    """Where in the bucket something lies. Keys are random at their end, which spreads the load."""

    config: S3Config = field(repr=False)

    def object(self, key: str) -> str:
        return f"{self.config.prefix}files/{key}"

    def piece(self, key: str, name: str) -> str:
        """Of what is there for a time only."""
        return f"{self.pieces(key)}{name}"

    def pieces(self, key: str) -> str:
        return f"{self.config.prefix}incoming/{key}/"


def configuration() -> S3Config:
    """The bucket that the settings name."""
    return S3Config(
        bucket=settings.AWS_STORAGE_BUCKET_NAME,
        prefix=settings.PORTAL_S3_PREFIX,
        endpoint_url=settings.AWS_S3_ENDPOINT_URL,
        region=settings.AWS_S3_REGION_NAME,
        access_key=settings.AWS_ACCESS_KEY_ID,
        secret_key=settings.AWS_SECRET_ACCESS_KEY,
        session_token=settings.AWS_SESSION_TOKEN,
        addressing_style=settings.AWS_S3_ADDRESSING_STYLE,
        ca_bundle=str(settings.AWS_CA_BUNDLE or ""),
        checksums=settings.PORTAL_S3_CHECKSUMS,
        encryption=settings.PORTAL_S3_ENCRYPTION,
        kms_key=settings.PORTAL_S3_KMS_KEY,
        storage_class=settings.PORTAL_S3_STORAGE_CLASS,
        tags=settings.PORTAL_S3_TAGS,
    )
