"""A network between the browser and the portal that a test can hold up and cut."""

import socket
import threading
from contextlib import suppress
from typing import Self
from urllib.parse import urlsplit

BLOCK = 64 * 1024  # bytes


class Relay:
    """Passes bytes on, both ways. A context manager; `url` is where the browser goes.

    `hold` keeps back what the portal answers until `release`; `cut_after` lets so many bytes of
    requests through, then ends the connection that the next one is on.
    """

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._may_answer = threading.Event()
        self._may_answer.set()
        self._bytes_before_cut: int | None = None
        self.was_cut = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._may_answer.set()
        for one in [self._listener, *self._open]:
            _close(one)

    def hold(self) -> None:
        self._may_answer.clear()

    def release(self) -> None:
        self._may_answer.set()

    def cut_after(self, count: int) -> None:
        self._bytes_before_cut = count

    def _accept(self) -> None:
        while True:
            try:
                browser, _ = self._listener.accept()
            except OSError:
                return
            portal = socket.create_connection((self._target.hostname, self._target.port))
            self._open += [browser, portal]
            for ends in ((browser, portal), (portal, browser)):
                threading.Thread(target=self._pump, args=ends, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        is_answer = source.getpeername()[1] == self._target.port
        try:
            while block := source.recv(BLOCK):
                if is_answer:
                    self._may_answer.wait()
                    sink.sendall(block)
                elif not self._pass_on(block, sink):
                    break
        except OSError:
            pass  # the other direction has ended
        _close(source)
        _close(sink)

    def _pass_on(self, block: bytes, portal: socket.socket) -> bool:
        """Whether the connection goes on."""
        left = self._bytes_before_cut
        if left is None:
            portal.sendall(block)
            return True
        portal.sendall(block[:left])
        if len(block) < left:
            self._bytes_before_cut = left - len(block)
            return True
        self._bytes_before_cut = None
        self.was_cut.set()
        return False


def _close(one: socket.socket) -> None:
    with suppress(OSError):  # it is closed already
        one.shutdown(socket.SHUT_RDWR)
    one.close()
