import ipaddress

import pytest

from common.errors import InvalidInput
from common.net import ssrf

# What each address is, beside it. None may be connected to.
REFUSED = [
    "0.0.0.0",  # noqa: S104 - this host
    "0.1.2.3",  # this network
    "10.0.0.1",  # private
    "172.16.0.1",  # private
    "172.31.255.255",  # private
    "192.168.1.1",  # private
    "100.64.0.1",  # carrier-grade NAT
    "100.100.100.200",  # metadata service, in carrier-grade NAT
    "127.0.0.1",  # loopback
    "127.255.255.254",  # loopback
    "169.254.169.254",  # metadata service, link-local
    "169.254.170.2",  # container credentials, link-local
    "168.63.129.16",  # platform service in a public block
    "192.0.0.1",  # protocol assignments
    "192.0.0.9",  # port control, "global"
    "192.0.0.170",  # NAT64 discovery
    "192.0.2.1",  # documentation
    "198.51.100.1",  # documentation
    "203.0.113.1",  # documentation
    "192.31.196.1",  # AS112, "global"
    "192.52.193.1",  # AMT, "global"
    "192.88.99.1",  # 6to4 relay, "global"
    "192.175.48.1",  # AS112, "global"
    "198.18.0.1",  # benchmarks
    "224.0.0.1",  # multicast
    "239.255.255.250",  # multicast
    "233.252.0.1",  # multicast, "global"
    "240.0.0.1",  # reserved
    "255.255.255.255",  # broadcast
    "::",  # unspecified
    "::1",  # loopback
    "::ffff:127.0.0.1",  # mapped loopback
    "::ffff:10.0.0.1",  # mapped private
    "::ffff:169.254.169.254",  # mapped metadata service
    "::127.0.0.1",  # compatible loopback
    "::10.0.0.1",  # compatible private
    "::8.8.8.8",  # compatible, deprecated
    "64:ff9b::7f00:1",  # NAT64 of loopback
    "64:ff9b::a00:1",  # NAT64 of a private address
    "64:ff9b::a9fe:a9fe",  # NAT64 of the metadata service
    "64:ff9b:1::a00:1",  # local NAT64
    "100::1",  # discard
    "2001::1",  # Teredo
    "2001:0:7f00:1::1",  # Teredo with loopback as its server
    "2001:2::1",  # benchmarks
    "2001:10::1",  # ORCHID
    "2001:20::1",  # ORCHIDv2, "global"
    "2001:db8::1",  # documentation
    "2002:7f00:1::1",  # 6to4 of loopback
    "2002:a00:1::1",  # 6to4 of a private address
    "2002:808:808::1",  # 6to4 of a public address, deprecated
    "2620:4f:8000::1",  # AS112, "global"
    "3fff::1",  # documentation
    "4000::1",  # not assigned
    "5f00::1",  # segment routing
    "fc00::1",  # unique local
    "fd00:ec2::254",  # metadata service, unique local
    "fe80::1",  # link-local
    "fec0::1",  # site-local
    "ff02::1",  # multicast
    "ff0e::1",  # multicast of global scope
]
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "172.32.0.1",
    "198.20.0.1",
    "223.255.255.254",
    "2606:4700:4700::1111",
    "2a00:1450:4001::200e",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
]


@pytest.fixture(autouse=True)
def no_exceptions(settings):
    settings.PORTAL_WEBHOOK_ALLOW_LOOPBACK = False
    settings.PORTAL_WEBHOOK_ALLOWED_CIDRS = []


@pytest.mark.parametrize("address", REFUSED)
def test_an_address_that_is_not_public_is_refused(address):
    assert not ssrf.is_allowed(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_allowed(address):
    assert ssrf.is_allowed(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://127。0。0。1/",
        "http://localhost/",
        "http://LOCALHOST/",
        "http://[::1]/",
        "http://[::]/",
        "http://[::ffff:127.0.0.1]:8080/",
        "http://[0:0:0:0:0:ffff:7f00:1]/",
        "http://[64:ff9b::169.254.169.254]/latest/meta-data",
        "http://169.254.169.254/latest/meta-data",
        "https://10.0.0.1:8443/hook",
    ],
)
def test_a_url_of_such_an_address_is_refused_in_any_form(url):
    with pytest.raises(InvalidInput) as refused:
        ssrf.check_url(url)
    assert refused.value.code == "url_not_public"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hook",
        "//example.org/hook",
        "ftp://example.org/",
        "file:///etc/passwd",
        "gopher://example.org/",
        "javascript:alert(1)",
        "http://",
        "http:///hook",
        "http://user@example.org/",
        "http://user:password@example.org/",
        "http://localhost\\@example.org/",
        "http://exa mple.org/",
        "http://exam\nple.org/",
        "http://exam%00ple.org/",
        "http://[fe80::1%25eth0]/",
        "http://[::1/",
        "http://[zz]/",
        "http://example.org:0/",
        "http://example.org:25/",
        "http://example.org:6379/",
        "http://example.org:65536/",
        "http://example.org:http/",
        "http://example.org:-1/",
        "http://127.1/",
        "http://0x7f.1/",
        "http://2130706433/",
        "http://0/",
        "http://127.0.0.1./",
        "http://0177.0.0.1/",
        "http://256.1.1.1/",
    ],
)
def test_a_url_that_is_not_plain_http_is_refused(url, names):
    names["example.org"] = ["1.1.1.1"]

    with pytest.raises(InvalidInput) as refused:
        ssrf.check_url(url)
    assert refused.value.code == "url_invalid"


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org",
        "http://example.org:8080/hook?x=1#part",
        "https://xn--r8jz45g.example/",
        "https://例え.example/",
        "http://1.1.1.1/",
        "http://[2606:4700:4700::1111]:8080/",
    ],
)
def test_a_public_http_url_is_allowed(url, names):
    names.update(
        {
            host: ["1.1.1.1", "2606:4700:4700::1111"]
            for host in ("example.org", "xn--r8jz45g.example")
        }
    )

    ssrf.check_url(url)


