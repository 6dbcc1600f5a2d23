"""Whatever happens to files in whatever order, usage is the model's and a recount's."""

from datetime import timedelta
from uuid import UUID

import pytest
from django.utils import timezone
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from accounts.models import User
from accounts.principals import PORTAL
from accounts.tests.factories import make_user, principal_of
from common.errors import DooritoError, InvalidInput, UnprocessableContent
from uploads.files import batches, lifecycle, retention, states
from uploads.files.usage import NOTHING, Usage, recount, usage_of
from uploads.models import IngestFile, PartOrder, UploadBatch, UploadSession, UsageShare
from uploads.receiving import abandoned, finalizing, sessions
from uploads.receiving.appending import append, declare_length
from uploads.receiving.one_request import store_in_one_request
from uploads.receiving.requests import UploadRequest
from uploads.tests.factories import make_session, send_parts
from uploads.tests.workflow_factories import make_completed, make_workflow

pytestmark = [pytest.mark.long, pytest.mark.django_db, pytest.mark.usefixtures("no_run_kicks")]

GONE = ("processed", "deleted", "failed")
CHOICE = st.integers(0, 99)
SIZE = st.integers(0, 40)


def while_there_is(*statuses: str, owned: bool = False):
    """For rules about a file in one of these states; `owned`: whose owner is still there."""
    return precondition(lambda machine: machine.ids(*statuses, owned=owned))


