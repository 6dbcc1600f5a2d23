"""Who is answered what: every address, every method, everybody who may ask.

`data/authorization.txt` has a line for each address and methods that are answered the same, with
a status for each of PEOPLE (or, of methods that are not allowed, of two of them). `World.lines`
makes the same from the URL configuration and the answers.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from itertools import groupby
from typing import Any

from django.apps import apps
from django.contrib.auth.models import Group, Permission
from django.contrib.auth.tokens import default_token_generator
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.test import Client
from django.test.client import ClientHandler
from django.urls import URLPattern, get_resolver
from django.utils import timezone
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    SolarSchedule,
)

from accounts.models import ApiToken, User
from accounts.tests.factories import make_token, make_user, principal_of
from common.models import AuditEntry, OutboxEvent, WebhookAttempt, WebhookDelivery, WebhookEndpoint
from common.tests.factories import make_attempt, make_delivery, make_endpoint, make_event
from uploads.files import batches
from uploads.files.links import LinkKind, link
from uploads.models import (
    AccountLimits,
    IngestFile,
    ShareLink,
    StorageCheck,
    UploadBatch,
    UploadGrant,
    UploadSession,
    Workflow,
    WorkflowRun,
    WorkflowSecret,
)
from uploads.openai import objects
from uploads.receiving import assembling, continuing
from uploads.receiving.requests import UploadRequest
from uploads.tests.factories import make_consumed, make_grant, make_session, make_share, make_stored
from uploads.tests.workflow_factories import (
    make_cancelled,
    make_handed_over,
    make_run,
    make_workflow,
)
from uploads.workflows.links import callback_link

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
ADMIN_METHODS = ("GET", "POST")
PEOPLE = {
    "anonymous": "nobody",
    "other": "somebody else, logged in",
    "scopeless": "a token of the owner's without any scope",
    "expired": "an expired token of the owner's",
    "grant": "a guest of the owner's, with an upload grant",
    "token": "a token of the owner's with every scope",
    "owner": "whom the objects belong to, logged in",
    "staff0": "staff without a permission, logged in",
    "staff": "staff who may see and change webhooks and see all files, logged in",
    "superuser": "a superuser, logged in",
}
# No bearer means anything to pages: one kind of them is enough.
PAGE_PEOPLE = ("anonymous", "other", "token", "owner", "staff0", "staff", "superuser")
ADMIN_PEOPLE = ("anonymous", "other", "staff0", "staff", "superuser")
# Where a superuser may not use a method, nobody else is asked but who may nothing.
NOT_ALLOWED_PEOPLE = ("anonymous", "superuser")
_DATA = b"0123456789"


def people_of(route: str) -> tuple[str, ...]:
    if route.startswith("admin/"):
        return ADMIN_PEOPLE
    return PAGE_PEOPLE if route.startswith("app/") else tuple(PEOPLE)


def routes() -> Iterator[str]:
    """Every address as the URL configuration has it, once."""
    seen: dict[str, None] = {}
    _collect(get_resolver().url_patterns, "", seen)
    return iter(seen)


def _collect(patterns: Iterable[Any], prefix: str, seen: dict[str, None]) -> None:
    for each in patterns:
        route = prefix + str(each.pattern)
        if isinstance(each, URLPattern):
            seen[route] = None
        else:
            _collect(each.url_patterns, route, seen)


@dataclass
class World:
    """The people, and objects of the owner, which are made when an address asks for them."""

    owner: User
    clients: dict[str, Callable[[], Client]] = field(default_factory=dict)

    @classmethod
    def make(cls) -> "World":
        world = cls(make_user())
        make_workflow(slug="the-report")
        staff0, staff, superuser = (make_user(is_staff=True) for _ in range(3))
        User.objects.filter(id__in=[staff0.id, staff.id]).update(is_superuser=False)
        for name in ("view_webhookendpoint", "change_webhookendpoint", "access_all_files"):
            staff.user_permissions.add(Permission.objects.get(codename=name))
        scopeless, scopeless_text = make_token(user=world.owner)
        expired, expired_text = make_token(user=world.owner)
        ApiToken.objects.filter(id=scopeless.id).update(scopes=[])
        past = timezone.now() - timedelta(days=1)
        ApiToken.objects.filter(id=expired.id).update(expires_at=past)
        world.clients = {
            "anonymous": _new_client,
            "other": _logged_in(make_user()),
            "scopeless": _bearing(scopeless_text),
            "expired": _bearing(expired_text),
            "grant": _bearing(make_grant(user=world.owner)[1]),
            "token": _bearing(make_token(user=world.owner)[1]),
            "owner": _logged_in(world.owner),
            "staff0": _logged_in(staff0),
            "staff": _logged_in(staff),
            "superuser": _logged_in(superuser),
        }
        return world

    def lines(self, route: str) -> Iterator[str]:
        """A line for the methods that are answered alike; nothing is left of any request."""
        people = people_of(route)
        with transaction.atomic():
            path = "/" + _Address(self.owner, route).path
            answers = []
            for method in ADMIN_METHODS if people == ADMIN_PEOPLE else METHODS:
                body = _body(route, method)
                of_superuser = self._status(path, method, body, "superuser")
                *others, _ = people if of_superuser != 405 else NOT_ALLOWED_PEOPLE
                statuses = [self._status(path, method, body, each) for each in others]
                answers.append((" ".join(map(str, [*statuses, of_superuser])), method))
            transaction.set_rollback(True)
        answers.sort(key=lambda answer: answer[0])
        for told, group in groupby(answers, key=lambda answer: answer[0]):
            yield f"{told}  /{route}  {','.join(method for _, method in group)}"

    def _status(self, path: str, method: str, body: "_Body", person: str) -> int:
        with transaction.atomic():
            reply = self.clients[person]().generic(
                method,
                path,
                body.content,
                content_type=body.content_type,
                query_params=body.query,
                headers=body.headers,
            )
            if reply.streaming:
                b"".join(reply.streaming_content)  # which closes it
            transaction.set_rollback(True)
        return reply.status_code


def _logged_in(user: User) -> Callable[[], Client]:
    client = Client()
    client.force_login(user)
    cookies = {name: morsel.value for name, morsel in client.cookies.items()}

    def fresh() -> Client:
        another = _new_client()
        another.cookies.load(cookies)
        return another

    return fresh


def _bearing(token: str) -> Callable[[], Client]:
    return lambda: _new_client(headers={"authorization": f"Bearer {token}"})


_handler = ClientHandler(enforce_csrf_checks=False)


def _new_client(**options: Any) -> Client:
    """A new one for each request, as answers set cookies; to load the middleware takes long."""
    client = Client(raise_request_exception=False, **options)
    client.handler = _handler
    return client


# --- What addresses ask for ----------------------------------------------------------------------

_ARGUMENT = re.compile(r"<(?:\w+:)?(\w+)>")


@dataclass
class _Address:
    """A route with the ids of objects that exist."""

    owner: User
    route: str

    @cached_property
    def path(self) -> str:
        if self.route.endswith(r"(?P<url>.*)$"):
            return "admin/no/such/page/"
        route = re.sub(r"\^?\(\?P<app_label>.*?\)/\$", "uploads/", self.route)
        if route.startswith("^"):
            route = route.strip("^$")
        return _ARGUMENT.sub(lambda found: str(getattr(self, f"_{found[1]}")()), route)

    @cached_property
    def _stored(self) -> IngestFile:
        return make_stored(_DATA, user=self.owner)

    @cached_property
    def _run(self) -> WorkflowRun:
        if self.route.endswith(("retry", "retry/")):
            return make_cancelled(file=self._stored)
        return make_run(file=self._stored)

    @cached_property
    def _endpoint(self) -> WebhookEndpoint:
        return make_endpoint()

    def _session_id(self) -> Any:
        if not self.route.endswith("finalize"):
            return make_session(_DATA, user=self.owner).id
        return self._stored.session.id

    def _upload(self) -> Any:
        request = UploadRequest(filename="a.bin", size_bytes=len(_DATA))
        principal = principal_of(self.owner)
        if self.route.startswith("api/tus"):
            return continuing.begin(principal=principal, request=request).session_id
        upload = assembling.begin(principal=principal, request=request)
        return objects.id_of(objects.UPLOAD, upload.session_id)

    def _file(self) -> str:
        """As OpenAI's addresses have it."""
        return objects.id_of(objects.FILE, self._stored.id)

    def _part_number(self) -> int:
        return 1

    def _file_id(self) -> Any:
        return self._stored.id

    def _grant_id(self) -> Any:
        return make_grant(user=self.owner)[0].id

    def _share_id(self) -> Any:
        return make_share(self._stored)[0].id

    def _batch_id(self) -> Any:
        return batches.create_batch(principal=principal_of(self.owner)).id

    def _run_id(self) -> Any:
        return self._run.id

    def _slug(self) -> str:
        return make_workflow().slug

    def _webhook_id(self) -> Any:
        return self._endpoint.id

    _endpoint_id = _webhook_id

    def _delivery_id(self) -> Any:
        return make_delivery(endpoint=self._endpoint).id

    def _event_id(self) -> Any:
        return make_event(aggregate_id=self._stored.id).id

    def _name(self) -> str:
        """Of a page of the manual."""
        return "tour"

    def _event_type(self) -> str:
        return "file.uploaded"

    def _token_id(self) -> Any:
        return make_token(user=self.owner)[0].id

    def _token(self) -> str:
        if self.route.startswith("f/"):
            return link(LinkKind.FILE, self._stored.id).rsplit("/", 1)[1]
        if self.route.startswith("c/"):
            return make_consumed(user=self.owner).claim_url.rsplit("/", 1)[1]
        if self.route.startswith("send/"):
            return make_grant(user=self.owner)[1]
        if self.route.startswith("share/"):
            return make_share(self._stored)[1]
        if "callback" in self.route:
            run = make_handed_over(file=self._stored)
            return callback_link(run.id, run.lease_id).rsplit("/", 1)[1]
        return default_token_generator.make_token(self.owner)

    def _uidb64(self) -> str:
        return urlsafe_base64_encode(force_bytes(self.owner.pk))

    # --- The admin's ---

    def _id(self) -> Any:
        return self.owner.pk

    def _content_type_id(self) -> int:
        return ContentType.objects.get_for_model(IngestFile).pk

    def _object_id(self) -> Any:
        if "/r/" in self.route:
            return self._stored.id
        _, app, model, *_ = self.route.split("/")
        made = self._made(apps.get_model(app, model))
        return made.pk if isinstance(made.pk, int) else str(made.pk).replace("_", "_5F")

    def _made(self, model: type) -> Any:
        makers: dict[type, Callable[[], Any]] = {
            User: lambda: self.owner,
            Group: lambda: Group.objects.create(name="a group"),
            ApiToken: lambda: make_token(user=self.owner)[0],
            WebhookEndpoint: lambda: self._endpoint,
            OutboxEvent: make_event,
            WebhookDelivery: make_delivery,
            WebhookAttempt: make_attempt,
            AuditEntry: lambda: AuditEntry.objects.create(actor_label="x", action="x"),
            IngestFile: lambda: self._stored,
            UploadBatch: lambda: batches.create_batch(principal=principal_of(self.owner)),
            UploadSession: lambda: make_session(_DATA, user=self.owner),
            UploadGrant: lambda: make_grant(user=self.owner)[0],
            ShareLink: lambda: make_share(self._stored)[0],
            AccountLimits: lambda: AccountLimits.objects.create(owner=self.owner),
            StorageCheck: lambda: StorageCheck.objects.create(backend="local"),
            Workflow: make_workflow,
            WorkflowRun: lambda: self._run,
            WorkflowSecret: lambda: WorkflowSecret.objects.create(name="secret", value="x"),
            PeriodicTask: lambda: PeriodicTask.objects.create(
                name="a task", interval=self._made(IntervalSchedule)
            ),
            IntervalSchedule: lambda: IntervalSchedule.objects.create(every=1, period="days"),
            CrontabSchedule: CrontabSchedule.objects.create,
            ClockedSchedule: lambda: ClockedSchedule.objects.create(clocked_time=timezone.now()),
            SolarSchedule: lambda: SolarSchedule.objects.create(
                event="sunset", latitude=1, longitude=1
            ),
        }
        return makers[model]()