def test_one_private_address_among_public_ones_refuses_the_host(names):
    names["example.org"] = ["1.1.1.1", "10.0.0.1"]

    with pytest.raises(InvalidInput) as refused:
        ssrf.check_url("http://example.org/")
    assert refused.value.code == "url_not_public"
    assert "10.0.0.1" in refused.value.message


@pytest.mark.usefixtures("names")
def test_a_name_that_does_not_resolve_is_refused():
    with pytest.raises(InvalidInput) as refused:
        ssrf.check_url("http://nowhere.example/")
    assert refused.value.code == "url_invalid"


def test_loopback_is_allowed_by_its_setting_only(settings):
    settings.PORTAL_WEBHOOK_ALLOW_LOOPBACK = True

    for address in ("127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"):
        assert ssrf.is_allowed(ipaddress.ip_address(address))
    for address in ("0.0.0.1", "10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::1", "::127.0.0.1"):
        assert not ssrf.is_allowed(ipaddress.ip_address(address))


def test_networks_of_the_allow_list_are_allowed_and_no_others(settings):
    settings.PORTAL_WEBHOOK_ALLOWED_CIDRS = ["10.1.0.0/16", "fd00:1::/32"]

    for address in ("10.1.2.3", "::ffff:10.1.2.3", "fd00:1::5"):
        assert ssrf.is_allowed(ipaddress.ip_address(address))
    for address in ("10.2.0.1", "fd00:2::5", "127.0.0.1"):
        assert not ssrf.is_allowed(ipaddress.ip_address(address))


def test_a_network_of_mapped_addresses_allows_those_that_they_map(settings):
    settings.PORTAL_WEBHOOK_ALLOWED_CIDRS = ["::ffff:10.1.0.0/112"]

    for address in ("10.1.2.3", "::ffff:10.1.2.3"):
        assert ssrf.is_allowed(ipaddress.ip_address(address))
    assert not ssrf.is_allowed(ipaddress.ip_address("10.2.0.1"))


@pytest.mark.parametrize(
    ("url", "authority", "place"),
    [
        ("http://runner.example/", "runner.example", "runner.example:80"),
        ("https://runner.example:443/", "runner.example", "runner.example:443"),
        ("https://runner.example:80/", "runner.example:80", "runner.example:80"),
        ("http://[::1]/", "[::1]", "[::1]:80"),
        ("http://[::1]:8080/", "[::1]:8080", "[::1]:8080"),
    ],
)
def test_a_port_that_the_scheme_implies_is_not_named_to_the_receiver(url, authority, place):
    target = ssrf.parse_url(url)

    assert (target.authority, target.place) == (authority, place)


def test_what_was_refused_is_named_with_the_setting_that_admits_it(settings):
    settings.PORTAL_WEBHOOK_ALLOW_LOOPBACK = False
    settings.PORTAL_WEBHOOK_ALLOWED_CIDRS = ["169.254.0.0/16"]

    messages = {}
    for address in ("10.0.0.5", "169.254.169.254"):
        with pytest.raises(InvalidInput) as refused:
            ssrf.check_url(f"http://{address}/")
        messages[address] = refused.value.message

    assert messages["10.0.0.5"] == (
        "The host is the address 10.0.0.5, which is not public. "
        "To admit it, add it or its network to PORTAL_WEBHOOK_ALLOWED_CIDRS."
    )
    assert (
        "only 169.254.169.254 itself in PORTAL_WEBHOOK_ALLOWED_CIDRS admits it"
        in (messages["169.254.169.254"])
    )
