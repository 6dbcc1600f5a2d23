"""The guard and the client together: no URL, name, answer or redirect leads a request astray."""

import asyncio
import errno
import gzip
import socket
import ssl
import struct
import threading
from contextlib import suppress

import pytest
import uvloop

from common import lengths
from common.errors import InvalidInput
from common.ids import uuid7
from common.net import guarded_http
from common.tests.certificates import make_certificates
from common.tests.receiver import Answer, Receiver
from common.webhooks import endpoints, sending

INVALID, NOT_PUBLIC = "webhook_url_invalid", "webhook_url_not_public"
PATIENCE = 30  # seconds, for what comes at once unless the machine is loaded
LOOPS = [asyncio.run, uvloop.run]  # of a test event, and of the dispatcher


def make_message(url, **fields):
    defaults = {
        "secrets": [sending.new_secret()],
        "event_id": uuid7(),
        "event_type": "file.uploaded",
        "delivery_id": uuid7(),
        "body": b'{"n":1}',
        "timeout": PATIENCE,
    }
    return sending.Message(url=url, **(defaults | fields))


def send(*messages, run=uvloop.run, between=None):
    """The results of attempts made one after the other by one client."""

    async def attempts():
        results = []
        async with guarded_http.client() as client:
            for message in messages:
                if results and between:
                    await between()
                results.append(await sending.send(message, client))
        return results

    return run(attempts())


@pytest.fixture(autouse=True)
def patient_pool(monkeypatch):
    """A connection does not grow too old for another request while the machine is busy."""
    monkeypatch.setattr(guarded_http, "KEEP_ALIVE", PATIENCE)


@pytest.fixture
def connections(monkeypatch):
    """The addresses that sockets were connected to. What is not this machine is unreachable.

    In the test's own thread: what other tests left running may be connecting, too.
    """
    made = []
    connect = socket.socket.connect
    mine = threading.get_ident()

    def connect_here(self, address):
        is_mine = threading.get_ident() == mine
        if not is_mine or self.family not in (socket.AF_INET, socket.AF_INET6):
            return connect(self, address)
        made.append(address[0])
        if (
            not address[0].removeprefix("::ffff:").startswith(("127.", "7f00:"))
            and address[0] != "::1"
        ):
            raise OSError(errno.ENETUNREACH, "Network is unreachable")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect_here)
    return made


@pytest.fixture
def guarded(settings):
    """As in production: loopback is as little allowed as any other inner address."""
    settings.PORTAL_WEBHOOK_ALLOW_LOOPBACK = False
    settings.PORTAL_WEBHOOK_ALLOWED_CIDRS = []


# --- URLs ----------------------------------------------------------------------------------------

