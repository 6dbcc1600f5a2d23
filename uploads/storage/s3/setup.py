"""What a bucket has to be set up with, and does not know by itself."""

from typing import Any

from botocore.exceptions import ClientError

from uploads.storage.s3.client import client_of
from uploads.storage.s3.config import S3Config
from uploads.storage.s3.errors import code_of, store_errors_explained

_ABORT_DAYS = 7  # longer than any session that is going on
_RULE = "doorito-unfinished-uploads"
_NO_RULES = {"NoSuchLifecycleConfiguration", "404"}
_NO_CORS = {"NoSuchCORSConfiguration", "404"}


def cors_rule(origin: str) -> dict[str, Any]:
    """Pages of the portal may send parts, and read their ETags."""
    return {
        "ID": "doorito",
        "AllowedOrigins": [origin],
        "AllowedMethods": ["PUT", "GET", "HEAD"],
        "AllowedHeaders": ["*"],
        "ExposeHeaders": ["ETag"],
        "MaxAgeSeconds": 3600,
    }


def lifecycle_rule(config: S3Config) -> dict[str, Any]:
    """A last net under unfinished uploads, which the portal aborts by itself."""
    return {
        "ID": _RULE,
        "Status": "Enabled",
        "Filter": {"Prefix": f"{config.prefix}files/"},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": _ABORT_DAYS},
    }


def policy(config: S3Config) -> dict[str, Any]:
    """The least that the portal needs, as an IAM policy."""
    bucket = f"arn:aws:s3:::{config.bucket}"
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["s3:ListBucket", "s3:ListBucketMultipartUploads"],
                "Resource": bucket,
            },
            {
                "Effect": "Allow",
                "Action": [
                    "s3:GetObject",
                    "s3:PutObject",
                    "s3:PutObjectTagging",
                    "s3:DeleteObject",
                    "s3:AbortMultipartUpload",
                    "s3:ListMultipartUploadParts",
                ],
                "Resource": f"{bucket}/{config.prefix}*",
            },
        ],
    }


def apply(config: S3Config, *, origin: str) -> None:
    """Set CORS and lifecycle; rules of others stay. Raises ServiceUnavailable."""
    client: Any = client_of(config)
    with store_errors_explained():
        others = _kept(client.get_bucket_cors, config, "CORSRules", _NO_CORS, ours="doorito")
        client.put_bucket_cors(
            Bucket=config.bucket, CORSConfiguration={"CORSRules": [*others, cors_rule(origin)]}
        )
        others = _kept(
            client.get_bucket_lifecycle_configuration, config, "Rules", _NO_RULES, ours=_RULE
        )
        client.put_bucket_lifecycle_configuration(
            Bucket=config.bucket,
            LifecycleConfiguration={"Rules": [*others, lifecycle_rule(config)]},
        )


def _kept(
    ask: Any, config: S3Config, name: str, none: set[str], *, ours: str
) -> list[dict[str, Any]]:
    try:
        rules = ask(Bucket=config.bucket).get(name, [])
    except ClientError as exc:
        if code_of(exc) not in none:
            raise
        return []
    return [rule for rule in rules if rule.get("ID") != ours]
