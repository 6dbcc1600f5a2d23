"""Calls of tus, header by header, over Django's test client."""

import base64
from typing import Any

from django.test import Client

from accounts.models import User
from accounts.tests.factories import make_token, make_user, principal_of
from uploads.tests.factories import CutStream

TUS = "/api/tus/"
OFFSET_TYPE = "application/offset+octet-stream"


def metadata(**values: str | bytes) -> str:
    """The header Upload-Metadata."""
    return ",".join(f"{key} {encoded(value)}" for key, value in values.items())


def encoded(value: str | bytes) -> str:
    return base64.b64encode(value.encode() if isinstance(value, str) else value).decode()


class Tus:
    """One user's calls. Headers are given by their names: `Upload_Length=5`."""

    def __init__(
        self, user: User | None = None, *, token: str | None = None, **token_values: Any
    ) -> None:
        self.user = user or make_user()
        self.principal = principal_of(self.user)
        text = token or make_token(user=self.user, **token_values)[1]
        self.http = Client(headers={"Authorization": f"Bearer {text}", "Tus-Resumable": "1.0.0"})

    def call(self, method: str, path: str, data: bytes = b"", **headers: Any) -> Any:
        values = {name.replace("_", "-"): str(value) for name, value in headers.items()}
        content_type = values.pop("Content-Type", OFFSET_TYPE if data else "")
        response = self.http.generic(method, path, data, CONTENT_TYPE=content_type, headers=values)
        assert response["Tus-Resumable"] == "1.0.0"
        return response

    def create(self, length: int | None = None, data: bytes = b"", **headers: Any) -> Any:
        if length is not None:
            headers["Upload_Length"] = length
        return self.call("POST", TUS, data, **headers)

    def begin(self, length: int | None = None, data: bytes = b"", **headers: Any) -> str:
        """The path of a new upload."""
        response = self.create(length, data, **headers)
        assert response.status_code == 201, response.content
        return TUS + response["Location"]

    def patch(self, path: str, offset: int, data: bytes, **headers: Any) -> Any:
        headers = {"Content_Type": OFFSET_TYPE, "Upload_Offset": offset} | headers
        return self.call("PATCH", path, data, **headers)

    def cut(self, method: str, path: str, data: bytes, *, length: int, **headers: Any) -> Any:
        """A call whose body stalls after `data`, of a `length` that is more."""
        return self.http.generic(
            method,
            path,
            headers={name.replace("_", "-"): str(value) for name, value in headers.items()},
            **{
                "CONTENT_TYPE": OFFSET_TYPE,
                "CONTENT_LENGTH": str(length),
                "wsgi.input": CutStream(data, TimeoutError()),
            },
        )

    def head(self, path: str) -> Any:
        return self.call("HEAD", path)

    def offset(self, path: str) -> int:
        response = self.head(path)
        assert response.status_code == 200, response.status_code
        return int(response["Upload-Offset"])

    def delete(self, path: str) -> Any:
        return self.call("DELETE", path)

    def partial(self, data: bytes) -> str:
        return self.begin(len(data), data, Upload_Concat="partial")