NAMES = {
    "good.example": ["1.1.1.1"],
    "localhost": ["127.0.0.1", "::1"],
    "localhost.": ["127.0.0.1"],
    "sub.localhost": ["127.0.0.1"],
    "ip6-localhost": ["::1"],
    "metadata.google.internal": ["169.254.169.254"],
    "metadata.goog": ["169.254.169.254"],
    "instance-data.ec2.internal": ["169.254.169.254"],
    "inside.example": ["10.0.0.5"],
    "inside6.example": ["fd12:3456::1"],
    "mixed.example": ["1.1.1.1", "10.0.0.5"],
    "mixed6.example": ["2606:4700:4700::1111", "::1"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "zone.example": ["fe80::1%1"],
    "xn--r8jz45g.example": ["192.168.1.1"],
}
# What is behind each is its test's name. {port} is where a receiver listens on 127.0.0.1.
NOT_PUBLIC_URLS = {
    "loopback": "http://127.0.0.1:{port}/",
    "loopback, another address of it": "http://127.8.8.8:{port}/",
    "loopback over TLS": "https://127.0.0.1:{port}/",
    "loopback, scheme in upper case": "HTTP://127.0.0.1:{port}/",
    "loopback, empty user": "http://@127.0.0.1:{port}/",
    "loopback, ideographic full stops": "http://127。0。0。1:{port}/",
    "loopback, full-width full stops": "http://127\uff0e0\uff0e0\uff0e1:{port}/",
    "loopback, half-width full stops": "http://127｡0｡0｡1:{port}/",
    "this host": "http://0.0.0.0:{port}/",
    "this network": "http://0.1.2.3:{port}/",
    "private 10/8": "http://10.0.0.1/",
    "private 172.16/12": "http://172.31.255.255/",
    "private 192.168/16": "http://192.168.1.1/",
    "carrier-grade NAT": "http://100.64.0.1/",
    "link-local": "http://169.254.1.1/",
    "metadata of AWS, Azure, Google, Oracle": "http://169.254.169.254/latest/meta-data/",
    "metadata of AWS containers": "http://169.254.170.2/v2/credentials",
    "metadata of Azure's platform": "http://168.63.129.16/metadata",
    "metadata of Alibaba": "http://100.100.100.200/latest/meta-data/",
    "metadata of Oracle, older": "http://192.0.0.192/latest/",
    "metadata of AWS over IPv6": "http://[fd00:ec2::254]/latest/meta-data/",
    "metadata of Google over IPv6": "http://[fd20:ce::254]/computeMetadata/v1/",
    "metadata, mapped": "http://[::ffff:169.254.169.254]/",
    "metadata, NAT64": "http://[64:ff9b::a9fe:a9fe]/",
    "protocol assignments": "http://192.0.0.8/",
    "documentation 1": "http://192.0.2.1/",
    "documentation 2": "http://198.51.100.1/",
    "documentation 3": "http://203.0.113.1/",
    "6to4 relay": "http://192.88.99.1/",
    "benchmarks": "http://198.18.0.1/",
    "multicast": "http://224.0.0.1/",
    "multicast of a site": "http://239.255.255.250/",
    "reserved": "http://240.0.0.1/",
    "broadcast": "http://255.255.255.255/",
    "IPv6 loopback": "http://[::1]:{port}/",
    "IPv6 loopback, default port": "http://[::1]/",
    "IPv6 loopback, written out": "http://[0:0:0:0:0:0:0:1]:{port}/",
    "IPv6 unspecified": "http://[::]:{port}/",
    "IPv6 mapped loopback": "http://[::ffff:127.0.0.1]:{port}/",
    "IPv6 mapped loopback, hexadecimal": "http://[::FFFF:7F00:1]:{port}/",
    "IPv6 mapped loopback, written out": "http://[0:0:0:0:0:ffff:127.0.0.1]:{port}/",
    "IPv6 mapped private": "http://[::ffff:10.0.0.1]/",
    "IPv6 compatible loopback": "http://[::127.0.0.1]:{port}/",
    "IPv6 translated loopback": "http://[::ffff:0:127.0.0.1]:{port}/",
    "6to4 of loopback": "http://[2002:7f00:1::1]/",
    "6to4 of private": "http://[2002:a00:1::1]/",
    "NAT64 of loopback": "http://[64:ff9b::127.0.0.1]/",
    "NAT64 of private": "http://[64:ff9b::c0a8:101]/",
    "NAT64, local prefix": "http://[64:ff9b:1::1]/",
    "Teredo": "http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/",
    "IPv6 link-local": "http://[fe80::1]/",
    "IPv6 unique local": "http://[fc00::1]/",
    "IPv6 unique local, fd": "http://[fd12:3456:789a::1]/",
    "IPv6 site-local": "http://[fec0::1]/",
    "IPv6 multicast": "http://[ff02::1]/",
    "IPv6 multicast, global scope": "http://[ff0e::1]/",
    "IPv6 documentation": "http://[2001:db8::1]/",
    "IPv6 documentation, newer": "http://[3fff::1]/",
    "IPv6 benchmarks": "http://[2001:2::1]/",
    "IPv6 discard": "http://[100::1]/",
    "IPv6 not assigned": "http://[4000::1]/",
    "localhost": "http://localhost:{port}/",
    "localhost, upper case": "http://LOCALHOST:{port}/",
    "localhost, trailing dot": "http://localhost.:{port}/",
    "localhost, a name below": "http://sub.localhost:{port}/",
    "localhost of IPv6": "http://ip6-localhost:{port}/",
    "name of Google's metadata": "http://metadata.google.internal/computeMetadata/v1/",
    "short name of Google's metadata": "http://metadata.goog/",
    "name of AWS's metadata": "http://instance-data.ec2.internal/latest/",
    "name of a private address": "http://inside.example/",
    "name of a unique local address": "http://inside6.example/",
    "name of a mapped loopback address": "http://mapped.example:{port}/",
    "name of an address with a zone": "http://zone.example/",
    "name of a public and a private address": "http://mixed.example/",
    "name of a public address and loopback": "http://mixed6.example:{port}/",
    "international name of a private address": "http://例え.example/",
}
INVALID_URLS = {
    "decimal": "http://2130706433:{port}/",
    "hexadecimal": "http://0x7f000001:{port}/",
    "hexadecimal parts": "http://0x7f.0x0.0x0.0x1:{port}/",
    "hexadecimal, upper case": "http://0X7F.1:{port}/",
    "octal": "http://017700000001:{port}/",
    "octal parts": "http://0177.0.0.01:{port}/",
    "two parts": "http://127.1:{port}/",
    "three parts": "http://127.0.1:{port}/",
    "zero": "http://0:{port}/",
    "five parts": "http://127.0.0.1.1:{port}/",
    "parts above 255": "http://383.256.256.257:{port}/",
    "trailing dot": "http://127.0.0.1.:{port}/",
    "two trailing dots": "http://127.0.0.1..:{port}/",
    "overflowing decimal": "http://4425673729:{port}/",
    "public address in decimal": "http://16843009/",
    "full-width digits": "http://\uff11\uff12\uff17.0.0.1:{port}/",
    "circled digits": "http://①②⑦.⓪.⓪.①:{port}/",
    "circled letters": "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:{port}/",
    "Arabic digits": "http://١٢٧.0.0.1:{port}/",
    "percent-encoded digits": "http://%31%32%37.0.0.1:{port}/",
    "percent-encoded letters": "http://%6cocalhost:{port}/",
    "percent-encoded dots": "http://127%2e0%2e0%2e1:{port}/",
    "percent-encoded NUL": "http://127.0.0.1%00.good.example:{port}/",
    "percent-encoded slash": "http://good.example%2f@127.0.0.1:{port}/",
    "user": "http://good.example@127.0.0.1:{port}/",
    "user and password": "http://good.example:80@127.0.0.1:{port}/",
    "user of a public host": "http://user@good.example/",
    "empty user with a password": "http://:@127.0.0.1:{port}/",
    "two at signs": "http://a@good.example@127.0.0.1:{port}/",
    "backslash before an at sign": "http://good.example\\@127.0.0.1:{port}/",
    "backslash after the address": "http://127.0.0.1\\.good.example:{port}/",
    "backslashes for slashes": "http:\\\\127.0.0.1:{port}\\",
    "backslash and port": "http://127.0.0.1:{port}\\@good.example/",
    "zone": "http://[fe80::1%eth0]:{port}/",
    "zone, percent-encoded": "http://[fe80::1%25lo]:{port}/",
    "zone on loopback": "http://[::1%251]:{port}/",
    "IPv6 without brackets": "http://::1:{port}/",
    "IPv6 and more": "http://[::1].good.example:{port}/",
    "IPv6 not closed": "http://[::1:{port}/",
    "address of a future version": "http://[v1.7f000001]:{port}/",
    "brackets around IPv4": "http://[127.0.0.1]:{port}/",
    "CR and LF in the path": "http://good.example/\r\nHost: 127.0.0.1",
    "LF in the host": "http://good.example\n.127.0.0.1/",
    "tab in the host": "http://127.0.0.1\t:{port}/",
    "NUL in the host": "http://127.0.0.1\x00:{port}/",
    "space in the host": "http://good.example 127.0.0.1:{port}/",
    "space in front": " http://127.0.0.1:{port}/",
    "line separator in the host": "http://good.example\u2028@127.0.0.1:{port}/",
    "zero-width space in the host": "http://local\u200bhost:{port}/",
    "lone surrogate": "http://good.example/\ud800",
    "no scheme": "127.0.0.1:{port}/",
    "no scheme but slashes": "//127.0.0.1:{port}/",
    "one slash": "http:/127.0.0.1:{port}/",
    "three slashes": "http:///127.0.0.1:{port}/",
    "no slash": "http:127.0.0.1:{port}/",
    "no host": "http://",
    "no host but a port": "http://:{port}/",
    "empty": "",
    "ftp": "ftp://good.example/",
    "file": "file:///etc/passwd",
    "gopher": "gopher://127.0.0.1:{port}/_POST",
    "ws": "ws://127.0.0.1:{port}/",
    "unix socket": "http+unix://%2Fvar%2Frun%2Fdocker.sock/",
    "data": "data:text/plain,x",
    "port of SSH": "http://good.example:22/",
    "port of SMTP": "http://good.example:25/",
    "port of PostgreSQL": "http://good.example:5432/",
    "port of Redis": "http://good.example:6379/",
    "port of memcached": "http://good.example:11211/",
    "port zero": "http://good.example:0/",
    "port below zero": "http://good.example:-1/",
    "port above 65535": "http://good.example:65536/",
    "port that wraps around": "http://good.example:65616/",
    "port of many digits": "http://good.example:" + "9" * 1000 + "/",
    "port in hexadecimal": "http://good.example:0x50/",
    "two ports": "http://good.example:80:{port}/",
    "name of 254 characters": "http://" + "a234567890." * 23 + "a/",
    "label of 64 characters": "http://" + "a" * 64 + ".example/",
    "empty label": "http://good..example/",
    "name that nobody knows": "http://nowhere.example/",
}
CASES = [
    pytest.param(url, code, id=f"{code.removeprefix('webhook_url_')}: {name}")
    for code, urls in ((NOT_PUBLIC, NOT_PUBLIC_URLS), (INVALID, INVALID_URLS))
    for name, url in urls.items()
]


@pytest.fixture
def known_names(names):
    names.update(NAMES)


@pytest.fixture(scope="module")
def bystander():
    """Whom no test may reach."""
    with Receiver() as receiver:
        yield receiver


@pytest.mark.usefixtures("guarded", "known_names")
@pytest.mark.parametrize(("url", "code"), CASES)
def test_a_url_is_refused_when_it_is_saved_and_when_it_is_sent_to(
    url, code, connections, bystander, caplog
):
    url = url.replace("{port}", str(bystander.port))

    with pytest.raises(InvalidInput) as refused:
        endpoints.check(endpoints.EndpointSettings(url=url))
    (result,), (other,) = (send(make_message(url), run=run) for run in LOOPS)

    assert (refused.value.code, refused.value.extra["field"]) == (code, "url")
    assert result.status is None
    assert result.error
    assert other.error == result.error
    # The guard refused it both times, for the same cause; nothing went wrong by accident.
    if code == NOT_PUBLIC:
        assert "which is not public" in result.error
    else:
        assert result.error == refused.value.message[: lengths.ERROR_MESSAGE]
    assert caplog.records == []
    assert connections == []
    assert bystander.received == []


@pytest.mark.parametrize("run", LOOPS)
@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "127。0。0。1", "LOCALHOST", "[::ffff:7f00:1]"]
)
def test_what_is_refused_would_be_reached_without_the_guard(
    host, run, settings, names, connections
):
    """The other tests could not see a request otherwise."""
    settings.PORTAL_WEBHOOK_ALLOW_LOOPBACK = True
    with Receiver() as receiver:
        url = f"http://{host}:{receiver.port}/hook"

        endpoints.check(endpoints.EndpointSettings(url=url))
        (result,) = send(make_message(url), run=run)

        assert result.is_delivered
        assert len(connections) == len(receiver.received) == 1


