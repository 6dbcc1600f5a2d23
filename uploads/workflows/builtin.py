"""The workflows that come with the portal: inactive until an administrator activates them."""

from typing import Any

from django.db import transaction

from uploads.models import Workflow
from uploads.workflows import definitions

_PROMPT = """Summarise the following document in at most ten sentences, in its own language.

{{ text }}
"""
_OFFERED: list[dict[str, Any]] = [
    {
        "slug": "extract-text",
        "name": "Extract text",
        "description": "Documents, tables, web pages, e-mails and books as Markdown.",
        "task_name": "extract_text",
    },
    {
        "slug": "inspect-file",
        "name": "Inspect file",
        "description": "What a file is: type, dimensions, pages, duration, entries, language.",
        "task_name": "inspect",
    },
    {
        "slug": "ask-a-language-model",
        "name": "Ask a language model",
        "description": "A summary by a language model. Needs the address of an OpenAI-compatible "
        "API, a model and mostly a key.",
        "task_name": "llm_prompt",
        "config": {"prompt": _PROMPT},
    },
    {
        "slug": "external-runner",
        "name": "External runner",
        "description": "Hands files to a program of yours, which answers at once or later. Needs "
        "its address and a secret that signs the requests.",
        "task_name": "http_runner",
    },
    {
        "slug": "thumbnail",
        "name": "Thumbnail",
        "description": "A small WebP image of at most 320 by 320 pixels.",
        "task_name": "transcode_image",
        "config": {"max_width": 320, "max_height": 320},
    },
]


def install_builtin() -> list[Workflow]:
    """Add those whose slug is not taken, as inactive. Existing workflows are not changed.

    Returns the workflows that were added.
    """
    with transaction.atomic():
        offered = [Workflow(**values, is_active=False) for values in _OFFERED]
        for workflow in offered:
            definitions.check(workflow)
        Workflow.objects.bulk_create(offered, ignore_conflicts=True)
        ids = [workflow.id for workflow in offered]
        return list(Workflow.objects.filter(id__in=ids).order_by("id"))
