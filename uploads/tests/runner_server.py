"""An external runner on loopback: it verifies requests, and answers at once or when told."""

import json
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import httpx
from standardwebhooks import Webhook, WebhookVerificationError

PATIENCE = 30  # seconds


@dataclass(frozen=True)
class Job:
    """A request that a runner took, and the ways back to the portal."""

    request: dict[str, Any]
    headers: dict[str, str]  # names in lower case

    def content(self) -> bytes:
        """The file, from its signed link."""
        url = self.request["file"]["url"]
        response = httpx.get(url, follow_redirects=True, timeout=PATIENCE)
        return response.raise_for_status().content

    def report(self, **answer: Any) -> httpx.Response:
        """Progress, or the end, as a RunnerAnswer."""
        return httpx.post(self.request["result_url"], json=answer, timeout=PATIENCE)

    def put_result(self, filename: str, content: bytes) -> httpx.Response:
        """The result file, which completes the run."""
        return httpx.put(
            self.request["result_url"],
            params={"filename": filename},
            content=content,
            timeout=PATIENCE,
        )


@dataclass
class RunnerServer:
    """Use as a context manager. `answer` is given to each request; None: 202, it comes later."""

    secret: str  # whsec_…
    answer: dict[str, Any] | None = None
    authorization: str = ""
    jobs: list[Job] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.refused = 0  # requests whose signature, or authorization, is not right
        self._changed = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/runs"

    def wait_for(self, count: int, *, timeout: float = PATIENCE) -> list[Job]:
        """The first `count` jobs; raises TimeoutError when they do not come in time."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.jobs) >= count, timeout):
                raise TimeoutError(f"{len(self.jobs)} of {count} jobs came.")
            return self.jobs[:count]

    def take(self, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, Any]]:
        """The status and the answer to a request."""
        try:
            Webhook(self.secret).verify(body, headers)
        except WebhookVerificationError:
            self.refused += 1
            return 401, {"detail": "The signature is not right."}
        if self.authorization and headers.get("authorization") != self.authorization:
            self.refused += 1
            return 403, {"detail": "The authorization is not right."}
        job = Job(json.loads(body), headers)
        with self._changed:
            self.jobs.append(job)
            self._changed.notify_all()
        return (202, {"status": "accepted"}) if self.answer is None else (200, self.answer)


def _handler(runner: RunnerServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, answer = runner.take(headers, body)
            content = json.dumps(answer).encode()
            self.close_connection = True
            with suppress(ConnectionError):
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Tests look at `jobs`."""

    return Handler