@pytest.mark.usefixtures("guarded", "known_names")
def test_a_url_of_too_many_characters_is_refused_when_it_is_saved():
    with pytest.raises(InvalidInput) as refused:
        endpoints.check(endpoints.EndpointSettings(url="http://good.example/" + "a" * 2048))
    assert refused.value.code == INVALID


# --- Names that change ---------------------------------------------------------------------------


@pytest.mark.usefixtures("guarded")
def test_a_name_that_turns_inwards_after_it_was_saved_is_refused(names, connections):
    names["rebinding.example"] = iter([["1.1.1.1"], ["127.0.0.1"]])
    with Receiver() as receiver:
        url = f"http://rebinding.example:{receiver.port}/hook"

        endpoints.check(endpoints.EndpointSettings(url=url))
        (result,) = send(make_message(url))

        assert "127.0.0.1, which is not public" in result.error
        assert connections == []
        assert receiver.received == []


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize("run", LOOPS)
def test_a_connection_is_made_to_the_address_that_was_vetted(run, names, connections):
    """A second look-up would get what no check has seen."""
    names["rebinding.example"] = iter([["1.1.1.1"], *[["127.0.0.1"]] * 5])
    with Receiver() as receiver:
        (result,) = send(make_message(f"http://rebinding.example:{receiver.port}/"), run=run)

        assert result.status is None
        assert connections == ["1.1.1.1"]
        assert receiver.received == []


