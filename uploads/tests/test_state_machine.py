"""Whatever a client sends in whatever order, answers follow one model and the bytes agree."""

import io

import pytest
from django.conf import settings
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from uploads.files.usage import NOTHING, Usage, recount, usage_of
from uploads.models import FileStatus, IngestFile, UploadSession
from uploads.tests.factories import (
    Api,
    content_digest,
    events,
    on_disk,
    sha256,
    some_bytes,
    stored_bytes,
)

pytestmark = [pytest.mark.long, pytest.mark.django_db]


class UploadMachine(RuleBasedStateMachine):
    """One session. The model: its status, and the bytes accepted for each part."""

    api: Api  # set by the test

    @initialize(
        size=st.integers(0, 60),
        chunk=st.integers(1, 20),
        declares=st.sampled_from(["no", "yes", "wrong"]),
    )
    def create(self, size: int, chunk: int, declares: str) -> None:
        self.data = some_bytes(size, seed=size)
        self.chunk = chunk
        self.parts = -(-size // chunk)
        self.received: dict[int, bytes] = {}
        self.status = "init"
        self.declares = declares
        self.declared = {"no": "", "yes": sha256(self.data), "wrong": "0" * 64}[declares]
        self.usage_before = usage_of(self.api.user.id)
        self.session = self.api.session_of(self.data, chunk=chunk, sha256=self.declared)
        self.id = self.session["session_id"]
        self.before = set(on_disk()) - {f"spool/{self.key}"}
        self.events_before = len(events())

    @property
    def key(self) -> str:
        return UploadSession.objects.values_list("spool_key", flat=True).get(id=self.id)

    @property
    def is_open(self) -> bool:
        return self.status in {"init", "in_progress"}

    def right(self, number: int) -> bytes:
        return self.data[(number - 1) * self.chunk : number * self.chunk]

    def other(self, number: int) -> bytes:
        return bytes(byte ^ 0xFF for byte in self.right(number))

    def pick(self, choice: int) -> int:
        return choice % self.parts + 1

    def ended(self) -> tuple[int, str]:
        return 410, f"session_{self.status}"

    def expect(self, reply, status: int, code: str | None = None) -> None:
        got = None if reply.status_code < 400 else reply.json()["code"]
        assert (reply.status_code, got) == (status, code), reply.content

    def accept(self, reply, number: int, part: bytes) -> None:
        if not self.is_open:
            self.expect(reply, *self.ended())
        elif self.received.get(number, part) != part:
            self.expect(reply, 409, "part_differs")
        else:
            self.expect(reply, 200)
            self.received[number] = part
            self.status = "in_progress"

    @precondition(lambda self: self.parts)
    @rule(choice=st.integers(0, 99))
    def send_a_part(self, choice: int) -> None:
        number = self.pick(choice)
        part = self.right(number)
        self.accept(self.api.put_part(self.id, number, part), number, part)

    @precondition(lambda self: self.parts)
    @rule()
    def send_the_next_missing_part(self) -> None:
        missing = [n for n in range(1, self.parts + 1) if n not in self.received]
        self.send_a_part((missing or [1])[0] - 1)

    @precondition(lambda self: self.parts)
    @rule(choice=st.integers(0, 99))
    def send_other_bytes(self, choice: int) -> None:
        number = self.pick(choice)
        part = self.other(number)
        self.accept(self.api.put_part(self.id, number, part), number, part)

    @precondition(lambda self: self.parts)
    @rule(choice=st.integers(0, 99), agrees=st.booleans())
    def send_a_part_with_a_digest(self, choice: int, agrees: bool) -> None:
        number = self.pick(choice)
        part = self.right(number)
        header = content_digest(part if agrees else part + b"x")
        reply = self.api.put_part(self.id, number, part, Content_Digest=header)
        if self.is_open and not agrees:
            self.expect(reply, 422, "digest_mismatch")
        else:
            self.accept(reply, number, part)

    @precondition(lambda self: self.parts)
    @rule(choice=st.integers(0, 99))
    def send_too_much(self, choice: int) -> None:
        number = self.pick(choice)
        reply = self.api.put_part(self.id, number, self.right(number) + b"x")
        self.expect(reply, *((400, "part_size_wrong") if self.is_open else self.ended()))

    @precondition(lambda self: self.parts)
    @rule(choice=st.integers(0, 99))
    def lose_the_connection(self, choice: int) -> None:
        number = self.pick(choice)
        part = self.right(number)
        reply = self.api.put_stream(self.id, number, io.BytesIO(part[:-1]), length=len(part))
        self.expect(reply, *((400, "body_incomplete") if self.is_open else self.ended()))

    @rule(number=st.sampled_from([0, 61, 10_001]))
    def send_a_part_that_does_not_exist(self, number: int) -> None:
        reply = self.api.put_part(self.id, number, b"x")
        self.expect(reply, *((400, "part_number_invalid") if self.is_open else self.ended()))

    @rule()
    def finalize(self) -> None:
        reply = self.api.finalize(self.id)
        whole = b"".join(self.received[number] for number in sorted(self.received))
        if self.status == "aborted":
            self.expect(reply, 410, "session_aborted")
        elif self.is_open and len(self.received) < self.parts:
            self.expect(reply, 400, "parts_missing")
        elif self.declared and self.declared != sha256(whole):
            self.expect(reply, 422, "sha256_mismatch")
            self.status = "failed"
        else:
            self.expect(reply, 200)
            assert reply.json()["sha256"] == sha256(whole)
            self.status = "complete"

    @rule()
    def abort(self) -> None:
        reply = self.api.abort(self.id)
        if self.status == "complete":
            self.expect(reply, 409, "session_complete")
        else:
            self.expect(reply, 204)
            self.status = "aborted" if self.is_open else self.status

    @invariant()
    def the_state_is_the_models(self) -> None:
        if not hasattr(self, "id"):
            return
        state = self.api.get_session(self.id).json()
        assert state["status"] == self.status
        assert state["received_parts_count"] == len(self.received)
        assert state["received_bytes"] == sum(map(len, self.received.values()))
        row = UploadSession.objects.get(id=self.id)
        assert row.hashed_bytes <= row.received_bytes

    @invariant()
    def the_bytes_are_the_models(self) -> None:
        if not hasattr(self, "id"):
            return
        place = {"complete": {f"files/{self.key}"}, "failed": set(), "aborted": set()}
        now = on_disk() - self.before
        assert now == place.get(self.status, {f"spool/{self.key}"})
        if self.is_open:
            path = settings.DOORITO_DATA_DIR / "spool" / self.key[-2:] / self.key
            content = path.read_bytes()
            for number, part in self.received.items():
                start = (number - 1) * self.chunk
                assert content[start : start + len(part)] == part

    @invariant()
    def what_is_over_was_announced_once(self) -> None:
        if not hasattr(self, "id"):
            return
        kinds = [event.event_type for event in events()[self.events_before :]]
        expected = {"complete": ["file.uploaded"], "failed": ["file.failed"]}
        assert kinds == expected.get(self.status, ["file.failed"] * (self.status == "aborted"))

    @invariant()
    def the_owner_takes_up_what_the_model_says(self) -> None:
        if not hasattr(self, "id"):
            return
        usage = usage_of(self.api.user.id)
        assert usage == recount(self.api.user.id)
        of_this = Usage(len(self.data), files=1, open_sessions=int(self.is_open))
        is_charged = self.is_open or self.status == "complete"
        assert usage - self.usage_before == (of_this if is_charged else NOTHING)

    def teardown(self) -> None:
        if not hasattr(self, "id") or self.status != "complete":
            return
        file = IngestFile.objects.get(id=self.session["file_id"])
        content = stored_bytes(file)
        assert file.status == FileStatus.STORED
        assert content == b"".join(self.received[n] for n in range(1, self.parts + 1))
        assert (file.size_bytes, file.sha256) == (len(content), sha256(content))


def test_every_sequence_of_calls_is_answered_as_the_model_says(api):
    machine = type("Machine", (UploadMachine,), {"api": api})
    test = machine.TestCase()
    test.settings = hypothesis_settings(
        max_examples=10,
        stateful_step_count=20,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    test.runTest()
