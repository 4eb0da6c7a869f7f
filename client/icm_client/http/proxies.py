"""Selects the proxy for an address from HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY."""

from __future__ import annotations

import importlib.util
import ipaddress
import re
import socket
from typing import NamedTuple
from urllib.request import getproxies, proxy_bypass

import httpx

from icm_client.contract.errors import RequestError
from icm_client.http.address import is_place

_SOCKS = ("socks5", "socks5h")
_SCHEMES = ("http", "https", *_SOCKS)
_PLACE = r"[\w.:\[\]-]*"


class Proxy(NamedTuple):
    """A proxy: its full URL, and its URL for messages, without a user and a password."""

    url: str
    shown: str
    variable: str
    """The variable that sets it."""

    def hint(self, host: str) -> str:
        """The text appended to an error that the proxy may have caused, for a request to `host`."""
        return (
            f"; the request went through the proxy {self.shown} ({self.variable}): if it needs none, "
            f"add {host} to NO_PROXY"
        )


def proxy_for(url: str) -> Proxy | None:
    """The proxy for a URL. None if no proxy is set, or if the address is excepted; this machine always is.

    Raises RequestError for an unusable proxy.
    """
    place = httpx.URL(url)
    proxies = getproxies()
    found = next(((name, proxies[name]) for name in (place.scheme, "all") if proxies.get(name)), None)
    if found is None or is_loopback(place.host) or _is_excepted(place, proxies.get("no", "")):
        return None
    variable = f"{found[0].upper()}_PROXY"
    return _usable(found[1].strip(), variable, place.host)


def is_loopback(host: str) -> bool:
    """Whether it is this machine by any of its loopback names: localhost, 127.0.0.1, ::1, 127.1, 0.0.0.0, ..."""
    host = host.rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _ip(host)
    mapped = getattr(address, "ipv4_mapped", None) or address
    return mapped is not None and (mapped.is_loopback or mapped.is_unspecified)


def _is_excepted(place: httpx.URL, no_proxy: str) -> bool:
    """By name, name and port, or domain as in the standard library, and by network such as 10.0.0.0/8."""
    port = f":{place.port}" if place.port else ""
    if proxy_bypass(place.host) or (port and proxy_bypass(place.host + port)):
        return True
    address = _ip(place.host)
    if address is None:
        return False
    for entry in no_proxy.split(","):
        try:
            if address in ipaddress.ip_network(entry.strip().strip("[]"), strict=False):
                return True
        except ValueError:
            continue  # a name
    return False


def _usable(text: str, variable: str, host: str) -> Proxy:
    text = text if "://" in text else f"http://{text}"
    scheme, _, rest = text.partition("://")
    # A password may contain "@", so it extends to the last one.
    place = re.split("[/?#]", rest.rpartition("@")[2])[0]
    scheme = scheme.lower() if re.fullmatch(r"[\w+.-]{1,20}", scheme) else "..."
    shown = f"{scheme}://{place if re.fullmatch(_PLACE, place) else '...'}"
    if scheme not in _SCHEMES:
        wrong = f"which is not one of {', '.join(_SCHEMES)}"
    elif scheme in _SOCKS and importlib.util.find_spec("socksio") is None:
        wrong = "which needs a missing package (pip install 'httpx[socks]')"
    elif not _is_url(text):
        wrong = "which is not a URL such as http://HOST:PORT"
    else:
        return Proxy(text, shown, variable)
    raise RequestError(
        f"{variable} is {shown!r}, {wrong}: correct it, or add {host} to NO_PROXY to use no proxy",
        code="bad_proxy",
    )


def _is_url(text: str) -> bool:
    try:
        url = httpx.Proxy(text).url
    except (httpx.InvalidURL, ValueError):
        return False
    return is_place(url)


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:  # 127.1 and 0x7f000001 are addresses too
        return ipaddress.IPv4Address(socket.inet_aton(host)) if re.fullmatch(r"[0-9a-fx.]+", host) else None
    except OSError:
        return None