@pytest.mark.usefixtures("guarded")
def test_every_new_connection_is_vetted_anew(names, connections, settings):
    names["rebinding.example"] = iter([["127.0.0.1"], ["127.0.0.1", "169.254.169.254"]])
    settings.PORTAL_WEBHOOK_ALLOWED_CIDRS = ["127.0.0.0/8"]
    with Receiver(default=Answer(headers={"Connection": "close"})) as receiver:
        url = f"http://rebinding.example:{receiver.port}/hook"

        first, second = send(make_message(url), make_message(url))

        assert first.is_delivered
        assert "169.254.169.254, which is not public" in second.error
        assert connections == ["127.0.0.1"]


@pytest.mark.usefixtures("guarded")
def test_an_address_that_does_not_answer_is_followed_by_vetted_ones_only(names, connections):
    names["many.example"] = ["1.1.1.1", "2606:4700:4700::1111", "8.8.8.8"]

    (result,) = send(make_message("http://many.example/"))

    assert result.status is None
    assert set(connections) == {"1.1.1.1", "2606:4700:4700::1111", "8.8.8.8"}


# --- The allow-list ------------------------------------------------------------------------------


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize("block", ["127.0.0.0/8", "::ffff:127.0.0.0/104", "::ffff:7f00:0/112"])
@pytest.mark.parametrize("host", ["127.0.0.1", "[::ffff:127.0.0.1]"])
def test_a_network_of_the_allow_list_is_reached_in_either_form(block, host, settings, connections):
    settings.PORTAL_WEBHOOK_ALLOWED_CIDRS = [block]
    with Receiver() as receiver:
        (result,) = send(make_message(f"http://{host}:{receiver.port}/hook"))

        assert result.is_delivered


