"""The built-in tasks. Importing this package registers them."""

from uploads.workflows.tasks import (  # noqa: F401
    extract_text,
    http_runner,
    inspect,
    llm_prompt,
    transcode_image,
)
