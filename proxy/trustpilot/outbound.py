"""The way out: the environment's proxies and certificate file, read once.

requests would read them anew for each call, and a proxy could come and go between two calls.
"""

from __future__ import annotations

import os
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit
from urllib.request import getproxies_environment


class EnvironmentProxies:
    """``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY``, in either case, as they are now."""

    def __init__(self) -> None:
        self._proxies = getproxies_environment()
        exceptions = [entry.strip() for entry in self._proxies.get("no", "").lower().split(",") if entry.strip()]
        self._everyone = "*" in exceptions
        self._names = [entry.lstrip("*").lstrip(".") for entry in exceptions]
        self._networks = [network for entry in exceptions if (network := _network(entry))]

    def for_url(self, url: str) -> dict[str, str]:
        """Return the proxy that a call to ``url`` takes, in requests' form; empty when it takes none."""
        address = urlsplit(url)
        proxy = self._proxies.get(address.scheme) or self._proxies.get("all")
        if not proxy or self._everyone or self._is_excepted(address.hostname or "", address.port):
            return {}
        return {address.scheme: proxy}

    def _is_excepted(self, host: str, port: int | None) -> bool:
        for asked in (host, f"{host}:{port}"):
            if any(asked == name or asked.endswith("." + name) for name in self._names):
                return True
        try:
            address = ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self._networks)


def certificates() -> str | bool:
    """Return the file or folder of the certificates to trust, ``True`` for requests' own."""
    return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True


def _network(entry: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(entry.strip(), strict=False) if "/" in entry else None
    except ValueError:
        return None