@pytest.mark.parametrize(
    ("wide", "address"),
    [
        ("100.64.0.0/10", "100.100.100.200"),
        ("169.254.0.0/16", "169.254.169.254"),
        ("::ffff:169.254.0.0/112", "169.254.169.254"),
        ("0.0.0.0/0", "168.63.129.16"),
        ("fd00::/8", "fd00:ec2::254"),
        ("fd00::/8", "fd20:ce::254"),
    ],
)
@pytest.mark.usefixtures("guarded")
def test_a_wide_network_of_the_allow_list_does_not_open_metadata_but_its_own_address_does(
    wide, address, settings, connections
):
    url = f"http://[{address}]/" if ":" in address else f"http://{address}/"

    settings.PORTAL_WEBHOOK_ALLOWED_CIDRS = [wide]
    with pytest.raises(InvalidInput):
        endpoints.check(endpoints.EndpointSettings(url=url))
    (refused,) = send(make_message(url))
    assert "not public" in refused.error
    assert connections == []

    settings.PORTAL_WEBHOOK_ALLOWED_CIDRS = [wide, address]
    endpoints.check(endpoints.EndpointSettings(url=url))
    send(make_message(url))
    assert connections == [address]


# --- Redirects and proxies -----------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("to", ["metadata", "another receiver", "itself"])
def test_a_redirect_is_a_failure_and_leads_nowhere(status, to, connections):
    with Receiver() as receiver, Receiver() as other:
        location = {
            "metadata": "http://169.254.169.254/latest/meta-data/",
            "another receiver": other.url,
            "itself": "/elsewhere",
        }[to]
        receiver.answers.append(
            Answer(status=status, headers={"Location": location, "Refresh": f"0; url={location}"})
        )

        (result,) = send(make_message(receiver.url))

        assert (result.status, result.is_delivered) == (status, False)
        assert [request.path for request in receiver.received] == ["/hook"]
        assert other.received == []
        assert connections == ["127.0.0.1"]


def test_a_proxy_of_the_environment_is_not_used(monkeypatch):
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with Receiver() as receiver, Receiver() as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
            monkeypatch.setenv(name.lower(), f"http://127.0.0.1:{proxy.port}")

        (result,) = send(make_message(receiver.url))

        assert result.is_delivered
        assert proxy.received == []


