"""Credentials and connection settings: set_auth, then the environment, then the SDK's own chain."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from mox_core.errors import MoxError

__all__ = ["AuthError", "Settings"]

RETRY_SECONDS = 30.0
"""How long a request is retried by default, all attempts together."""


class AuthError(MoxError, ValueError):
    """An argument of set_auth, or a variable of the environment, does not fit."""


class Settings(NamedTuple):
    """What was said about how to reach a store; None means "not said".

    Attributes:
        ak: access key id.
        sk: secret access key.
        token: security token of temporary credentials.
        server: endpoint host, without scheme and port.
        port: endpoint port.
        is_secure: whether to use HTTPS.
        ssl_verify: False switches certificate checks off; a string is the path of a CA file.
        long_conn_mode: whether connections are kept open.
        path_style: True for `server/bucket/key`, False for `bucket.server/key`.
        retry: how many attempts a request gets, at most.
        retry_wait: seconds before the second attempt; later waits grow.
        client_timeout: seconds without a byte after which a request fails.
        list_max_keys: entries per page of a listing.
        region: region to sign for.
        driver: entry-point name of the driver that serves `s3://`.
        obs_client_log: whether the OBS SDK may write its own log.
        timeout_config: (connect, read) seconds.
        negotiation: whether the OBS SDK asks the server which signature it wants.
    """

    ak: str | None = None
    sk: str | None = None
    token: str | None = None
    server: str | None = None
    port: int | None = None
    is_secure: bool | None = None
    ssl_verify: bool | str | None = None
    long_conn_mode: bool | None = None
    path_style: bool | None = None
    retry: int | None = None
    retry_wait: float | None = None
    client_timeout: float | None = None
    list_max_keys: int | None = None
    region: str | None = None
    driver: str | None = None
    obs_client_log: bool | None = None
    timeout_config: tuple[float, float] | None = None
    negotiation: bool | None = None

    def __repr__(self) -> str:
        said = []
        for name, value in self._asdict().items():
            if value is not None:
                said.append(f"{name}={'***' if name in _SECRET else repr(value)}")
        return f"Settings({', '.join(said)})"

    @property
    def endpoint(self) -> str | None:
        """`http(s)://server[:port]`, or None when no server was named."""
        if not self.server:
            return None
        scheme = "http" if self.is_secure is False else "https"
        return f"{scheme}://{self.server}" + (f":{self.port}" if self.port else "")


_SECRET = frozenset({"sk", "token"})

_KEYS = (
    ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SECURITY_TOKEN"),
    ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
)
_ENVIRONMENT: dict[str, tuple[str, ...]] = {
    "server": ("S3_ENDPOINT", "ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
    "is_secure": ("S3_USE_HTTPS",),
    "ssl_verify": ("S3_VERIFY_SSL",),
    "region": ("S3_REGION", "AWS_REGION", "AWS_DEFAULT_REGION"),
    "driver": ("MOX_STORAGE_S3",),
}
_SERVER = re.compile(
    r"(?:(?P<scheme>https?)://)?(?P<host>[\w.-]+|\[[\da-f:.]+\])(?::(?P<port>\d{1,5}))?/?"
)
_WORDS = {"1": True, "true": True, "yes": True, "on": True}
_WORDS |= {"0": False, "false": False, "no": False, "off": False}


def _flag(name: str, value: Any) -> bool:
    if isinstance(value, (bool, int)):
        return bool(value)
    word = _WORDS.get(str(value).strip().lower())
    if word is None:
        raise AuthError(f"{name} must be true or false, not {value!r}")
    return word


def _number(name: str, value: Any, kind: type[Any], least: float) -> Any:
    try:
        number = kind(value)
    except (TypeError, ValueError):
        number = None
    if number is None or isinstance(value, bool) or not number >= least:
        raise AuthError(f"{name} must be a number of at least {least:g}, not {value!r}")
    return number


def _timeouts(name: str, value: Any) -> tuple[float, float]:
    """Accepts one number, (connect, read), or an object of the OBS SDK with such fields."""
    if hasattr(value, "connect") or hasattr(value, "read"):
        value = (getattr(value, "connect", 10), getattr(value, "read", 60))
    pair = value if isinstance(value, (tuple, list)) else (value, value)
    if len(pair) != 2:
        raise AuthError(f"{name} must be seconds, or (connect, read) seconds, not {value!r}")
    connect, read = (_number(name, part, float, 0.001) for part in pair)
    return connect, read


def _server(value: Any) -> dict[str, Any]:
    """Splits `https://host:port` (each piece but the host may be missing) into its settings."""
    text = str(value).strip()
    if "@" in text:
        raise AuthError("server must hold no credentials: give them as ak and sk")
    match = _SERVER.fullmatch(text.lower())
    if match is None or not 0 < int(match["port"] or 1) < 65536:
        raise AuthError(f"server must be a host, host:port or http(s)://host:port, not {text!r}")
    said: dict[str, Any] = {"server": match["host"]}
    if match["port"]:
        said["port"] = int(match["port"])
    if match["scheme"]:
        said["is_secure"] = match["scheme"] == "https"
    return said


def _check(name: str, value: Any) -> dict[str, Any]:
    """The settings that one named value stands for."""
    if value is None:
        return {name: None}
    if name == "server":
        return _server(value)
    if name == "ssl_verify" and isinstance(value, str) and value.strip().lower() not in _WORDS:
        if not os.path.exists(value):
            raise AuthError(f"ssl_verify must be true, false or a CA file; there is no {value!r}")
        return {name: value}
    if name in _FLAGS:
        return {name: _flag(name, value)}
    if name in _NUMBERS:
        kind, least = _NUMBERS[name]
        return {name: _number(name, value, kind, least)}
    if name == "timeout_config":
        return {name: _timeouts(name, value)}
    if not isinstance(value, str) or not value:
        raise AuthError(f"{name} must be a text that is not empty")
    return {name: value}


_FLAGS = frozenset(
    {"is_secure", "ssl_verify", "long_conn_mode", "path_style", "obs_client_log", "negotiation"}
)
_NUMBERS: dict[str, tuple[type[Any], float]] = {
    "port": (int, 1),
    "retry": (int, 1),
    "retry_wait": (float, 0),
    "client_timeout": (float, 0.001),
    "list_max_keys": (int, 1),
}


def update(settings: Settings, **said: Any) -> Settings:
    """Adds what set_auth was told; None leaves a setting as it is.

    Raises:
        AuthError: a value does not fit; the message names it, and never shows a secret.
    """
    changes: dict[str, Any] = {}
    for name, value in said.items():
        if value is not None:
            # What is said by name wins over what a URL in `server` implies.
            changes = (
                _check(name, value) | changes if name == "server" else changes | _check(name, value)
            )
    if "server" in changes:
        changes.setdefault("port", None)
    return settings._replace(**changes)


def resolve(settings: Settings, environment: Mapping[str, str]) -> Settings:
    """Fills what set_auth left open from the environment.

    A key pair is taken as a whole from one place, so that an old secret never meets a new key.

    Raises:
        AuthError: a variable does not fit, or one half of a key pair is missing.
    """
    open_names = [name for name in _ENVIRONMENT if getattr(settings, name) is None]
    found = _keys(settings, environment)
    for name in open_names:
        for variable in _ENVIRONMENT[name]:
            value = environment.get(variable)
            if value:
                try:
                    found = _check(name, value) | found
                except AuthError as error:
                    raise AuthError(f"in the environment variable {variable}: {error}") from None
                break
    if settings.server:
        found.pop("port", None)
    return settings._replace(**{k: v for k, v in found.items() if getattr(settings, k) is None})


def _keys(settings: Settings, environment: Mapping[str, str]) -> dict[str, Any]:
    """The key pair of the environment, with its token, unless set_auth named one."""
    said = {"ak": settings.ak, "sk": settings.sk}
    if any(said.values()):
        if not all(said.values()):
            there, missing = ("ak", "sk") if settings.ak else ("sk", "ak")
            raise AuthError(f"set_auth was given {there} but no {missing}: give it both")
        return {}
    half = ""
    for ak, sk, token in _KEYS:
        if environment.get(ak) and environment.get(sk):
            found = {"ak": environment[ak], "sk": environment[sk]}
            return found | ({"token": environment[token]} if environment.get(token) else {})
        if environment.get(ak) or environment.get(sk):
            there, missing = (ak, sk) if environment.get(ak) else (sk, ak)
            half = half or f"the environment variable {there} is set but {missing} is not: set both"
    if half:
        raise AuthError(half)
    return {}
