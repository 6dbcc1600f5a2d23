"""What the running code knows of itself: models, addresses, tasks, admin, commands, events."""

import inspect
from collections.abc import Iterator
from typing import Any

import click
from celery.schedules import crontab
from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.core.management import get_commands, load_command_class
from django.db.models import Field, Model
from django.urls import URLPattern, URLResolver, get_resolver

from boot import periodic
from boot.aikb.markdown import code, codes, first_sentence, table
from boot.aikb.source import default_of
from boot.celery import app as celery_app
from boot.cli import doorito
from common.outbox import schemas
from common.outbox.types import event_types

APPS = ("boot", "common", "accounts", "uploads", "frontend")


def _is_ours(module: str) -> bool:
    return module.split(".", maxsplit=1)[0] in APPS and ".tests" not in module


# --- Models ------------------------------------------------------------------------------------


def models() -> str:
    found = [model for model in apps.get_models() if _is_ours(model.__module__)]
    return "\n\n".join(map(_model, found))


def _model(model: type[Model]) -> str:
    meta = model._meta
    fields = ", ".join(map(_field, meta.concrete_fields))
    return (
        f"**`{meta.label}`** (`{model.__module__}`, table `{meta.db_table}`). "
        f"{first_sentence(model.__doc__)}.\n{fields}"
    )


def _field(field: "Field[Any, Any]") -> str:
    """Its name and kind; `?` where it may be null, the values where they are few and named."""
    if field.related_model is not None:
        target = field.related_model
        kind = f"→ {target if isinstance(target, str) else target._meta.object_name}"
    else:
        kind = type(field).__name__.removesuffix("Field")
    if field.choices:
        kind = " / ".join(str(value) or "(empty)" for value, _ in field.flatchoices)
    return f"`{field.name}`{'?' if field.null else ''} {kind}"


# --- Addresses ---------------------------------------------------------------------------------


def urls() -> str:
    rows = sorted(_routes(get_resolver().url_patterns))
    return table(["path", "view"], [(code(f"/{route}"), code(view)) for route, view in rows])


def _routes(patterns: list[Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Without what the admin and the API have below their addresses: both describe themselves."""
    for pattern in patterns:
        route = before + str(pattern.pattern)
        if isinstance(pattern, URLPattern):
            found: Any = pattern.callback
            view = getattr(found, "view_class", None) or inspect.unwrap(found)
            yield route, f"{view.__module__}.{view.__qualname__}"
        elif isinstance(pattern, URLResolver) and pattern.app_name in {"admin", "ninja"}:
            yield route, f"{pattern.app_name} ({pattern.namespace})"
        else:
            yield from _routes(pattern.url_patterns, route)


# --- Tasks -------------------------------------------------------------------------------------


def registered_tasks() -> str:
    celery_app.loader.import_default_modules()
    tasks = [task for _, task in sorted(celery_app.tasks.items()) if _is_ours(task.__module__)]
    rows = [
        (code(task.name), _queue(task.name), first_sentence(task.run.__doc__)) for task in tasks
    ]
    return table(["task", "queue", "what it does"], rows)


def _queue(task: str) -> str:
    routed = settings.CELERY_TASK_ROUTES.get(task, {})
    return str(routed.get("queue", settings.CELERY_TASK_DEFAULT_QUEUE))


def periodic_tasks() -> str:
    """With the intervals that hold where no setting changes them."""
    entries = periodic.schedule(
        outbox_sweep_minutes=int(default_of("OUTBOX_SWEEP_INTERVAL_MINUTES")),
        cleanup_hours=int(default_of("CLEANUP_UPLOADS_INTERVAL_HOURS")),
    )
    rows = [
        (code(name), code(entry["task"]), _when(entry["schedule"]))
        for name, entry in entries.items()
    ]
    return table(["name", "task", "when"], rows)


def _when(when: crontab | float) -> str:
    if isinstance(when, crontab):
        hour = when._orig_hour
        minute = f"{when._orig_minute:02}"
        return f"every hour at minute {minute}" if hour == "*" else f"daily at {hour:02}:{minute}"
    for seconds, unit in ((3600, "h"), (60, "min")):
        if when % seconds == 0:
            return f"every {when / seconds:g} {unit}"
    return f"every {when:g} s"


# --- Admin, commands, events -------------------------------------------------------------------


def admin_classes() -> str:
    rows = [
        (
            code(model._meta.label),
            code(f"{type(shown).__module__}.{type(shown).__name__}"),
            codes(map(str, shown.list_display)),
            codes(getattr(action, "__name__", str(action)) for action in shown.actions or ()),
        )
        for model, shown in admin.site._registry.items()
        if _is_ours(type(shown).__module__)
    ]
    return table(["model", "class", "list", "actions"], sorted(rows))


def commands() -> str:
    context = doorito.make_context("doorito", [], resilient_parsing=True)
    rows = _commands(doorito, context, "./doorito")
    return table(["command", "options", "what it does"], rows)


def _commands(
    group: click.Group, context: click.Context, before: str
) -> Iterator[tuple[str, str, str]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from _commands(command, context, f"{before} {name}")
        elif command is not None:
            arguments = [p for p in command.params if isinstance(p, click.Argument)]
            options = [p for p in command.params if isinstance(p, click.Option)]
            words = [before, name, *(str(argument.human_readable_name) for argument in arguments)]
            flags = codes(option.opts[-1] for option in options)
            yield code(" ".join(words)), flags, first_sentence(command.help)


def management_commands() -> str:
    ours = {name: app for name, app in get_commands().items() if _is_ours(app)}
    rows = [
        (code(f"manage.py {name}"), str(load_command_class(app, name).help).rstrip("."))
        for name, app in sorted(ours.items())
    ]
    return table(["command", "what it does"], rows)


def events() -> str:
    rows = [(code(name), codes(_members(name))) for name in sorted(event_types)]
    return table(["event", "members of `data`"], rows)


def _members(event_type: str) -> list[str]:
    return list(schemas.example(event_type)["data"])
