"""What the portal does, in settings: receiving, S3, announcing, workflows, sight."""

from boot import values


class Portal:
    """A part of every configuration of `boot.settings`."""

    # --- Receiving -----------------------------------------------------------------------------
    FILE_UPLOAD_MAX_SIZE = values.Size(50 * 2**20)  # bytes, one-request uploads
    FILE_UPLOAD_TTL_HOURS = values.Integer(24)
    FILE_UPLOAD_ALLOWED_TYPES = values.TextList([])  # media types or "image/*"; empty = all
    FILE_UPLOAD_EXPIRY_NOTIFY_HOURS = values.Integer(1)
    PORTAL_MAX_FILE_SIZE = values.Size(2**40)  # bytes, resumable uploads
    PORTAL_CHUNK_SIZE = values.Size(8 * 2**20)
    PORTAL_CHUNK_SIZE_MIN = values.Size(256 * 2**10)
    PORTAL_CHUNK_SIZE_MAX = values.Size(5 * 2**30)
    PORTAL_SESSION_TTL_HOURS = values.Integer(24)  # of inactivity
    PORTAL_BATCH_IDLE_HOURS = values.Integer(24)  # an open batch is closed after so long
    PORTAL_MAX_TTL_HOURS = values.Integer(24 * 30)  # how far a file's expiry can be extended
    PORTAL_WAIT_PAST_EXPIRY_HOURS = values.Integer(72)  # so long a waiting run keeps its file
    PORTAL_AUDIT_DAYS = values.Integer(365)  # the audit trail goes back so far
    PORTAL_TOMBSTONE_DAYS = values.Integer(90)  # records of files that are gone are kept
    PORTAL_CONSUME_GRACE_SECONDS = values.Integer(300)  # how long the consumer may still read
    PORTAL_STALL_TIMEOUT_SECONDS = values.Integer(30)  # a client that is silent for so long is cut
    PORTAL_TRANSFER_MIN_RATE = values.Size(2**10)  # bytes a second of bodies and answers; 0: any
    PORTAL_TRANSFER_RATE_SECONDS = values.Integer(60)  # ... on average over so long
    PORTAL_TRANSFERS_PER_ACCOUNT = values.Integer(256)  # under way at once
    # Checks of what is uploaded, before it is stored. A virus scanner: clamd://host:port, or
    # clamd:///run/clamav/clamd.ctl; empty: none.
    PORTAL_SCANNER = values.Text("")
    PORTAL_SCANNER_MAX_SIZE = values.Size(25 * 2**20)  # bytes that it takes (StreamMaxLength)
    PORTAL_SCANNER_TIMEOUT_SECONDS = values.Integer(180)  # it may be silent for so long
    PORTAL_CHECK_WAIT_HOURS = values.Integer(72)  # so long a file waits while it cannot be checked
    PORTAL_QUARANTINE_HOURS = values.Integer(0)  # infected files are kept apart so long
    # What ZIP archives may declare to hold: bytes, times their own size, entries. 0: any.
    PORTAL_ARCHIVE_MAX_BYTES = values.Size(0)
    PORTAL_ARCHIVE_MAX_RATIO = values.Integer(0)
    PORTAL_ARCHIVE_MAX_ENTRIES = values.Integer(0)
    # What an account may keep and have under way at a time; 0: no limit. The admin has exceptions.
    PORTAL_QUOTA_BYTES = values.Size(0)
    PORTAL_QUOTA_FILES = values.Integer(0)
    PORTAL_QUOTA_UPLOADS = values.Integer(0)
    # How often in a minute an account may do it, as each web process counts; 0: any number. From
    # one client address five times as much.
    PORTAL_RATE_SESSIONS = values.Integer(12_000)
    PORTAL_RATE_FILES = values.Integer(60_000)  # small ones, each in one request
    PORTAL_RATE_RUNS = values.Integer(6_000)
    # The same for one client address: signed links, and tokens that are not valid.
    PORTAL_RATE_LINKS = values.Integer(60_000)
    PORTAL_RATE_TOKEN_FAILURES = values.Integer(600)
    PORTAL_STORAGE_CHECK_HOURS = values.Integer(24)  # rows and bytes are compared; 0: never
    PORTAL_DISK_RESERVE = values.Size(2**30)  # bytes of the disk that uploads leave free
    PORTAL_STORAGE = values.Text("local")
    PORTAL_DOORS = values.TextList(["tus", "openai"])  # beside the JSON API; "none": no other
    # Origins whose pages may use them, with a token, such as https://app.example.com; *: any.
    PORTAL_CORS_ORIGINS = values.TextList([])

    # --- S3, for uploads and for Django's media. Empty: boto's own default -----------------------
    AWS_STORAGE_BUCKET_NAME = values.Text("")
    AWS_S3_ENDPOINT_URL = values.Text("")
    AWS_S3_REGION_NAME = values.Text("")
    AWS_ACCESS_KEY_ID = values.Text("")  # none: the instance's role, or web identity
    AWS_SECRET_ACCESS_KEY = values.Text("")
    AWS_SESSION_TOKEN = values.Text("")
    AWS_S3_ADDRESSING_STYLE = values.Text("")
    AWS_CA_BUNDLE = values.File(None)
    AWS_QUERYSTRING_AUTH = values.Boolean(True)
    AWS_QUERYSTRING_EXPIRE = values.Integer(3600)  # seconds, of signed addresses in the store
    AWS_S3_FILE_OVERWRITE = values.Boolean(True)
    PORTAL_S3_PREFIX = values.Text("")  # before the names of all of the uploads' objects
    PORTAL_S3_ENCRYPTION = values.Text("")
    PORTAL_S3_KMS_KEY = values.Text("")
    PORTAL_S3_STORAGE_CLASS = values.Text("")
    PORTAL_S3_TAGS = values.Text("")
    PORTAL_S3_CHECKSUMS = values.Text("when_required")
    # Whether signed links lead to the store (redirect) or the portal sends the bytes (portal).
    PORTAL_DOWNLOADS = values.Text("redirect")
    PORTAL_DIRECT_UPLOADS = values.Boolean(True)  # clients may send parts to the store themselves

    # --- Announcing ----------------------------------------------------------------------------
    OUTBOX_SWEEP_INTERVAL_MINUTES = values.Integer(5)
    OUTBOX_RETENTION_HOURS = values.Integer(168)
    # Seconds to wait before each attempt, the first included; ±20 % jitter is added.
    PORTAL_RETRY_SCHEDULE = values.IntegerList(
        [0, 5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400]
    )
    PORTAL_WEBHOOK_ALLOWED_CIDRS = values.TextList([])
    PORTAL_WEBHOOK_ALLOW_LOOPBACK = False
    # Certificate authorities (PEM) that are trusted besides the system's and the public ones.
    PORTAL_CA_BUNDLE = values.File(None)
    PORTAL_WEBHOOK_TIMEOUT_SECONDS = values.Integer(30)
    # Attempts that one worker process has under way at once: in all, and at one endpoint.
    PORTAL_WEBHOOK_CONCURRENCY = values.Integer(256)
    PORTAL_WEBHOOK_CONCURRENCY_PER_ENDPOINT = values.Integer(64)
    # An endpoint is disabled after so many failed attempts in a row (over an hour at least), or so
    # many hours of nothing else. Staff hear of it at half. 0 switches a rule off.
    PORTAL_WEBHOOK_DISABLE_AFTER_FAILURES = values.Integer(1000)
    PORTAL_WEBHOOK_DISABLE_AFTER_HOURS = values.Integer(120)
    PORTAL_WEBHOOK_SECRET_OVERLAP_HOURS = values.Integer(24)  # a rotated secret signs on so long
    PORTAL_WEBHOOK_DETAIL_HOURS = values.Integer(72)  # headers and bodies of attempts are kept
    CLEANUP_UPLOADS_INTERVAL_HOURS = values.Integer(6)

    # --- Workflows -----------------------------------------------------------------------------
    WORKFLOW_CONCURRENCY = values.Integer(2)  # attempts that one worker has under way at once
    PORTAL_WORKFLOW_MEMORY = values.Size(2**30)  # bytes that an attempt may allocate
    PORTAL_WORKFLOW_RESULT_MAX = values.Size(256 * 2**20)  # bytes of a result, or temporary, file
    PORTAL_WORKFLOW_OUTPUT_MAX = values.Integer(65_536)  # characters of a run's output text
    # Seconds to wait after each failed attempt that may be repeated; the last one stays.
    PORTAL_WORKFLOW_RETRY_SCHEDULE = values.IntegerList([5, 60, 300])
    PORTAL_WORKFLOW_RETENTION_DAYS = values.Integer(90)  # records of ended runs are kept
    PORTAL_CURRENCY = values.Text("USD")  # of prices and costs
    # Further Django apps, by module; their AppConfig registers workflow tasks of their own.
    PORTAL_EXTRA_APPS = values.TextList([])

    # --- Sight -----------------------------------------------------------------------------------
    # Who may read /metrics: clients of these networks, and whoever has the token (empty: nobody).
    PORTAL_METRICS_NETWORKS = values.TextList(["127.0.0.1/32", "::1/128"])
    PORTAL_METRICS_TOKEN = values.Text("")
    PORTAL_LOG_FORMAT = values.Text("")  # json or text; empty: json in Production, else text
    PORTAL_LOG_LEVEL = values.Text("INFO")  # of the journal
