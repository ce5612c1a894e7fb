"""From where a request comes. Behind proxies that the configuration names, the address that they tell; nobody else is believed."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address

from aiohttp import web

Network = IPv4Network | IPv6Network
#: More hops than any installation has; further ones are not looked at.
_HOPS_MAX = 16


def remote_of(request: web.Request, trusted: Sequence[Network]) -> str:
    """The nearest address that is no trusted proxy's; "" where there is none."""
    remote = request.remote or ""
    told = ",".join(request.headers.getall("X-Forwarded-For", [])).split(",")
    for hop in [hop.strip() for hop in reversed(told)][:_HOPS_MAX]:
        if not _is_in(remote, trusted):
            break
        if not _is_address(hop):
            break
        remote = hop
    return remote


def _is_in(address: str, networks: Sequence[Network]) -> bool:
    return _is_address(address) and any(ip_address(address) in network for network in networks)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