@dataclass(frozen=True)
class _Body:
    content: bytes = b""
    content_type: str = "application/json"
    query: dict[str, str] | None = None
    headers: dict[str, str] = field(default_factory=dict)


_BODIES = {
    "api/v1/uploads/sessions": b'{"filename": "a.bin", "size_bytes": 10}',
    "v1/uploads": (
        b'{"filename": "a.bin", "purpose": "user_data", "bytes": 10, '
        b'"mime_type": "application/octet-stream"}'
    ),
    "v1/uploads/<str:upload>/complete": b'{"part_ids": []}',
    "api/v1/grants": b'{"name": "Invoices"}',
    "api/v1/webhooks": b'{"url": "https://93.184.215.14/a"}',
    "api/v1/runs/callback/<token>": b'{"status": "completed"}',
    "api/v1/files/<uuidstr:file_id>/runs": b'{"workflow": "the-report"}',
    "api/v1/batches/<uuidstr:batch_id>/runs": b'{"workflow": "the-report"}',
}


_TUS = {
    "POST": _Body(headers={"Tus-Resumable": "1.0.0", "Upload-Length": str(len(_DATA))}),
    "PATCH": _Body(
        _DATA,
        "application/offset+octet-stream",
        headers={"Tus-Resumable": "1.0.0", "Upload-Offset": "0"},
    ),
}