class UsageMachine(RuleBasedStateMachine):
    """Files of two owners. The model: each file's owner, size in bytes and status."""

    @initialize()
    def begin(self) -> None:
        self.owners = [make_user(), make_user()]
        self.batches = [batches.create_batch(principal=principal_of(each)) for each in self.owners]
        self.gone: list[UUID] = []
        self.unknown: dict[UUID, int] = {}  # the lengths of uploads that are yet to be told
        self.files: dict[UUID, tuple[UUID | None, int, str]] = {}

    def note(self, file_id: UUID, status: str) -> None:
        owner_id, size, _ = self.files[file_id]
        self.files[file_id] = (owner_id, size, status)

    def ids(self, *statuses: str, owned: bool = False) -> list[UUID]:
        return [
            file_id
            for file_id, (owner_id, _, status) in self.files.items()
            if status in statuses and (owner_id or not owned)
        ]

    def pick(self, choice: int, *statuses: str, owned: bool = False) -> IngestFile:
        ids = self.ids(*statuses, owned=owned)
        return IngestFile.objects.get(id=ids[choice % len(ids)])

    def an_owner(self, choice: int) -> tuple[User, UploadBatch]:
        return self.owners[choice % 2], self.batches[choice % 2]

    @rule(choice=CHOICE, size=SIZE, in_batch=st.booleans(), declares_another=st.booleans())
    def begin_an_upload(
        self, choice: int, size: int, in_batch: bool, declares_another: bool
    ) -> None:
        owner, batch = self.an_owner(choice)
        session = make_session(
            bytes(size),
            user=owner,
            batch_id=batch.id if in_batch else None,
            sha256="0" * 64 if declares_another else "",
        )
        self.files[session.file_id] = (owner.id, size, "uploading")

    @rule(choice=CHOICE, size=SIZE)
    def begin_an_upload_of_unknown_length(self, choice: int, size: int) -> None:
        owner, _ = self.an_owner(choice)
        session, _ = sessions.create_session(
            principal=principal_of(owner),
            request=UploadRequest("a.bin", None, part_order=PartOrder.APPENDED),
        )
        self.files[session.file_id] = (owner.id, 0, "uploading")
        self.unknown[session.file_id] = size

    @precondition(lambda self: self.unknown)
    @rule(choice=CHOICE)
    def tell_a_length(self, choice: int) -> None:
        file_id = list(self.unknown)[choice % len(self.unknown)]
        size = self.unknown.pop(file_id)
        owner_id, _, status = self.files[file_id]
        if status != "uploading" or owner_id is None:
            return
        session = UploadSession.objects.get(file_id=file_id)
        declare_length(
            principal=principal_of(session.created_by), session_id=session.id, length_bytes=size
        )
        self.files[file_id] = (owner_id, size, status)

    @rule(choice=CHOICE, size=SIZE)
    def store_a_file_in_one_request(self, choice: int, size: int) -> None:
        owner, _ = self.an_owner(choice)
        file = store_in_one_request(
            principal=principal_of(owner),
            request=UploadRequest("a.bin", size),
            blocks=iter([memoryview(bytes(size))]),
        )
        self.files[file.id] = (owner.id, size, "stored")

    @while_there_is("uploading", owned=True)
    @rule(choice=CHOICE)
    def send_and_finalize(self, choice: int) -> None:
        file = self.pick(choice, "uploading", owned=True)
        session = file.session
        principal = principal_of(session.created_by)
        if session.part_order == PartOrder.NUMBERED:
            send_parts(session, bytes(file.size_bytes))
        else:
            blocks = iter([memoryview(bytes(file.size_bytes))])
            append(principal=principal, session_id=session.id, offset=0, blocks=blocks)
        try:
            finalizing.finalize_session(principal=principal, session_id=session.id)
            self.note(file.id, "stored")
        except InvalidInput:
            assert file.id in self.unknown
        except UnprocessableContent:
            self.note(file.id, "failed")

    @while_there_is("uploading")
    @rule(choice=CHOICE)
    def leave_an_upload_idle(self, choice: int) -> None:
        file = self.pick(choice, "uploading")
        long_ago = timezone.now() - timedelta(days=365)
        UploadSession.objects.filter(file=file).update(last_activity_at=long_ago)
        assert abandoned.abort_idle_sessions() == 1
        self.note(file.id, "failed")

    @while_there_is("stored", owned=True)
    @rule(choice=CHOICE)
    def consume(self, choice: int) -> None:
        file = self.pick(choice, "stored", owned=True)
        lifecycle.consume_file(principal=principal_of(file.uploaded_by), file_id=file.id)
        self.note(file.id, "processed")

    @while_there_is("uploading", *GONE, owned=True)
    @rule(choice=CHOICE)
    def consume_what_cannot_be(self, choice: int) -> None:
        file = self.pick(choice, "uploading", *GONE, owned=True)
        with pytest.raises(DooritoError):
            lifecycle.consume_file(principal=principal_of(file.uploaded_by), file_id=file.id)

    @while_there_is("uploading", "stored", "processed", owned=True)
    @rule(choice=CHOICE)
    def delete(self, choice: int) -> None:
        file = self.pick(choice, "uploading", "stored", "processed", owned=True)
        lifecycle.delete_file(principal=principal_of(file.uploaded_by), file_id=file.id)
        self.note(file.id, "failed" if file.status == "uploading" else "deleted")

    @while_there_is("uploading", "stored", *GONE)
    @rule(choice=CHOICE)
    def delete_whosever_it_is(self, choice: int) -> None:
        file = self.pick(choice, "uploading", "stored", *GONE)
        lifecycle.remove_file(file_id=file.id, actor=PORTAL)
        self.note(file.id, "failed" if file.status in ("uploading", "failed") else "deleted")

    @while_there_is("stored")
    @rule(choice=CHOICE)
    def keep_longer(self, choice: int) -> None:
        file = self.pick(choice, "stored")
        assert states.extend(file.id, expires_at=file.expires_at + timedelta(minutes=1))

    @while_there_is("stored")
    @rule(choice=CHOICE)
    def expire(self, choice: int) -> None:
        file = self.pick(choice, "stored")
        IngestFile.objects.filter(id=file.id).update(expires_at=timezone.now())
        assert retention.expire_files() == 1
        self.note(file.id, "deleted")

    @while_there_is("processed", "deleted")
    @rule()
    def purge(self) -> None:
        retention.purge_files()

    @while_there_is("stored")
    @rule(choice=CHOICE, result=st.none() | st.binary(max_size=20), consumes=st.booleans())
    def run_a_workflow(self, choice: int, result: bytes | None, consumes: bool) -> None:
        file = self.pick(choice, "stored")
        workflow = make_workflow(consumes_file=consumes)
        run = make_completed(file=file, workflow=workflow, result=result)
        if result is not None:
            self.files[run.result_file_id] = (file.uploaded_by_id, len(result), "stored")
        self.note(file.id, "processed" if consumes else "stored")

    @precondition(lambda self: not self.gone)
    @rule(choice=CHOICE)
    def delete_an_owner(self, choice: int) -> None:
        owner, _ = self.an_owner(choice)
        owner_id = owner.id
        owner.delete()
        self.gone.append(owner_id)
        for file_id, (whose, size, status) in self.files.items():
            if whose == owner_id:
                self.files[file_id] = (None, size, status)
        newcomer = make_user()
        self.owners[choice % 2] = newcomer
        self.batches[choice % 2] = batches.create_batch(principal=principal_of(newcomer))

    def sizes(self, owner: User, status: str) -> list[int]:
        """Of an owner's files in one state."""
        return [
            size
            for owner_id, size, is_now in self.files.values()
            if (owner_id, is_now) == (owner.id, status)
        ]

    @invariant()
    def usage_is_the_models(self) -> None:
        for owner in getattr(self, "owners", []):
            uploading, stored = self.sizes(owner, "uploading"), self.sizes(owner, "stored")
            assert usage_of(owner.id) == recount(owner.id)
            assert usage_of(owner.id) == Usage(
                sum(uploading + stored),
                files=len(uploading + stored),
                open_sessions=len(uploading),
            )

    @invariant()
    def who_is_gone_takes_up_nothing(self) -> None:
        for owner_id in getattr(self, "gone", []):
            assert usage_of(owner_id) == recount(owner_id) == NOTHING
            assert not UsageShare.objects.filter(owner=owner_id).exists()


def test_usage_is_what_a_recount_finds_after_every_step():
    test = UsageMachine.TestCase()
    test.settings = hypothesis_settings(
        max_examples=8,
        stateful_step_count=30,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    test.runTest()
