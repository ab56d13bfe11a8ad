"""Which proxy a connection takes, of those that the environment names: on this machine, none.

Read as httpx reads them, and further: loopback needs no `NO_PROXY`, and `NO_PROXY` may have IPv6
addresses, with brackets or without, and networks such as `10.0.0.0/8` or `fd00::/8`.
"""

import ipaddress
import os
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def proxy_for(url: str) -> tuple[str, str] | None:
    """The variable that names the proxy for `url`, and the proxy's URL; None where there is none.

    On macOS and Windows, where no variable is set, it is the system's proxy.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    if not host or _is_this_machine(host) or _is_excepted(host, parts.netloc):
        return None
    proxies = getproxies()
    for scheme in (parts.scheme, "all"):
        if proxy := proxies.get(scheme):
            name = f"{scheme}_proxy"
            variable = name if name in os.environ else name.upper()
            return variable, proxy if "://" in proxy else f"http://{proxy}"
    return None


def proxy_trouble(variable: str) -> str:
    """What to tell the person when the proxy that `variable` names cannot be used."""
    return (
        f"The proxy that {variable} names cannot be used: give an http:// URL, install "
        "httpx[socks] for socks5://, or name the host in NO_PROXY."
    )


def _is_this_machine(host: str) -> bool:
    address = _address(host)
    if address is None:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def _is_excepted(host: str, netloc: str) -> bool:
    listed = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    entries = filter(None, map(str.strip, listed.lower().split(",")))
    if any(_covers(entry, host, netloc.rpartition("@")[2].lower()) for entry in entries):
        return True
    return not listed and bool(proxy_bypass(host))


def _covers(entry: str, host: str, host_and_port: str) -> bool:
    """Whether an entry of `NO_PROXY` is of this host."""
    address, network = _address(host), _network(entry)
    if network is not None:
        return address is not None and address.version == network.version and address in network
    domain = entry.lstrip("*").lstrip(".")
    return entry in ("*", host_and_port) or f".{host}".endswith(f".{domain}")


def _address(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def _network(entry: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    address, slash, bits = entry.partition("/")
    try:
        return ipaddress.ip_network(f"{address.strip('[]')}{slash}{bits}", strict=False)
    except ValueError:
        return None
