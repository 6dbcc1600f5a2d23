"""Guard against server-side request forgery, for requests to URLs from users.

A URL is checked when it is saved, and its host is resolved and checked again before every request.
The connection is made to a checked address, so that changing the name in between has no effect.
"""

import ipaddress
import re
import socket
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import httpx
from django.conf import settings

from common.errors import InvalidInput
from common.net import faults

Address = IPv4Address | IPv6Address

# Ports of protocols that could read a line of an HTTP request as a command.
REFUSED_PORTS = frozenset(
    {21, 22, 23, 25, 53, 110, 143, 389, 465, 587, 636, 993, 995, 2525, 5432, 6379, 6667, 11211}
)

# `is_global` is true for these (IANA special-purpose registries, and what clouds put on them).
_SPECIAL_V4 = [
    IPv4Network(block)
    for block in (
        "168.63.129.16/32",  # Azure's platform service, inside every virtual network
        "192.0.0.0/24",  # protocol assignments, two of them "global"
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT relays
        "192.88.99.0/24",  # 6to4 relays
        "192.175.48.0/24",  # AS112
    )
]
# Global unicast is 2000::/3; everything else is refused without a list.
_UNICAST_V6 = IPv6Network("2000::/3")
_SPECIAL_V6 = [
    IPv6Network(block)
    for block in (
        "2001::/23",  # protocol assignments: Teredo, ORCHID, AMT, AS112
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
]
_NAT64 = IPv6Network("64:ff9b::/96")
# Metadata services of clouds, which hand out secrets. A wide network in the
# allow-list that happens to hold one of these does not mean it: only its own address does.
_METADATA = frozenset(
    ipaddress.ip_address(address)
    for address in (
        "100.100.100.200",  # Alibaba
        "168.63.129.16",  # Azure
        "169.254.169.254",  # AWS, Azure, Google, Oracle and others
        "169.254.170.2",  # AWS, containers
        "169.254.170.23",  # AWS, pods
        "192.0.0.192",  # Oracle
        "fd00:ec2::23",  # AWS, pods
        "fd00:ec2::254",  # AWS
        "fd20:ce::254",  # Google
    )
)

_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST_NAME = re.compile(r"[A-Za-z0-9._-]{1,253}")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")


@dataclass(frozen=True)
class Target:
    """The parts of a URL that a connection needs. `host` is ASCII (IDNA), without brackets."""

    scheme: str
    host: str
    port: int
    path: bytes  # with the query

    @property
    def place(self) -> str:
        return f"{self._bracketed}:{self.port}"

    @property
    def authority(self) -> str:
        """The value of the Host header (RFC 9112, 3.2), without the default port."""
        return self._bracketed if self.port == _DEFAULT_PORTS[self.scheme] else self.place

    @property
    def _bracketed(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


@lru_cache(maxsize=1024)
def parse_url(url: str) -> Target:
    """Parse an http(s) URL. Raises InvalidInput `url_invalid`."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError) as exc:
        raise _invalid(f"This is not a valid URL: {exc}") from exc
    if parsed.scheme not in _DEFAULT_PORTS:
        raise _invalid("The URL must start with http:// or https://.")
    if parsed.userinfo:
        raise _invalid("The URL must not contain a user name or password.")
    host = parsed.raw_host.decode("ascii")
    if not _is_host(host):
        raise _invalid("The URL needs a host: a name, or an address in its usual form.")
    port = parsed.port if parsed.port is not None else _DEFAULT_PORTS[parsed.scheme]
    if not 0 < port <= 65535:
        raise _invalid(f"There is no port {port}.")
    if port in REFUSED_PORTS:
        raise _invalid(f"Port {port} belongs to another protocol: nothing is sent there.")
    return Target(
        scheme=parsed.scheme,
        host=host,
        port=port,
        path=parsed.raw_path,
    )


def _is_host(host: str) -> bool:
    """A name, an IPv6 address without a zone, or an IPv4 address of four decimal numbers.

    Other hosts that end in a number (127.1, 0x7f000001, 127.0.0.1.) are addresses to some programs
    and names to others, so they are refused (URL Standard, "ends in a number checker").
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        last_label = host.rstrip(".").rpartition(".")[2]
        return bool(_HOST_NAME.fullmatch(host)) and not _NUMBER.fullmatch(last_label)
    return isinstance(address, IPv4Address) or address.scope_id is None


def check_url(url: str) -> None:
    """Refuse a URL that nothing may be sent to. Raises InvalidInput with a code for the reason."""
    target = parse_url(url)
    vetted_addresses(target.host, target.port)


def vetted_addresses(host: str, port: int) -> list[str]:
    """All addresses of a host, if every one of them is allowed.

    Raises InvalidInput: `url_invalid` when the name does not resolve, `url_not_public` when any
    address is refused.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        raise _invalid(f"The host {host} cannot be resolved: {faults.of_lookup(exc)}.") from exc
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    for address in addresses:
        require_allowed(address, host=host)
    return addresses


def require_allowed(address: str, *, host: str) -> None:
    """Raises InvalidInput `url_not_public` if an address of a host is not allowed."""
    parsed = ipaddress.ip_address(address)
    if not is_allowed(parsed):
        subject = "is the address" if host == address else f"{host} has the address"
        raise InvalidInput(
            "url_not_public",
            f"The host {subject} {address}, which is not public. {_how_to_admit(parsed)}",
        )


def _how_to_admit(address: Address) -> str:
    if _unmapped(address) in _METADATA:
        return (
            f"It tells machines of a cloud their secrets: only {_unmapped(address)} itself in "
            "PORTAL_WEBHOOK_ALLOWED_CIDRS admits it."
        )
    return "To admit it, add it or its network to PORTAL_WEBHOOK_ALLOWED_CIDRS."


def is_allowed(address: Address) -> bool:
    """Whether requests to the address are allowed: it is public, or in the allow-list."""
    plain = _unmapped(address)
    if settings.PORTAL_WEBHOOK_ALLOW_LOOPBACK and plain.is_loopback:
        return True
    blocks = [_network(text) for text in settings.PORTAL_WEBHOOK_ALLOWED_CIDRS]
    if plain in _METADATA:
        return any(plain in block and block.num_addresses == 1 for block in blocks)
    return any(plain in block for block in blocks) or is_public(plain)


@lru_cache(maxsize=256)
def _network(text: str) -> IPv4Network | IPv6Network:
    """A network of the allow-list. A network of IPv4-mapped addresses becomes the IPv4 network."""
    block = ipaddress.ip_network(text)
    if isinstance(block, IPv6Network) and block.prefixlen >= 96:
        mapped = block.network_address.ipv4_mapped
        return IPv4Network((mapped, block.prefixlen - 96)) if mapped else block
    return block


def is_public(address: Address) -> bool:
    """Whether an address, and any address embedded in it, is public."""
    plain = _unmapped(address)
    if isinstance(plain, IPv4Address):
        return (
            plain.is_global
            and not plain.is_multicast
            and not any(plain in block for block in _SPECIAL_V4)
        )
    if plain in _NAT64:  # NAT64 reaches IPv4 from IPv6-only networks: the inner address decides
        return is_public(IPv4Address(int(plain) & 0xFFFFFFFF))
    # 6to4, Teredo and IPv4-compatible addresses carry one too, but no receiver is reached by them.
    return (
        plain in _UNICAST_V6
        and plain.is_global
        and not any(plain in block for block in _SPECIAL_V6)
    )


def _unmapped(address: Address) -> Address:
    """The IPv4 address of `::ffff:a.b.c.d`; other addresses are unchanged."""
    return getattr(address, "ipv4_mapped", None) or address


def _invalid(message: str) -> InvalidInput:
    return InvalidInput("url_invalid", message)