def test_passwords_of_the_environment_are_not_sent(monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("default login user password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with Receiver() as receiver:
        send(make_message(receiver.url))

        assert "authorization" not in receiver.received[0].headers


# --- A receiver that decides over every byte -----------------------------------------------------


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


def send_to(wire, count=1, **fields):
    return send(*(make_message(wire.url, **fields) for _ in range(count)))


def connections_of(wire):
    return [number for number, _ in wire.requests]


# --- Pooled connections --------------------------------------------------------------------------


def test_a_connection_is_used_again():
    with Wire(answers(response())) as wire:
        results = send_to(wire, 3)

        assert [result.status for result in results] == [200] * 3
        assert connections_of(wire) == [1, 1, 1]


def test_a_pooled_connection_serves_no_other_host(names):
    """Not even one with the same address and port."""
    names.update({"one.example": ["127.0.0.1"], "two.example": ["127.0.0.1"]})
    with Wire(answers(response())) as wire:
        hosts = ["one.example", "two.example", "one.example", "127.0.0.1", "two.example"]
        send(*(make_message(f"http://{host}:{wire.port}/") for host in hosts))

        first, second, third = (f"{host}:{wire.port}" for host in (*hosts[:2], "127.0.0.1"))
        assert wire.requests == [(1, first), (2, second), (1, first), (3, third), (2, second)]


def test_a_pooled_connection_serves_no_other_scheme():
    with Wire(answers(response()), Peer.take_some) as wire:
        first, second = send(
            make_message(wire.url), make_message(wire.url.replace("http:", "https:"))
        )

        assert first.is_delivered
        assert second.status is None
        assert connections_of(wire) == [1, 2]


@pytest.mark.parametrize("ending", [lambda _: None, Peer.reset], ids=["closed", "reset"])
def test_a_request_that_meets_a_closing_idle_connection_is_sent_on_a_fresh_one(ending):
    with Wire(answers_once(ending), answers(response(202))) as wire:
        results = send_to(wire, 2)

        assert [result.status for result in results] == [200, 202]
        assert connections_of(wire) == [1, 1, 2]


def test_a_connection_that_was_closed_while_idle_is_not_missed():
    closed = threading.Event()

    def closes(peer):
        peer.take()
        peer.say(response())

    def notes(peer):
        closed.set()
        answers(response(202))(peer)

    with Wire(closes, notes) as wire:
        results = send_to(wire, 2)

        assert [result.status for result in results] == [200, 202]
        assert closed.is_set()


def test_a_fresh_connection_that_is_closed_is_a_failure_and_nothing_is_sent_again():
    with Wire(Peer.take) as wire:
        (result,) = send_to(wire)

        assert result.status is None
        assert "closed the connection" in result.error
        assert connections_of(wire) == [1]


def test_only_one_more_attempt_is_made():
    with Wire(answers_once(), Peer.take) as wire:
        results = send_to(wire, 2)

        assert [result.status for result in results] == [200, None]
        assert connections_of(wire) == [1, 1, 2]


@pytest.mark.parametrize(
    ("reaction", "status"),
    [
        (response(500), 500),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ncut", 200),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\ncut", 200),
        (b"HTTP/1.1 200 OK\r\nContent-Le", None),
        (b"HTTP/1.1 2", None),
        (b"SSH-2.0-OpenSSH\r\n", None),
    ],
    ids=["an error", "a cut body", "a cut chunk", "a cut head", "a cut status line", "no HTTP"],
)
def test_what_a_used_connection_has_answered_is_not_sent_again(reaction, status):
    with Wire(answers_once(says(reaction)), answers(response(202))) as wire:
        results = send_to(wire, 2)

        assert [result.status for result in results] == [200, status]
        assert connections_of(wire) == [1, 1]


@pytest.mark.parametrize("run", LOOPS)
def test_an_answer_that_comes_unasked_is_not_taken_for_that_of_the_next_request(run):
    is_idle, said = threading.Event(), threading.Event()

    def talkative(peer):
        peer.take()
        peer.say(response())
        is_idle.wait(PATIENCE)
        peer.say(response(410))
        said.set()
        peer.wait_for_end()

    async def until_it_came():
        is_idle.set()
        while not said.is_set():
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)

    with Wire(talkative, answers(response(202))) as wire:
        messages = [make_message(wire.url) for _ in range(2)]

        results = send(*messages, run=run, between=until_it_came)

        assert [result.status for result in results] == [200, 202]
        assert connections_of(wire) == [1, 2]


# --- Answers -------------------------------------------------------------------------------------


def test_a_body_over_the_cap_is_left_and_its_connection_with_it():
    big = response(200, b"b" * 10_000_000)
    with Wire(answers(big), answers(response(202))) as wire:
        results = send_to(wire, 2)

        assert [result.status for result in results] == [200, 202]
        assert results[0].body == "b" * guarded_http.BODY_HEAD
        assert connections_of(wire) == [1, 2]


def test_a_body_that_just_fits_leaves_the_connection_usable():
    with Wire(answers(response(200, b"b" * guarded_http.BODY_HEAD))) as wire:
        results = send_to(wire, 2)

        assert [len(result.body) for result in results] == [guarded_http.BODY_HEAD] * 2
        assert connections_of(wire) == [1, 1]