def _form(**fields: str) -> bytes:
    parts = (
        f'--b\r\nContent-Disposition: form-data; name="{name}"'
        + ('; filename="a.bin"' if name in ("file", "data") else "")
        + f"\r\n\r\n{value}\r\n"
        for name, value in fields.items()
    )
    return ("".join(parts) + "--b--\r\n").encode()


_FORMS = {
    "v1/files": _form(purpose="user_data", file="0123456789"),
    "v1/uploads/<str:upload>/parts": _form(data="0123456789"),
}


def _body(route: str, method: str) -> _Body:
    """What an address takes, as far as the answer depends on it."""
    if route.startswith("api/tus"):
        return _TUS.get(method, _Body(headers={"Tus-Resumable": "1.0.0"}))
    if method in ("GET", "DELETE"):
        return _Body()
    return _content(route, method)


def _content(route: str, method: str) -> _Body:
    if route in _FORMS:
        return _Body(_FORMS[route], "multipart/form-data; boundary=b")
    is_raw = "/parts/" in route or route == "api/v1/files" or "callback" in route
    if is_raw and (method == "PUT" or route == "api/v1/files"):
        return _Body(_DATA, "application/octet-stream", {"filename": "a.bin"})
    if not route.startswith(("api/", "v1/")):
        return _Body(b"", "application/x-www-form-urlencoded")
    for ending, name, hours in (("/extend", "expires_at", 30), ("/recover", "since", -1)):
        if route.endswith(ending):
            moment = timezone.now() + timedelta(hours=hours)
            return _Body(json.dumps({name: moment.isoformat()}).encode())
    return _Body(_BODIES.get(route, b"{}"))
