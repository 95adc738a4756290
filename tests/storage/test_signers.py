"""Our signatures against botocore's and the OBS SDK's own."""

from __future__ import annotations

from email.utils import formatdate
from urllib.parse import quote, unquote

import pytest

from mox_core.storage.http.request import Endpoint, Request
from mox_core.storage.http.signers import Credentials, HmacSha1, SigV4

botocore_auth = pytest.importorskip("botocore.auth")
obs_auth = pytest.importorskip("obs.auth")

from botocore.awsrequest import AWSRequest  # noqa: E402
from botocore.credentials import Credentials as BotoCredentials  # noqa: E402
from obs.convertor import Adapter  # noqa: E402

KEYS = ["a.txt", "dir/b c+d%41.jpg", "ü/日本/😀", "a//b", "~x*'()!;:@&=,$#[]?", "x" * 900, ""]
QUERIES = [
    {},
    {"uploads": None},
    {"partNumber": "7", "uploadId": "aB/+=~ x"},
    {"list-type": "2", "prefix": "a b/ü+", "delimiter": "/", "continuation-token": "1/=="},
    {"append": None, "position": "0"},
]
NOW = 1_790_000_000.0


@pytest.mark.parametrize("query", QUERIES, ids=lambda q: "&".join(q) or "none")
@pytest.mark.parametrize("key", KEYS, ids=lambda k: k[:12] or "bucket")
@pytest.mark.parametrize("token", [None, "session/token=="])
@pytest.mark.parametrize("path_style", [True, False])
def test_v4_is_what_botocore_signs(key, query, token, path_style, monkeypatch):
    endpoint = Endpoint("s3.example.org", 9000, path_style=path_style)
    headers = {"range": "bytes=0-9", "if-match": '"abc"', "content-md5": "x  y "}
    request = Request("PUT", "bucket", key, query=query, headers=headers, payload_sha256="ab" * 32)
    place = endpoint.locate("bucket")
    host, path = place.host, place.path(key)

    signer = SigV4(lambda: Credentials("AKEXAMPLE", "secret", token), "eu-west-3")
    ours = signer.sign(request, host=host, path=path, now=NOW)

    theirs = AWSRequest(
        "PUT",
        f"http://{host}{path}",
        params={name: value or "" for name, value in query.items()},
        headers={**headers, "x-amz-content-sha256": "ab" * 32},
    )
    _freeze_botocore(monkeypatch)
    credentials = BotoCredentials("AKEXAMPLE", "secret", token)
    boto = botocore_auth.S3SigV4Auth(credentials, "s3", "eu-west-3")
    boto.payload = lambda _request: "ab" * 32
    boto.add_auth(theirs)
    assert ours["authorization"] == theirs.headers["Authorization"]
    assert ours["x-amz-date"] == theirs.headers["X-Amz-Date"]


def _freeze_botocore(monkeypatch):
    import datetime

    now = datetime.datetime.fromtimestamp(NOW, datetime.timezone.utc)
    monkeypatch.setattr(botocore_auth, "get_current_datetime", lambda *_a, **_k: now)


@pytest.mark.parametrize("query", QUERIES, ids=lambda q: "&".join(q) or "none")
@pytest.mark.parametrize("key", KEYS, ids=lambda k: k[:12] or "bucket")
@pytest.mark.parametrize(
    ("signature", "scheme", "prefix", "path_style"),
    [("obs", "OBS", "x-obs-", False), ("v2", "AWS", "x-amz-", True)],
)
def test_hmac_is_what_the_obs_sdk_signs(key, query, signature, scheme, prefix, path_style):
    headers = {"content-md5": "mmm=", "content-type": "text/x", f"{prefix}meta-a": " b "}
    request = Request("POST", "bucket", key, query=query, headers=headers)
    signer = HmacSha1(
        lambda: Credentials("AKEXAMPLE", "secret", "token"),
        path_style=path_style,
        scheme=scheme,
        header_prefix=prefix,
    )
    ours = signer.sign(request, host="h", path="/", now=NOW)

    sdk = obs_auth.Authentication(
        "AKEXAMPLE", "secret", path_style, Adapter(signature), "obs.example.org", False
    )
    sent = {**headers, "Date": formatdate(NOW, usegmt=True), f"{prefix}security-token": "token"}
    theirs = sdk.doAuth("POST", "bucket", key, dict(query), sent)
    assert ours["authorization"] == theirs["Authorization"]
    assert ours["date"] == sent["Date"]


def test_the_day_key_follows_the_clock_and_the_credentials():
    secrets = iter(["one", "one", "two"])
    signer = SigV4(lambda: Credentials("AK", next(secrets), None), "r")
    request = Request("GET", "b", "k")
    first = signer.sign(request, host="h", path="/b/k", now=NOW)
    next_day = signer.sign(request, host="h", path="/b/k", now=NOW + 86400)
    other = signer.sign(request, host="h", path="/b/k", now=NOW + 86400)
    fresh = SigV4(lambda: Credentials("AK", "two", None), "r")
    assert first["x-amz-date"][:8] != next_day["x-amz-date"][:8]
    assert other == fresh.sign(request, host="h", path="/b/k", now=NOW + 86400)
    assert other["authorization"] != next_day["authorization"]


def test_credentials_do_not_show():
    shown = repr(Credentials("AKID", "hushhush", "token")) + str(Credentials("AKID", "hushhush"))
    assert "hush" not in shown and "token" not in shown


@pytest.mark.parametrize("key", KEYS)
def test_a_key_comes_back_from_its_path(key):
    endpoint = Endpoint("h", 80)
    path = endpoint.locate("bucket").path(key)
    assert unquote(path) == f"/bucket/{key}".rstrip("/" if not key else "")
    assert quote(path, safe="%/-_.~") == path