def test_a_body_without_end_is_left_at_the_cap():
    def endless(peer):
        peer.take()
        peer.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        peer.say_until_it_ends(b"1000\r\n" + b"b" * 4096 + b"\r\n")

    with Wire(endless) as wire:
        (result,) = send_to(wire)

        assert result.is_delivered
        assert result.body == "b" * guarded_http.BODY_HEAD
        assert wire.cut.wait(PATIENCE)


def test_small_chunks_without_end_are_left_at_the_timeout():
    def dripping(peer):
        peer.take()
        peer.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not peer.wire.cut.wait(0.05):
            peer.say_until_it_ends(b"1\r\nb\r\n", most=peer.wire.taken + 1)

    with Wire(dripping) as wire:
        (result,) = send_to(wire, timeout=3)

        assert result.is_delivered
        assert set(result.body) == {"b"}
        assert wire.cut.wait(PATIENCE)


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (b"", b"HTTP/1.1 200 " + b"O" * 65536),
        (b"", b"\x00" * 65536),
        (b"HTTP/1.1 200 OK\r\nX-Long: ", b"x" * 65536),
        (b"HTTP/1.1 200 OK\r\n", b"X-Many: y\r\n" * 4096),
        (b"HTTP/1.1 200 OK\r\n", b"x" * 65536),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1", b"0" * 65536),
    ],
    ids=["status line", "no HTTP", "long header", "many headers", "header name", "chunk size"],
)
def test_an_answer_that_is_too_big_is_refused_early(start, more):
    """Of 1 GiB that it would say, no more is taken than what is on the way."""

    def boasting(peer):
        peer.take()
        peer.say(start)
        peer.say_until_it_ends(more)

    with Wire(boasting) as wire:
        (result,) = send_to(wire)

        assert wire.cut.wait(PATIENCE)
        assert wire.taken < 64 * 2**20
        if b"chunked" in start:
            assert result.body == ""
        else:
            assert "not valid HTTP" in result.error


def test_the_end_of_chunks_that_goes_on_and_on_is_left():
    def trailing(peer):
        peer.take()
        peer.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n")
        peer.say_until_it_ends(b"X-Many: y\r\n" * 4096)

    with Wire(trailing) as wire:
        (result,) = send_to(wire)

        assert wire.cut.wait(PATIENCE)
        assert wire.taken < 64 * 2**20
        assert "X-Many" not in result.body


def test_interim_answers_precede_the_final_one():
    interim = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n"
    )
    with Wire(answers(interim + response(201))) as wire:
        results = send_to(wire, 2)

        assert [result.status for result in results] == [201, 201]
        assert connections_of(wire) == [1, 1]


@pytest.mark.parametrize("run", LOOPS)
def test_interim_answers_without_end_are_refused_early(run):
    """Reading them as fast as they come would leave no time for other receivers."""

    def evasive(peer):
        peer.take()
        peer.say_until_it_ends(b"HTTP/1.1 102 Processing\r\n\r\n" * 1000)

    with Wire(evasive) as wire:
        (result,) = send(make_message(wire.url), run=run)

        assert "interim" in result.error
        assert wire.cut.wait(PATIENCE)
        assert wire.taken < 64 * 2**20


def test_some_interim_answers_are_no_fault_and_are_counted_for_each_request_anew():
    some = b"HTTP/1.1 102 Processing\r\n\r\n" * guarded_http.INTERIM_MAX
    with Wire(answers(some + response())) as wire:
        results = send_to(wire, 3)

        assert [result.status for result in results] == [200] * 3
        assert connections_of(wire) == [1, 1, 1]


