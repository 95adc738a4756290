"""How the S3 driver finds its way: credentials, endpoint, addressing, and when boto3 is asked."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mox_core.storage.auth import Settings
from mox_core.storage.errors import AccessDeniedError, TransientError

pytest.importorskip("boto3")

from servers.object_store import ACCESS_KEY, SECRET_KEY  # noqa: E402

from mox_storage_s3.driver import make_driver  # noqa: E402
from mox_storage_s3.sdk import Boto3Driver, make_client  # noqa: E402


@pytest.fixture
def no_credentials(monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return tmp_path / "credentials"


@pytest.mark.data_plane
def test_said_credentials_need_no_boto3(object_store):
    object_store.put("k", b"hello")
    script = f"""
import sys
from mox_core.storage import api
api.set_auth(ak={ACCESS_KEY!r}, sk={SECRET_KEY!r}, server="http://127.0.0.1:{object_store.port}")
assert api.read("s3://bucket/k") == "hello"
print(sorted(m for m in ("boto3", "botocore", "obs", "numpy") if m in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_credentials_of_the_shared_file(object_store, store_settings, no_credentials):
    no_credentials.write_text(
        f"[default]\naws_access_key_id={ACCESS_KEY}\naws_secret_access_key={SECRET_KEY}\n"
    )
    driver = make_driver("s3", store_settings._replace(ak=None, sk=None))
    driver.put("bucket/k", b"x")
    assert object_store.get("k") == b"x"
    driver.close()


def test_no_credentials_at_all(store_settings, no_credentials):
    with pytest.raises(AccessDeniedError, match="set_auth"):
        make_driver("s3", store_settings._replace(ak=None, sk=None))


def test_a_session_token_is_sent_and_signed(object_store, store_settings):
    driver = make_driver("s3", store_settings._replace(token="a-token"))
    driver.put("bucket/k", b"x")  # the server refuses x-amz-* headers that are not signed
    driver.close()


@pytest.mark.parametrize(
    ("server", "said", "host"),
    [
        ("s3.eu-west-3.amazonaws.com", None, "bucket.s3.eu-west-3.amazonaws.com"),
        ("obs.cn-north-4.myhuaweicloud.com", None, "bucket.obs.cn-north-4.myhuaweicloud.com"),
        ("minio.example.org", None, "minio.example.org"),
        ("minio.example.org", False, "bucket.minio.example.org"),
        ("s3.eu-west-3.amazonaws.com", True, "s3.eu-west-3.amazonaws.com"),
    ],
)
@pytest.mark.data_plane
def test_where_the_bucket_goes(server, said, host, monkeypatch):
    asked = []

    def refuse(address, *_args, **_kwargs):
        asked.append(address)
        raise ConnectionRefusedError(111, "refused")

    monkeypatch.setattr("socket.create_connection", refuse)
    driver = make_driver("s3", Settings(ak="a", sk="b", server=server, path_style=said))
    with pytest.raises(TransientError, match="refused"):
        driver.stat("bucket/key")
    assert asked == [(host, 443)]


@pytest.mark.data_plane
def test_a_bucket_with_dots_stays_in_the_path_under_tls(monkeypatch):
    asked = []

    def refuse(address, *_args, **_kwargs):
        asked.append(address)
        raise ConnectionRefusedError(111, "refused")

    monkeypatch.setattr("socket.create_connection", refuse)
    driver = make_driver("s3", Settings(ak="a", sk="b", server="s3.amazonaws.com"))
    with pytest.raises(TransientError):
        driver.stat("my.bucket/key")
    assert asked == [("s3.amazonaws.com", 443)]


def test_amazon_itself_is_found_by_botocore(monkeypatch):
    from mox_storage_s3.driver import _endpoint

    endpoint, region = _endpoint(Settings(ak="a", sk="b", region="eu-west-3"))
    assert (endpoint.host, endpoint.port, region) == (
        "s3.eu-west-3.amazonaws.com",
        443,
        "eu-west-3",
    )
    assert endpoint.tls is not None and not endpoint.path_style


def test_the_off_switch(store_settings, monkeypatch):
    monkeypatch.setenv("MOX_FILE_FASTPATH", "0")
    assert isinstance(make_driver("s3", store_settings), Boto3Driver)


@pytest.mark.data_plane
def test_content_can_be_covered_by_md5_instead(object_store, store_settings, monkeypatch):
    monkeypatch.setenv("MOX_FILE_SIGN_PAYLOAD", "0")
    driver = make_driver("s3", store_settings)
    object_store.fail("flip_in", method="PUT")
    with pytest.raises(TransientError, match="BadDigest"):
        driver.put("bucket/k", b"hello")
    assert object_store.get("k") is None
    driver.close()


@pytest.mark.data_plane
def test_boto3_answers_what_the_data_plane_does_not_understand(object_store, store_settings, sink):
    object_store.put("k", b"hello")
    object_store.fail("status", status=400, code="AuthorizationHeaderMalformed")
    driver = make_driver("s3", store_settings)
    driver.fetch("bucket/k", sink)
    assert sink.data == b"hello"
    assert len(object_store.requests) == 2
    driver.close()


def test_boto3_sends_no_checksums_that_some_stores_refuse(store_settings):
    config = make_client(store_settings).meta.config
    assert config.request_checksum_calculation == "when_required"
    assert config.response_checksum_validation == "when_required"


def test_settings_show_no_secret(store_settings):
    assert SECRET_KEY not in repr(store_settings)
