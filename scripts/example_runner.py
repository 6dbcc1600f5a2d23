#!/usr/bin/env python3
"""An example of a runner: it is told of files, fetches them, works on them, and consumes them.

    pip install standardwebhooks
    ./doorito webhook add http://127.0.0.1:9000/ --event file.uploaded     # prints the secret
    ./doorito token create --email you@example.com --name runner --scope consume
    python scripts/example_runner.py --secret whsec_... --token drt_...

Copy what you need. What is queued here is lost when the runner is stopped: one that must not lose
work writes the event down before it answers.
"""

import argparse
import hashlib
import json
import os
import queue
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.request import Request, urlopen

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

MOST_BYTES = 2**20  # of an event
BLOCK_BYTES = 2**20  # of a file
TIMEOUT = 60  # seconds without a byte


class Receiver(BaseHTTPRequestHandler):
    """Takes events and answers at once: the work is done elsewhere, Doorito does not wait."""

    timeout = TIMEOUT
    server: "Listener"

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if length > MOST_BYTES:
            self.answer(413)
            return
        try:
            event = self.server.webhook.verify(self.rfile.read(length), dict(self.headers))
        except (WebhookVerificationError, ValueError) as error:
            print(f"refused: {error}", flush=True)
            self.answer(401)  # not from Doorito, not with our secret, or too old
            return
        self.server.runner.take(event)
        self.answer(204)

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """The runner says what matters."""


class Runner:
    """Works on one file after the other, in a thread of its own."""

    def __init__(self, *, portal: str, token: str) -> None:
        self.portal = portal.rstrip("/")
        self.token = token
        self.seen: set[str] = set()  # a real one keeps them for as long as the portal tries again
        self.queue: queue.SimpleQueue[dict] = queue.SimpleQueue()

    def take(self, event: dict) -> None:
        """An event may come more than once: always with the same id."""
        if event["type"] == "file.uploaded" and event["id"] not in self.seen:
            self.seen.add(event["id"])
            self.queue.put(event)

    def run(self) -> None:
        while True:
            event = self.queue.get()
            file = event["data"]["file"]
            try:
                self.work(file)
                self.consume(file)
            except (OSError, ValueError) as error:
                # Sent again (the portal has a button for it), the event is welcome again.
                self.seen.discard(event["id"])
                print(f"failed: {file['original_filename']}: {error}", flush=True)

    def work(self, file: dict) -> None:
        """Here goes yours. The bytes are checked once all of them have come: only then use them."""
        digest, size = hashlib.sha256(), 0
        with urlopen(file["url"], timeout=TIMEOUT) as response:  # noqa: S310 - a signed event's
            while block := response.read(BLOCK_BYTES):
                digest.update(block)
                size += len(block)
        if (size, digest.hexdigest()) != (file["size_bytes"], file["sha256"]):
            raise ValueError(f"{size} bytes came, and they are not the file")
        print(f"worked: {file['original_filename']}, {size} bytes, {file['sha256']}", flush=True)

    def consume(self, file: dict) -> None:
        """Say that the work is done: one runner succeeds, all others get 409; the bytes go."""
        address = f"{self.portal}/api/v1/files/{file['id']}/consume"
        request = Request(  # noqa: S310
            address, method="POST", headers={"Authorization": f"Bearer {self.token}"}
        )
        with urlopen(request, timeout=TIMEOUT) as response:  # noqa: S310
            print(f"consumed: {json.load(response)['id']}", flush=True)


class Listener(ThreadingHTTPServer):
    """Hands what it needs to the receiver of each request."""

    def __init__(self, address: tuple[str, int], webhook: Webhook, runner: Runner) -> None:
        super().__init__(address, Receiver)
        self.webhook = webhook
        self.runner = runner


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    environment = os.environ.get
    parser.add_argument("--secret", default=environment("WEBHOOK_SECRET"), help="whsec_…")
    parser.add_argument("--token", default=environment("DOORITO_TOKEN"), help="drt_…")
    parser.add_argument("--portal", default="http://localhost:8000", help="Doorito's address")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9000)
    options = parser.parse_args()
    if not options.secret or not options.token:
        parser.error("--secret (or WEBHOOK_SECRET) and --token (or DOORITO_TOKEN) are needed.")
    runner = Runner(portal=options.portal, token=options.token)
    server = Listener((options.host, options.port), Webhook(options.secret), runner)
    threading.Thread(target=server.runner.run, daemon=True).start()
    print(f"listening on http://{options.host}:{server.server_port}/", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