def test_a_switch_of_protocols_is_a_failure_and_ends_the_connection():
    def switching(peer):
        peer.take()
        peer.say(b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n\x81")
        peer.wait_for_end()

    with Wire(switching, answers(response())) as wire:
        results = send_to(wire, 2, timeout=PATIENCE)

        assert [result.is_delivered for result in results] == [False, True]
        assert connections_of(wire) == [1, 2]


def test_an_answer_of_http_1_0_without_length_ends_with_the_connection():
    def old(peer):
        peer.take()
        peer.say(b"HTTP/1.0 200 OK\r\n\r\nold but fine")

    with Wire(old) as wire:
        results = send_to(wire, 2)

        assert [(result.status, result.body) for result in results] == [(200, "old but fine")] * 2
        assert connections_of(wire) == [1, 2]


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "deflate"])
def test_a_compressed_body_is_kept_as_it_came(coding):
    packed = gzip.compress(b"a" * 1_000_000)

    async def post(url):
        async with guarded_http.client() as client:
            return await client.post(url=url, headers={}, body=b"{}", timeout=PATIENCE)

    with Wire(answers(response(200, packed, f"Content-Encoding: {coding}"))) as wire:
        answer = uvloop.run(post(wire.url))

    assert answer.body == packed[: guarded_http.BODY_HEAD]


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
def test_an_answer_may_come_before_the_request_was_read():
    def hasty(peer):
        peer.take_some()
        peer.say(response(413))
        peer.wire.cut.wait(PATIENCE)

    with Wire(hasty, answers(response())) as wire:
        big = make_message(wire.url, body=b"b" * 50_000_000)

        async def release():
            wire.cut.set()

        results = send(big, make_message(wire.url), between=release)

        assert [result.status for result in results] == [413, 200]
        # What was not sent of the first must not pass for the start of the second.
        assert connections_of(wire) == [1, 2]


def test_an_answer_whose_lengths_disagree_is_not_http():
    both = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc"
    with Wire(answers(both)) as wire:
        (result,) = send_to(wire)

        assert "not valid HTTP" in result.error


# --- Host, SNI and certificate -------------------------------------------------------------------


@pytest.mark.parametrize("run", LOOPS)
def test_a_receiver_may_be_named_by_an_ipv6_address(run):
    with Wire(answers(response()), address="::1") as wire:
        (result,) = send(make_message(wire.url), run=run)

        assert result.is_delivered
        assert wire.requests == [(1, f"[::1]:{wire.port}")]


@pytest.mark.usefixtures("guarded", "known_names")
@pytest.mark.parametrize("host", ["[2606:4700:4700::1111]", "1.1.1.1", "good.example"])
def test_the_default_port_is_used_for_any_form_of_host(host, connections):
    (result,) = send(make_message(f"http://{host}/"))

    assert "Network is unreachable" in result.error
    assert connections == NAMES.get(host, [host.strip("[]")])


@pytest.fixture
def secured(tmp_path, monkeypatch):
    """Makes a receiver with a certificate for a host, of an authority that the client trusts."""

    def make(host):
        authority, chain = make_certificates(tmp_path, host=host)
        context = ssl.create_default_context(cafile=authority)
        monkeypatch.setattr(guarded_http, "ssl_context", lambda: context)
        return Receiver(certificate=chain)

    return make


@pytest.mark.parametrize(
    ("host", "certified", "server_name"),
    [
        ("runner.example", "runner.example", "runner.example"),
        ("RUNNER.example", "runner.example", "runner.example"),
        ("runner.example.", "runner.example", "runner.example"),
        ("例え.example", "xn--r8jz45g.example", "xn--r8jz45g.example"),
        ("127.0.0.1", "127.0.0.1", None),
    ],
)
def test_tls_asks_for_the_name_and_an_address_has_none(
    host, certified, server_name, secured, names
):
    for name in ("runner.example", "runner.example.", "xn--r8jz45g.example"):
        names[name] = ["127.0.0.1"]
    with secured(certified) as receiver:
        message = make_message(f"https://{host}:{receiver.port}/hook")

        results = [result for run in LOOPS for result in send(message, run=run)]

        assert [result.error for result in results] == ["", ""]
        assert receiver.server_names == [server_name] * 2


@pytest.mark.parametrize(
    ("host", "certified"),
    [
        ("127.0.0.1", "runner.example"),
        ("127.0.0.1", "127.0.0.2"),
        ("runner.example", "127.0.0.1"),
        ("runner.example", "other.example"),
        ("a.runner.example", "runner.example"),
    ],
)
def test_a_certificate_for_another_host_is_refused(host, certified, secured, names):
    names.update({"runner.example": ["127.0.0.1"], "a.runner.example": ["127.0.0.1"]})
    with secured(certified) as receiver:
        (result,) = send(make_message(f"https://{host}:{receiver.port}/hook"))

        assert "certificate" in result.error.lower()
        assert receiver.received == []


def test_a_certificate_of_an_unknown_authority_is_refused(tmp_path, names):
    names["runner.example"] = ["127.0.0.1"]
    _, chain = make_certificates(tmp_path, host="runner.example")
    with Receiver(certificate=chain) as receiver:
        (result,) = send(make_message(f"https://runner.example:{receiver.port}/hook"))

        assert "certificate" in result.error.lower()
        assert receiver.received == []
