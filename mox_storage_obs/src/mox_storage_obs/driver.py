"""Makes the driver of `obs://`: who signs, in which dialect, where to, and by which way."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable

from mox_core.storage.auth import Settings
from mox_core.storage.driver import Capabilities, Driver, Recipe
from mox_core.storage.errors import AccessDeniedError, MoxFileRespException
from mox_core.storage.http.base import ObjectStoreDriver
from mox_core.storage.http.client import Client
from mox_core.storage.http.driver import Dialect, HttpDriver
from mox_core.storage.http.request import Endpoint, make_endpoint
from mox_core.storage.http.signers import Credentials, HmacSha1

__all__ = ["CAPABILITIES", "find_credentials", "find_endpoint", "make_driver"]

CAPABILITIES = Capabilities(
    multipart=True, min_part_size=100 << 10, part_copy=True, append=True, server_copy=True
)
CAPABILITIES_V2 = Capabilities(multipart=True, part_copy=True, server_copy=True)
_REFRESH = 300.0


def make_driver(scheme: str, settings: Settings) -> Driver:
    """The driver for `settings`; `MOX_FILE_FASTPATH=0` sends every request through the SDK.

    Args:
        scheme: URL scheme, for messages.
        settings: Credentials and connection settings.

    Raises:
        AccessDeniedError: There are no credentials.
        MoxFileRespException: No server was named.
        OSError: The CA file of `ssl_verify` cannot be read.
    """
    endpoint = find_endpoint(scheme, settings)
    credentials = find_credentials(scheme, settings)

    def make_sdk() -> ObjectStoreDriver:
        from mox_storage_obs.sdk import ObsSdkDriver

        return ObsSdkDriver(scheme, settings, endpoint=endpoint, credentials=credentials())

    if os.environ.get("MOX_FILE_FASTPATH") == "0":
        return make_sdk()
    prefix = "x-amz-" if endpoint.path_style else "x-obs-"
    signer = HmacSha1(
        credentials,
        path_style=endpoint.path_style,
        scheme="AWS" if endpoint.path_style else "OBS",
        header_prefix=prefix,
    )
    dialect = Dialect(
        prefix=prefix,
        list_v2=False,
        sign_payload=False,
        append=not endpoint.path_style,
    )
    recipe = None
    if settings.ak and settings.sk:  # what the SDK's providers find expires
        recipe = Recipe(f"{__name__}:make_driver", scheme, endpoint.named(settings))
    return HttpDriver(
        scheme,
        settings,
        client=Client(endpoint, signer, user_agent="mox-storage-obs"),
        dialect=dialect,
        capabilities=CAPABILITIES_V2 if endpoint.path_style else CAPABILITIES,
        make_sdk=make_sdk,
        recipe=recipe,
    )


def find_endpoint(scheme: str, settings: Settings) -> Endpoint:
    """Where the service listens; a region stands for Huawei Cloud's public endpoint.

    Raises:
        MoxFileRespException: Neither a server nor a region was named.
        OSError: The CA file of `ssl_verify` cannot be read.
    """
    server = settings.server
    if not server and settings.region:
        server = f"obs.{settings.region}.myhuaweicloud.com"
    if not server:
        raise MoxFileRespException(
            f"no server was named for {scheme}://\n"
            "  Say it: mox.file.set_auth(server='obs.REGION.myhuaweicloud.com'), or set S3_ENDPOINT"
        )
    return make_endpoint(
        settings,
        host=server,
        port=settings.port,
        secure=settings.is_secure is not False,
        path_style=bool(settings.path_style) or _is_address(server),
    )


def _is_address(host: str) -> bool:
    bare = host.strip("[]")
    try:
        socket.inet_pton(socket.AF_INET6 if ":" in bare else socket.AF_INET, bare)
    except OSError:
        return False
    return True


def find_credentials(scheme: str, settings: Settings) -> Callable[[], Credentials]:
    """What was said, else what the SDK's own providers find, asked again every five minutes.

    Raises:
        AccessDeniedError: There are none.
    """
    if settings.ak and settings.sk:
        fixed = Credentials(settings.ak, settings.sk, settings.token)
        return lambda: fixed
    found = [(time.monotonic(), _search(scheme))]

    def current() -> Credentials:
        if time.monotonic() - found[0][0] > _REFRESH:
            found[0] = (time.monotonic(), _search(scheme))
        return found[0][1]

    return current


def _search(scheme: str) -> Credentials:
    from obs import loadtoken

    for provider in (loadtoken.ENV, loadtoken.ECS):
        try:
            said = provider.search()
        except Exception:  # the SDK raises bare exceptions of many kinds
            continue
        return Credentials(said["accessKey"], said["secretKey"], said.get("securityToken"))
    raise AccessDeniedError(
        f"there are no credentials for {scheme}://\n"
        "  Say them: mox.file.set_auth(ak=..., sk=...), or set ACCESS_KEY_ID and SECRET_ACCESS_KEY"
    )
