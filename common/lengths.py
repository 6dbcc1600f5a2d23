"""The maximum length of stored texts, in characters, for columns, checks and forms."""

TOKEN_NAME = 100
EMAIL = 254  # RFC 5321, as Django's EmailField has it

LINK_NAME = 100  # of upload and share links
LINK_MESSAGE = 2000
LINK_PASSWORD = 128

FILE_NAME = 255  # counted in bytes of UTF-8 where it is checked, as file systems do
FILE_PATH = 4096
BATCH_NAME = 255
IDEMPOTENCY_KEY = 255
CONTENT_TYPE = 255

ERROR_CODE = 64
ERROR_MESSAGE = 500  # for people

URL = 2048
DESCRIPTION = 255
EVENT_TYPE = 64

WORKFLOW_NAME = 100
SECRET_NAME = 100
WORKER = 255
PROGRESS = 200
RUN_WARNING = 300  # one of them; RUN_WARNINGS is how many a run keeps
RUN_WARNINGS = 50
LOG_LEVEL = 16
LOG_LINE = 2000
REQUEST_ID = 128
TRACEPARENT = 55
