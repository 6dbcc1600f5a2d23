"""Whatever is asked of uploads in whatever order, tus answers as the model does."""

import hashlib
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from uploads.files.usage import recount, usage_of
from uploads.models import FileStatus, IngestFile
from uploads.tests.factories import events, stored_bytes
from uploads.tests.tus_calls import TUS, Tus, encoded

pytestmark = [pytest.mark.long, pytest.mark.django_db]

CHOICE = st.integers(0, 99)
BYTES = st.binary(max_size=40)


@dataclass
class Upload:
    path: str
    length: int | None
    data: bytes = b""
    is_partial: bool = False
    is_final: bool = False
    is_gone: bool = False

    @property
    def is_whole(self) -> bool:
        return len(self.data) == self.length


@dataclass
class Model:
    uploads: list[Upload] = field(default_factory=list)
    stored: list[bytes] = field(default_factory=list)  # all that were ever

    def store_if_whole(self, upload: Upload) -> None:
        if upload.is_whole and not upload.is_partial:
            self.stored.append(upload.data)


class TusMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.tus = Tus()
        self.model = Model()

    def upload(self, choice: int) -> Upload:
        return self.model.uploads[choice % len(self.model.uploads)]

    there_is_one = precondition(lambda self: getattr(self, "model", None) and self.model.uploads)

    @rule(length=st.none() | st.integers(0, 60), is_partial=st.booleans(), data=BYTES)
    def create(self, length: int | None, is_partial: bool, data: bytes) -> None:
        headers = {"Upload_Concat": "partial"} if is_partial else {}
        if length is None:
            headers["Upload_Defer_Length"] = "1"
        response = self.tus.create(length, data, **headers)
        if length is not None and len(data) > length:
            assert response.status_code == 400
            return
        assert response.status_code == 201
        made = Upload(TUS + response["Location"], length, data, is_partial=is_partial)
        self.model.uploads.append(made)
        self.model.store_if_whole(made)

    @there_is_one
    @rule(choice=CHOICE, data=BYTES, wrong=st.sampled_from([0, 0, 0, 1, -1]))
    def patch(self, choice: int, data: bytes, wrong: int) -> None:
        upload = self.upload(choice)
        offset = max(len(upload.data) + wrong, 0)
        response = self.tus.patch(upload.path, offset, data)
        assert response.status_code == self.expected_of_patch(upload, offset, data)
        self.take(upload, data, response)

    @there_is_one
    @rule(choice=CHOICE, data=BYTES, lies=st.booleans())
    def patch_with_checksum(self, choice: int, data: bytes, lies: bool) -> None:
        upload = self.upload(choice)
        digest = hashlib.sha1(data + b"x" * lies).digest()  # noqa: S324
        response = self.tus.patch(
            upload.path, len(upload.data), data, Upload_Checksum=f"sha1 {encoded(digest)}"
        )
        expected = self.expected_of_patch(upload, len(upload.data), data)
        is_over = upload.is_whole and not upload.is_partial  # nothing is taken, or looked at
        assert response.status_code == (
            460 if expected == 204 and lies and not is_over else expected
        )
        self.take(upload, data, response)

    @there_is_one
    @rule(choice=CHOICE, length=st.integers(0, 60))
    def declare(self, choice: int, length: int) -> None:
        upload = self.upload(choice)
        response = self.tus.patch(upload.path, len(upload.data), b"", Upload_Length=length)
        expected = self.expected_of_patch(upload, len(upload.data), b"")
        is_over = upload.is_whole and not upload.is_partial
        if expected == 204 and not is_over:
            fits = upload.length == length or (upload.length is None and length >= len(upload.data))
            expected = 204 if fits else 400
            if fits:
                upload.length = length
        assert response.status_code == expected
        if expected == 204 and not is_over:
            self.model.store_if_whole(upload)

    @there_is_one
    @rule(choices=st.lists(CHOICE, min_size=1, max_size=3))
    def concatenate(self, choices: list[int]) -> None:
        pieces = [self.upload(choice) for choice in choices]
        urls = " ".join(piece.path for piece in pieces)
        response = self.tus.create(Upload_Concat=f"final;{urls}")
        if all(piece.is_partial and piece.is_whole and not piece.is_gone for piece in pieces):
            assert response.status_code == 201
            data = b"".join(piece.data for piece in pieces)
            self.model.uploads.append(
                Upload(TUS + response["Location"], len(data), data, is_final=True)
            )
            self.model.stored.append(data)
        else:
            assert response.status_code == 400

    @there_is_one
    @rule(choice=CHOICE)
    def terminate(self, choice: int) -> None:
        upload = self.upload(choice)
        response = self.tus.delete(upload.path)
        assert response.status_code == (self.gone(upload) if upload.is_gone else 204)
        upload.is_gone = True

    @invariant()
    def every_upload_is_as_the_model_has_it(self) -> None:
        for upload in getattr(self, "model", Model()).uploads:
            response = self.tus.head(upload.path)
            if upload.is_gone:
                assert response.status_code == self.gone(upload)
                assert "Upload-Offset" not in response
                continue
            assert response.status_code == 200
            assert response["Upload-Offset"] == str(len(upload.data))
            if upload.length is None:
                assert response["Upload-Defer-Length"] == "1"
            else:
                assert response["Upload-Length"] == str(upload.length)

    @invariant()
    def what_is_stored_is_whole_and_told_once(self) -> None:
        if not hasattr(self, "model"):
            return
        files = IngestFile.objects.filter(uploaded_by=self.tus.user, status=FileStatus.STORED)
        there = [
            upload.data
            for upload in self.model.uploads
            if upload.is_whole and not upload.is_partial and not upload.is_gone
        ]
        assert sorted(stored_bytes(file) for file in files) == sorted(there)
        own = [event for event in events("file.uploaded") if event.user_id == self.tus.user.id]
        assert len(own) == len(self.model.stored)
        assert usage_of(self.tus.user.id) == recount(self.tus.user.id)

    def take(self, upload: Upload, data: bytes, response) -> None:
        if response.status_code == 204 and data:
            upload.data += data
            assert response["Upload-Offset"] == str(len(upload.data))
            self.model.store_if_whole(upload)

    def expected_of_patch(self, upload: Upload, offset: int, data: bytes) -> int:
        if upload.is_gone:
            return self.gone(upload)
        if upload.is_final:
            return 403
        if offset != len(upload.data):
            return 409
        if upload.length is not None and offset + len(data) > upload.length:
            return 400
        return 204

    def gone(self, upload: Upload) -> int:
        """A stored file that was deleted is 410, an upload that was given up 404."""
        return 410 if upload.is_whole and not upload.is_partial else 404


def test_tus_answers_as_the_model_does():
    test = TusMachine.TestCase()
    test.settings = hypothesis_settings(
        max_examples=6,
        stateful_step_count=30,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    test.runTest()
