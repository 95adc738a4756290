"""Makes the driver of `s3://`: who signs, where to, and by which way."""

from __future__ import annotations

import os
from collections.abc import Callable

from mox_core.storage.auth import Settings
from mox_core.storage.driver import Capabilities, Driver, Recipe
from mox_core.storage.errors import AccessDeniedError
from mox_core.storage.http.base import ObjectStoreDriver
from mox_core.storage.http.client import Client
from mox_core.storage.http.driver import Dialect, HttpDriver
from mox_core.storage.http.request import Endpoint, make_endpoint
from mox_core.storage.http.signers import Credentials, SigV4

__all__ = ["CAPABILITIES", "make_driver"]

CAPABILITIES = Capabilities(multipart=True, part_copy=True, conditional_put=True, server_copy=True)
DEFAULT_REGION = "us-east-1"
# These want the bucket in the host name; a store of one's own mostly wants it in the path.
_VIRTUAL_HOSTS = ("amazonaws.com", "amazonaws.com.cn", "myhuaweicloud.com", "aliyuncs.com")


def make_driver(scheme: str, settings: Settings) -> Driver:
    """The driver for `settings`.

    `MOX_FILE_FASTPATH=0` in the environment sends every request through boto3.
    `MOX_FILE_SIGN_PAYLOAD=0` covers content by Content-MD5 instead of a signed SHA-256.

    Args:
        scheme: URL scheme, for messages.
        settings: Credentials and connection settings.

    Raises:
        AccessDeniedError: There are no credentials.
        OSError: The CA file of `ssl_verify` cannot be read.
    """

    def make_sdk() -> ObjectStoreDriver:
        from mox_storage_s3.sdk import Boto3Driver

        return Boto3Driver(scheme, settings)

    credentials, fixed = _credentials(settings)
    if os.environ.get("MOX_FILE_FASTPATH") == "0":
        return make_sdk()
    signed = os.environ.get("MOX_FILE_SIGN_PAYLOAD") != "0"
    endpoint, region = _endpoint(settings)
    client = Client(endpoint, SigV4(credentials, region), user_agent="mox-storage-s3")
    dialect = Dialect(
        prefix="x-amz-",
        list_v2=True,
        sign_payload=signed,
        append=False,
        checksums=True,
    )
    recipe = None
    if fixed is not None:
        found = endpoint.named(settings)._replace(
            ak=fixed.access_key, sk=fixed.secret_key, token=fixed.token, region=region
        )
        recipe = Recipe(f"{__name__}:make_driver", scheme, found)
    return HttpDriver(
        scheme,
        settings,
        client=client,
        dialect=dialect,
        capabilities=CAPABILITIES,
        make_sdk=make_sdk,
        recipe=recipe,
    )


def is_path_style(settings: Settings, host: str) -> bool:
    """Whether the bucket goes into the path of the URL."""
    if settings.path_style is not None:
        return settings.path_style
    return not host.endswith(_VIRTUAL_HOSTS)


def _endpoint(settings: Settings) -> tuple[Endpoint, str]:
    if settings.server:
        secure = settings.is_secure is not False
        host, port = settings.server, settings.port
        region = settings.region or DEFAULT_REGION
    else:  # Amazon's own: botocore knows the host of each region
        from urllib.parse import urlsplit

        from mox_storage_s3.sdk import make_client

        boto = make_client(settings)
        parts = urlsplit(boto.meta.endpoint_url)
        secure, host, port = parts.scheme == "https", parts.hostname or "", parts.port
        region = boto.meta.region_name
    path_style = is_path_style(settings, host)
    return (
        make_endpoint(settings, host=host, port=port, secure=secure, path_style=path_style),
        region,
    )


def _credentials(settings: Settings) -> tuple[Callable[[], Credentials], Credentials | None]:
    """What gives the credentials for a request, and the credentials if they stay the same."""
    if settings.ak and settings.sk:
        fixed = Credentials(settings.ak, settings.sk, settings.token)
        return lambda: fixed, fixed
    from botocore.credentials import Credentials as StaticCredentials
    from botocore.session import get_session

    found = get_session().get_credentials()
    if found is None:
        raise AccessDeniedError(
            "there are no credentials for s3://\n"
            "  Say them: mox.file.set_auth(ak=..., sk=...), or set ACCESS_KEY_ID and"
            " SECRET_ACCESS_KEY"
        )

    def current() -> Credentials:
        frozen = found.get_frozen_credentials()
        return Credentials(frozen.access_key or "", frozen.secret_key or "", frozen.token)

    return current, current() if type(found) is StaticCredentials else None
