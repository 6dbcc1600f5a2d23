"""The guard and the client together: no URL, name, answer or redirect leads a request astray."""

import errno
import socket
import threading

import pytest

from common import lengths
from common.errors import InvalidInput
from common.tests.attempts import LOOPS, make_message, send
from common.tests.receiver import Answer, Receiver
from common.webhooks import endpoint_settings
from common.webhooks.endpoint_settings import EndpointSettings

INVALID, NOT_PUBLIC = "webhook_url_invalid", "webhook_url_not_public"


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
        endpoint_settings.check(EndpointSettings(url=url))
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

        endpoint_settings.check(EndpointSettings(url=url))
        (result,) = send(make_message(url), run=run)

        assert result.is_delivered
        assert len(connections) == len(receiver.received) == 1


@pytest.mark.usefixtures("guarded", "known_names")
def test_a_url_of_too_many_characters_is_refused_when_it_is_saved():
    with pytest.raises(InvalidInput) as refused:
        endpoint_settings.check(EndpointSettings(url="http://good.example/" + "a" * 2048))
    assert refused.value.code == INVALID


# --- Names that change ---------------------------------------------------------------------------


@pytest.mark.usefixtures("guarded")
def test_a_name_that_turns_inwards_after_it_was_saved_is_refused(names, connections):
    names["rebinding.example"] = iter([["1.1.1.1"], ["127.0.0.1"]])
    with Receiver() as receiver:
        url = f"http://rebinding.example:{receiver.port}/hook"

        endpoint_settings.check(EndpointSettings(url=url))
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
        endpoint_settings.check(EndpointSettings(url=url))
    (refused,) = send(make_message(url))
    assert "not public" in refused.error
    assert connections == []

    settings.PORTAL_WEBHOOK_ALLOWED_CIDRS = [wide, address]
    endpoint_settings.check(EndpointSettings(url=url))
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


# --- Ports ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("guarded", "known_names")
@pytest.mark.parametrize("host", ["[2606:4700:4700::1111]", "1.1.1.1", "good.example"])
def test_the_default_port_is_used_for_any_form_of_host(host, connections):
    (result,) = send(make_message(f"http://{host}/"))

    assert "network is unreachable" in result.error
    assert connections == NAMES.get(host, [host.strip("[]")])
