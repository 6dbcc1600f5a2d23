"""The way from the public address to the portal, tried out: what proxies in between do to requests.

Each probe asks `boot.reflection` through the proxy, and says what arrived, or how long it took.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPSConnection
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
from django.conf import settings

from boot import reflection
from boot.remedies import remedy
from common.net import tls

PATIENCE = 10.0  # seconds of silence that a proxy has to bear, unless told otherwise
ANSWER_SECONDS = 30.0  # beyond that
CLOCK_SECONDS = 5.0  # that clocks may differ by
_FORGED = "203.0.113.77"  # of a documentation network (RFC 5737)
_SENT = {
    "Authorization": "Bearer probe",
    "Content-Digest": "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:",
    "Idempotency-Key": "probe",
    "If-Match": '"probe"',
    "If-None-Match": '"other"',
    "Tus-Resumable": "1.0.0",
    "Upload-Offset": "0",
    "X-Request-ID": "probe",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
    "X-Forwarded-For": _FORGED,
}
_CONDITIONS = ("If-Match", "If-None-Match")
_CONDITIONAL = (304, 412)
_BEGINNING = 64 * 2**10  # bytes of a body that is only announced


@dataclass(frozen=True)
class Seen:
    """What came of one probe; no problem where `wrong` is empty."""

    subject: str
    said: str
    is_wrong: bool = False


class _NoPortalError(Exception):
    """What answers is not this portal; the message says what it is."""


def probe(url: str, *, patience: float = PATIENCE) -> Iterator[Seen]:
    """Try the way to the portal at `url`, such as https://files.example.com."""
    with httpx.Client(
        base_url=url.rstrip("/"),
        verify=tls.ssl_context(),
        trust_env=False,
        timeout=patience + ANSWER_SECONDS,
    ) as client:
        path = _Path(client, url, patience)
        try:
            arrived = path.arrive()
        except _NoPortalError as exc:
            yield Seen("address", str(exc), is_wrong=True)
            return
        except httpx.HTTPError as exc:
            yield Seen("address", f"{url} does not answer: {exc}", is_wrong=True)
            return
        yield Seen("address", f"{url} leads to this portal.")
        yield from path.judge(arrived)
        # The long ones at once.
        probes = (path.silent_answer, path.silent_body)
        with ThreadPoolExecutor(len(probes)) as pool:
            waiting = [pool.submit(each) for each in probes]
            yield path.methods()
            yield path.body_limit()
            yield path.ranges()
            for each in waiting:
                yield from each.result()


class _AnsweredByOtherError(Exception):
    """Something on the way has looked at the request's conditions, and refused it."""


