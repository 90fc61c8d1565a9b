"""By which names a server on this machine may be called from others: MLflow answers to no name that it was not told."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence

import psutil

_ANY = {"0.0.0.0": ("127.0.0.1", socket.AF_INET), "::": ("::1", socket.AF_INET6)}
"""Addresses of a server that listens on all of its machine's: the local one among these, and their kind."""
_LOCAL = ("localhost", "127.0.0.1", "::1")


def names(host: str) -> list[str]:
    """Return the names and addresses by which a server that listens on `host` may be called, the best first."""
    if host not in _ANY:
        return [host]
    local, kind = _ANY[host]
    addresses, name, full = _own_addresses(kind), socket.gethostname(), socket.getfqdn()
    known = [name, *([] if full in _LOCAL else [full]), *([] if "." in name else [f"{name}.local"])]
    # A container's name means nothing, even to itself.
    first, then = (known, addresses) if _resolves(name) else (addresses, known)
    return list(dict.fromkeys([*first, *then, local]))


def url(host: str, port: int) -> str:
    """Return the address of a server by a name or an address of its machine."""
    return f"http://{_in_url(host)}:{port}"


def options(host: str, port: int) -> Sequence[str]:
    """Return the options of `mlflow server` with which it answers to all names of this machine.

    What MLflow allows without being told, as addresses of private networks, stays allowed. There are none for a server
    that is for this machine alone.
    """
    if host in _LOCAL:
        return ()
    from mlflow.server.fastapi_security import get_allowed_hosts, get_allowed_origins_from_env

    own = names(host)
    # Behind a forwarded port, browsers name another one.
    hosts = [*get_allowed_hosts(), *(f"{_in_url(name)}:{port}" for name in own)]
    hosts += [pattern for name in own if ":" not in name for pattern in (name, f"{name}:*")]
    # Without its origin, a page could show runs, but not ask for them: MLflow's pages do that with POST.
    origins = [*(get_allowed_origins_from_env() or []), *(url(name, port) for name in own)]
    return ("--allowed-hosts", ",".join(dict.fromkeys(hosts)), "--cors-allowed-origins", ",".join(origins))


def _own_addresses(kind: socket.AddressFamily) -> list[str]:
    """Return the addresses of this machine that others may reach."""
    found = [each.address for network in psutil.net_if_addrs().values() for each in network if each.family is kind]
    # One with a `%` holds on one network card of this machine alone.
    return [text for text in found if "%" not in text and not ipaddress.ip_address(text).is_loopback]


def _resolves(name: str) -> bool:
    try:
        socket.getaddrinfo(name, None)
    except OSError:
        return False
    return True


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
