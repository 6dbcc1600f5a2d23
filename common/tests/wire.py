"""A receiver that decides over every byte of its answers."""

import socket
import struct
import threading
from contextlib import suppress

PATIENCE = 30  # seconds, for what comes at once unless the machine is loaded


class Peer:
    """One connection of a `Wire`."""

    def __init__(self, wire, number, connection):
        self.wire = wire
        self._number = number
        self._connection = connection
        self._read = b""

    def take(self):
        """Read one whole request and note it; False when the client is gone."""
        while b"\r\n\r\n" not in self._read:
            if not self._read_some():
                return False
        head, self._read = self._read.split(b"\r\n\r\n", 1)
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        length = int(fields[b"content-length"])
        while len(self._read) < length:
            if not self._read_some():
                return False
        self._read = self._read[length:]
        self.wire.requests.append((self._number, fields[b"host"].decode()))
        return True

    def take_some(self):
        """Read the start of what comes, and note it."""
        self._read_some()
        self.wire.requests.append((self._number, None))

    def say(self, data):
        self._connection.sendall(data)

    def say_until_it_ends(self, data, *, most=2**30):
        """Send again and again; notes how many bytes the client's side took until it left."""
        try:
            while self.wire.taken < most:
                self._connection.sendall(data)
                self.wire.taken += len(data)
        except OSError:
            self.wire.cut.set()

    def reset(self):
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def refuse(self, context):
        """Shake hands, which fails, and take what comes then, so that the alert is not lost."""
        secured = context.wrap_socket(
            self._connection, server_side=True, do_handshake_on_connect=False
        )
        with secured, suppress(OSError):
            try:
                secured.do_handshake()
            finally:
                while socket.socket.recv(secured, 65536):
                    pass

    def wait_for_end(self):
        """Until the client closes the connection."""
        with suppress(OSError):
            while self._connection.recv(65536):
                pass
        self.wire.cut.set()

    def _read_some(self):
        with suppress(ConnectionError):
            if data := self._connection.recv(65536):
                self._read += data
                return True
        return False


class Wire:
    """A receiver on loopback; the nth connection is played by the nth script, or by the last."""

    def __init__(self, *scripts, address="127.0.0.1", name=None):
        self._scripts = scripts
        self._name = name or (f"[{address}]" if ":" in address else address)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = socket.create_server((address, 0), family=family)
        self._threads = []
        self.requests = []  # (number of the connection, value of its Host header)
        self.taken = 0  # bytes
        self.cut = threading.Event()

    @property
    def port(self):
        return self._listener.getsockname()[1]

    @property
    def url(self):
        return f"http://{self._name}:{self.port}/hook"

    def __enter__(self):
        self._start(self._accept)
        return self

    def __exit__(self, *_):
        # Ends the call of accept, which closing alone does not.
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)
        self._listener.close()

    def _start(self, function, *args):
        thread = threading.Thread(target=function, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        number = 0
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                number += 1
                self._start(self._play, number, connection)

    def _play(self, number, connection):
        script = self._scripts[min(number, len(self._scripts)) - 1]
        with connection, suppress(ConnectionError):
            connection.settimeout(PATIENCE)
            script(Peer(self, number, connection))


def response(status=200, body=b"ok", *headers):
    lines = [f"HTTP/1.1 {status} Status", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def answers(*responses):
    """The script of a receiver that keeps the connection and answers the nth request with the nth
    response, the later ones with the last."""

    def script(peer):
        number = 0
        while peer.take():
            peer.say(responses[min(number, len(responses) - 1)])
            number += 1

    return script


def answers_once(*then, first=None):
    """The script of a receiver that answers one request, takes another, and does something else."""

    def script(peer):
        peer.take()
        peer.say(first or response())
        if peer.take():
            for action in then:
                action(peer)

    return script


def says(data):
    return lambda peer: peer.say(data)


def connections_of(wire):
    return [number for number, _ in wire.requests]