class _Path:
    def __init__(self, client: httpx.Client, url: str, patience: float) -> None:
        self._client = client
        self._url = urlsplit(url)
        self._patience = patience
        self._key = reflection.key()
        self._sent = _SENT
        self._server = ""
        self._is_direct = False

    def arrive(self) -> dict[str, Any]:
        """What the portal saw of a plain request. Raises httpx.HTTPError, _NoPortalError."""
        try:
            return self._arrive(_SENT)
        except _AnsweredByOtherError:  # a cache looks at conditions itself
            self._sent = {name: value for name, value in _SENT.items() if name not in _CONDITIONS}
            return self._arrive(self._sent)

    def _arrive(self, sent: dict[str, str]) -> dict[str, Any]:
        with self._client.stream("GET", self._target(), headers=sent) as response:
            stream = response.extensions["network_stream"]
            ours = stream.get_extra_info("client_addr")
            response.read()
        self._server = response.headers.get("Server", "")
        if response.has_redirect_location:
            raise _NoPortalError(
                f"It answers with a redirect to {response.headers['Location']}: use that address, "
                "or let the proxy pass on every path."
            )
        if reflection.METHOD not in response.headers:
            if response.status_code in _CONDITIONAL and sent is _SENT:
                raise _AnsweredByOtherError
            raise _NoPortalError(
                f"What answers ({response.status_code}) is no portal with this DJANGO_SECRET_KEY, "
                "or the proxy passes on another path than it was asked for."
            )
        facts: dict[str, Any] = response.json()
        self._is_direct = bool(ours) and facts["peer"] == [ours[0], str(ours[1])]
        facts["took"] = response.elapsed.total_seconds()
        facts["asked_at"] = time.time() - facts["took"] / 2
        return facts

    def judge(self, facts: dict[str, Any]) -> Iterator[Seen]:
        yield self._clock(facts)
        if self._is_direct:
            yield Seen("proxy", "There is none between here and the portal.")
            return
        yield self._host(facts)
        yield self._scheme(facts)
        yield self._client_address(facts)
        missing = [name for name in reflection.HEADERS if name not in facts["headers"]]
        said = f"{', '.join(missing)} does not arrive." if missing else "All that is needed arrive."
        yield self._seen("headers", said, is_wrong=bool(missing))
        again = self._client.get(self._target(), headers=self._sent).json()
        is_cached = again["answer"] == facts["answer"]
        said = "Answers are kept and given to others." if is_cached else "Nothing is kept."
        yield self._seen("caching", said, is_wrong=is_cached)

    def _clock(self, facts: dict[str, Any]) -> Seen:
        off = facts["time"] - facts["asked_at"]
        is_off = abs(off) > CLOCK_SECONDS + facts["took"]
        said = f"The web server's is {off:+.1f} s from the one here."
        return Seen("clock", said + (" Let both run NTP." if is_off else ""), is_wrong=is_off)

    def _host(self, facts: dict[str, Any]) -> Seen:
        is_wrong = facts["host"].lower() != self._url.netloc.lower()
        said = f"The portal is asked for {facts['host']}, not for {self._url.netloc}."
        return self._seen("host", said if is_wrong else "It arrives.", is_wrong=is_wrong)

    def _scheme(self, facts: dict[str, Any]) -> Seen:
        told = facts["forwarded_proto"]
        is_wrong = told != self._url.scheme and (bool(told) or self._url.scheme == "https")
        said = f"X-Forwarded-Proto is {told or 'not set'}, not {self._url.scheme}."
        return self._seen("scheme", said if is_wrong else "It arrives.", is_wrong=is_wrong)

    def _client_address(self, facts: dict[str, Any]) -> Seen:
        peer, client, told = facts["peer"][0], facts["client"], facts["forwarded_for"]
        if told.split(",")[-1].strip() == _FORGED:  # nobody wrote the caller behind it
            return self._seen(
                "client address",
                "X-Forwarded-For is passed on as clients send it: they can forge their address.",
                is_wrong=True,
            )
        if not told:
            said = "X-Forwarded-For is not set: all clients count as the proxy."
            return self._seen("client address", said, is_wrong=True)
        if client == peer and peer not in told:
            said = f"The proxy {peer} is not trusted: add it to PORTAL_TRUSTED_PROXIES."
            return Seen("client address", said, is_wrong=True)
        return Seen("client address", "It arrives.")

    def methods(self) -> Seen:
        refused = [name for name in ("HEAD", "POST", "PUT", "PATCH", "DELETE") if self._fails(name)]
        said = f"{', '.join(refused)} does not arrive." if refused else "All arrive."
        return self._seen("methods", said, is_wrong=bool(refused))

    def _fails(self, method: str) -> bool:
        try:
            response = self._client.request(method, self._target())
        except httpx.HTTPError:
            return True
        return response.headers.get(reflection.METHOD) != method

    def body_limit(self) -> Seen:
        """Of parts and of files in one request, both as large as the settings allow."""
        largest = max(settings.PORTAL_CHUNK_SIZE, settings.FILE_UPLOAD_MAX_SIZE)
        for size in sorted({settings.PORTAL_CHUNK_SIZE, largest}):
            if self._is_refused(size):
                said = f"Bodies of {size / 2**20:.0f} MiB are refused with 413."
                return self._seen("body limit", said, is_wrong=True)
        return Seen("body limit", f"Bodies of {largest / 2**20:.0f} MiB pass.")

    def _is_refused(self, size_bytes: int) -> bool:
        """Announce a body, send its beginning, and see whether it is refused at once."""
        kind = HTTPSConnection if self._url.scheme == "https" else HTTPConnection
        options: dict[str, Any] = {"context": tls.ssl_context()} if kind is HTTPSConnection else {}
        connection = kind(self._url.netloc, timeout=2.0, **options)
        try:
            connection.putrequest("PUT", self._target())
            connection.putheader("Content-Length", str(size_bytes))
            connection.endheaders()
            connection.send(b"\0" * min(size_bytes, _BEGINNING))
            return connection.getresponse().status == 413
        except (TimeoutError, OSError):  # it waits for the rest
            return False
        finally:
            connection.close()

    def ranges(self) -> Seen:
        response = self._client.get(self._target(range="1"), headers={"Range": "bytes=0-9"})
        is_wrong = response.status_code != 206 or response.content != reflection.WHOLE[:10]
        said = "Range does not arrive: downloads cannot be resumed." if is_wrong else "They arrive."
        return self._seen("ranges", said, is_wrong=is_wrong)

    def silent_answer(self) -> Iterator[Seen]:
        """The portal takes its time, as when it finishes a large file."""
        is_cut = not self._arrives(lambda: self._client.get(self._target(wait=f"{self._patience}")))
        said = f"An answer that takes {self._patience:g} s is {'cut off' if is_cut else 'awaited'}."
        yield self._seen("answer timeout", said, is_wrong=is_cut)

    def silent_body(self) -> Iterator[Seen]:
        """A client pauses: what was sent before has to arrive meanwhile."""
        half = b"\0" * _BEGINNING

        def halves() -> Iterator[bytes]:
            yield half
            time.sleep(self._patience)
            yield half

        answered: list[httpx.Response] = []

        def send() -> httpx.Response:
            length = {"Content-Length": str(2 * len(half))}
            answered.append(self._client.post(self._target(), content=halves(), headers=length))
            return answered[0]

        is_cut = not self._arrives(send)
        outcome = "cut off" if is_cut else "awaited"
        said = f"A client that pauses for {self._patience:g} s is {outcome}."
        yield self._seen("body timeout", said, is_wrong=is_cut)
        if not is_cut:
            is_buffered = answered[0].json()["body_seconds"] < self._patience / 2
            said = "Bodies arrive as they are sent."
            if is_buffered:
                said = "Bodies are collected before they are passed on: uploads take twice as long."
            yield self._seen("request buffering", said, is_wrong=is_buffered)

    def _arrives(self, ask: Callable[[], httpx.Response]) -> bool:
        try:
            return reflection.METHOD in ask().headers
        except (OSError, httpx.HTTPError):
            return False

    def _seen(self, fault: str, said: str, *, is_wrong: bool) -> Seen:
        if is_wrong:
            said = f"{said} {remedy(fault, server=self._server)}"
        return Seen(fault, said, is_wrong)

    def _target(self, **parameters: str) -> str:
        return f"{reflection.PATH}?{urlencode({'key': self._key} | parameters)}"
