"""A server on loopback that speaks the chat completions API, whole and streamed."""

import json
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

MODEL = "test-model"
USAGE = {"prompt_tokens": 1200, "completion_tokens": 300, "total_tokens": 1500}


@dataclass
class LlmServer:
    """Use as a context manager. A part of a streamed answer is a word of `reply`.

    After `pause_after` parts it waits until it is released; after `cut_after` it hangs up. With
    `echo`, the answer is the prompt.
    """

    key: str = ""
    reply: str = "The file says hello."
    echo: bool = False
    usage: dict[str, int] | None = field(default_factory=lambda: dict(USAGE))
    finish_reason: str | None = "stop"
    refusal: str | None = None
    says_done: bool = True
    pause_after: int | None = None
    cut_after: int | None = None

    def __post_init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []  # names in lower case
        self.released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        # A client that hangs up is part of the tests.
        setattr(self._server, "handle_error", lambda *_: None)  # noqa: B010
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def problem(self, path: str, headers: dict[str, str], request: Any) -> tuple[int, str] | None:
        """What is wrong with a request: a status and a message."""
        if path != "/v1/chat/completions":
            return 404, f"Unknown request URL: POST {path}"
        if self.key and headers.get("authorization") != f"Bearer {self.key}":
            return 401, f"Incorrect API key provided: {headers.get('authorization')}"
        if request.get("model") != MODEL:
            return 404, f"The model `{request.get('model')}` does not exist"
        if not request.get("messages"):
            return 400, "'messages' is a required property"
        return None

    def text_for(self, request: dict[str, Any]) -> str:
        return request["messages"][-1]["content"] if self.echo else self.reply


def _handler(server: LlmServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = json.loads(body)
            server.headers.append(headers)
            server.requests.append(request)
            self.close_connection = True
            problem = server.problem(self.path, headers, request)
            with suppress(ConnectionError):
                if problem:
                    status, message = problem
                    self.say(status, {"error": {"message": message, "type": "invalid_request"}})
                elif request.get("stream"):
                    self.stream(request)
                else:
                    self.say(200, self.completion(server.text_for(request)))

        def say(self, status: int, content: dict[str, Any]) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def completion(self, text: str) -> dict[str, Any]:
            message = {"role": "assistant", "content": text, "refusal": server.refusal}
            choice = {"index": 0, "message": message, "finish_reason": server.finish_reason}
            usage = {"usage": server.usage} if server.usage else {}
            return {"object": "chat.completion", "model": MODEL, "choices": [choice], **usage}

        def stream(self, request: dict[str, Any]) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.chunk(b": welcome\r\n\r\n")
            for number, word in enumerate(server.text_for(request).split(" ")):
                if number == server.cut_after:
                    return
                if number == server.pause_after:
                    server.released.wait()
                self.part({"content": f" {word}" if number else word}, None)
            self.part({"refusal": server.refusal} if server.refusal else {}, server.finish_reason)
            if server.usage and request.get("stream_options", {}).get("include_usage"):
                self.event({"choices": [], "usage": server.usage})
            if server.says_done:
                self.chunk(b"data: [DONE]\n\n")
            self.chunk(b"")

        def part(self, delta: dict[str, Any], finish_reason: str | None) -> None:
            choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
            self.event({"object": "chat.completion.chunk", "choices": [choice], "usage": None})

        def event(self, content: dict[str, Any]) -> None:
            self.chunk(f"data: {json.dumps(content)}\n\n".encode())

        def chunk(self, content: bytes) -> None:
            self.wfile.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")

        def log_message(self, *_: object) -> None:
            """Tests look at `requests`."""

    return Handler
