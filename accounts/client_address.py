"""Finds the client's address when requests come through proxies."""

import ipaddress
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from django.conf import settings
from django.http import HttpRequest

type Address = IPv4Address | IPv6Address


def client_address(request: HttpRequest) -> str:
    """The nearest address that is not a trusted proxy (PORTAL_TRUSTED_PROXIES).

    Each proxy appends its caller's address to X-Forwarded-For, so the header is read from its end
    for as long as the addresses are trusted proxies. A client may have forged what stands further
    left. If an entry is not an address, the result is the proxy that passed it on.
    """
    peer = request.META.get("REMOTE_ADDR", "")
    address = _address(peer)
    if address is None:
        return peer  # reported by the server itself, so no client can forge it
    for entry in reversed(request.headers.get("X-Forwarded-For", "").split(",")):
        if not entry.strip():
            continue  # empty elements are ignored (RFC 9110, 5.6.1)
        forwarded = _address(entry) if _is_trusted(address) else None
        if forwarded is None:
            break
        address = forwarded
    return str(address)


def client_network(address: str) -> str:
    """An IPv4 address, or the /64 network from which an IPv6 client may choose its addresses."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ip) if ip.version == 4 else str(ipaddress.IPv6Network((int(ip), 64), strict=False))


def _is_trusted(address: Address) -> bool:
    return any(address in network for network in _networks(tuple(settings.PORTAL_TRUSTED_PROXIES)))


@lru_cache(maxsize=4)
def _networks(blocks: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ipaddress.ip_network(block) for block in blocks)


def _address(text: str) -> Address | None:
    """Parse an entry. Some proxies add the client's port: 1.2.3.4:567, [::1]:567."""
    host = text.strip()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    # A server that listens on both IPv4 and IPv6 sees IPv4 addresses as ::ffff:a.b.c.d.
    return getattr(address, "ipv4_mapped", None) or address
