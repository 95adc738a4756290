"""Whether other processes can be reached, and waiting for them."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mox_core.errors import EngineError

__all__ = ["Absences", "is_reachable", "leave_proxies_out", "wait_for"]

_CONNECT_SECONDS = 2.0
_BETWEEN_TRIES = 0.2
_SAY_EVERY = 30.0


def is_reachable(address: str) -> bool:
    """True when something listens at host:port."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS):
            return True
    except OSError:
        return False


def wait_for(
    addresses: Mapping[str, str],
    *,
    timeout: float,
    interrupted: Callable[[], bool],
    logger: logging.Logger,
) -> None:
    """Waits until all listen; says every 30 seconds who is missing.

    Args:
        addresses: host:port of each process, by its name, such as `"ps 0"`.
        timeout: seconds; 0: without end.
        interrupted: asked between tries.
        logger: gets the lines.

    Raises:
        EngineError: somebody did not come in time.
        KeyboardInterrupt: an interrupt came.
    """
    missing = dict(addresses)
    begun = said = time.monotonic()
    while True:
        missing = {name: at for name, at in missing.items() if not is_reachable(at)}
        if not missing:
            return
        now = time.monotonic()
        names = _listed(missing)
        if timeout and now - begun >= timeout:
            raise EngineError(
                f"{names} could not be reached for {timeout:.0f} seconds.\n"
                "  Is it running, and are the hosts right? --session_timeout sets how long to wait."
            )
        if interrupted():
            raise KeyboardInterrupt(f"while waiting for {names}")
        if now - said >= _SAY_EVERY:
            logger.info("Waiting for %s (%.0f seconds so far).", names, now - begun)
            said = now
        time.sleep(_BETWEEN_TRIES)


def leave_proxies_out(addresses: list[str]) -> None:
    """Keeps gRPC from sending the traffic between these processes through an HTTP proxy."""
    hosts = {address.rpartition(":")[0] for address in addresses}
    for variable in ("no_proxy", "NO_PROXY"):
        known = [host for host in os.environ.get(variable, "").split(",") if host]
        os.environ[variable] = ",".join([*known, *sorted(hosts - set(known))])


@dataclass
class Absences:
    """Who cannot be reached, and since when.

    Args:
        addresses: host:port by name.
        timeout: seconds after which an absence is too long; 0: never.
        logger: is told every 30 seconds.

    Attributes:
        away: who could not be reached at the last look.
    """

    addresses: Mapping[str, str]
    timeout: float
    logger: logging.Logger
    away: list[str] = field(default_factory=list)
    _since: dict[str, float] = field(default_factory=dict)
    _said: dict[str, float] = field(default_factory=dict)

    def too_long(self, names: list[str]) -> list[str]:
        """Looks for these; returns those that have been away too long."""
        now = time.monotonic()
        away = [name for name in names if not is_reachable(self.addresses[name])]
        self.away = away
        self._since = {name: self._since.get(name, now) for name in away}
        self._said = {name: self._said.get(name, now) for name in away}
        for name in away:
            if now - self._said[name] >= _SAY_EVERY:
                self._said[name] = now
                self.logger.info(
                    "Waiting for %s (%.0f seconds so far).",
                    _listed({name: self.addresses[name]}),
                    now - self._since[name],
                )
        return [name for name in away if self.timeout and now - self._since[name] >= self.timeout]


def _listed(addresses: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({address})" for name, address in addresses.items())
