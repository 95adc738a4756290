"""How the OBS driver finds its way: dialect, endpoint, credentials, and when the SDK is asked."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mox_core.storage.auth import Settings
from mox_core.storage.errors import (
    AccessDeniedError,
    MoxFileRespException,
    TransientError,
    UnsupportedError,
)

pytest.importorskip("obs")

from servers.object_store import ACCESS_KEY, SECRET_KEY  # noqa: E402

from mox_storage_obs.driver import find_endpoint, make_driver  # noqa: E402
from mox_storage_obs.sdk import ObsSdkDriver  # noqa: E402


@pytest.fixture
def vhost(store_settings, localhost_names):
    return store_settings._replace(server="localhost")


@pytest.mark.data_plane
def test_said_credentials_need_no_sdk(object_store):
    object_store.put("k", b"hello")
    script = f"""
import sys
from mox_core.storage import api
api.set_auth(ak={ACCESS_KEY!r}, sk={SECRET_KEY!r}, server="http://127.0.0.1:{object_store.port}")
assert api.read("obs://bucket/k") == "hello"
print(sorted(m for m in ("boto3", "botocore", "obs", "numpy") if m in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_the_bucket_in_the_host_name_speaks_obs(object_store, vhost):
    driver = make_driver("obs", vhost)
    driver.put("bucket/k", b"x")
    assert object_store.schemes == {"OBS"} and object_store.get("k") == b"x"
    driver.close()


def test_path_style_speaks_version_2(object_store, vhost):
    driver = make_driver("obs", vhost._replace(path_style=True))
    driver.put("bucket/k", b"x")
    assert object_store.schemes == {"AWS"} and object_store.get("k") == b"x"
    with pytest.raises(UnsupportedError):
        driver.append("bucket/k", b"y", position=1)
    driver.close()


def test_appending(object_store, vhost):
    driver = make_driver("obs", vhost)
    assert driver.append("bucket/log", b"one", position=0) == 3
    assert driver.append("bucket/log", b"two", position=3) == 6
    assert object_store.get("log") == b"onetwo"
    object_store.put("normal", b"abc")
    with pytest.raises(UnsupportedError, match="ObjectNotAppendable"):
        driver.append("bucket/normal", b"d", position=3)
    driver.close()


def test_an_append_is_not_sent_twice_on_a_broken_connection(object_store, vhost):
    driver = make_driver("obs", vhost)
    driver.stat("bucket/")
    object_store.fail("reset", method="POST")
    with pytest.raises(TransientError):
        driver.append("bucket/log", b"one", position=0)
    assert [method for method, _ in object_store.requests].count("POST") == 1
    driver.close()


def test_a_region_stands_for_its_public_endpoint():
    endpoint = find_endpoint("obs", Settings(region="cn-north-4"))
    assert endpoint.host == "obs.cn-north-4.myhuaweicloud.com"
    assert endpoint.tls is not None and not endpoint.path_style


def test_no_server_at_all():
    with pytest.raises(MoxFileRespException, match="set_auth"):
        make_driver("obs", Settings(ak="a", sk="b"))


def test_credentials_of_the_sdk_s_own_variables(object_store, vhost, monkeypatch):
    monkeypatch.setenv("OBS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("OBS_SECRET_ACCESS_KEY", SECRET_KEY)
    driver = make_driver("obs", vhost._replace(ak=None, sk=None))
    driver.put("bucket/k", b"x")
    assert object_store.get("k") == b"x"
    driver.close()


def test_no_credentials_at_all(vhost, monkeypatch):
    from obs import loadtoken

    monkeypatch.delenv("OBS_ACCESS_KEY_ID", raising=False)

    def nothing():
        raise RuntimeError("no metadata service here")

    monkeypatch.setattr(loadtoken.ECS, "search", staticmethod(nothing))
    with pytest.raises(AccessDeniedError, match="set_auth"):
        make_driver("obs", vhost._replace(ak=None, sk=None))


def test_a_session_token_is_signed(object_store, vhost):
    driver = make_driver("obs", vhost._replace(token="a-token"))
    driver.put("bucket/k", b"x")
    assert object_store.get("k") == b"x"
    driver.close()


def test_the_off_switch(vhost, monkeypatch):
    monkeypatch.setenv("MOX_FILE_FASTPATH", "0")
    assert isinstance(make_driver("obs", vhost), ObsSdkDriver)


@pytest.mark.parametrize("path_style", [True, False])
@pytest.mark.data_plane
def test_the_sdk_answers_what_the_data_plane_does_not_understand(
    object_store, vhost, sink, path_style
):
    object_store.put("k", b"hello")
    object_store.fail("status", status=400, code="SomethingNew")
    driver = make_driver("obs", vhost._replace(path_style=path_style))
    driver.fetch("bucket/k", sink)
    assert sink.data == b"hello"
    driver.close()


def test_content_is_covered_by_md5(object_store, vhost):
    driver = make_driver("obs", vhost)
    object_store.fail("flip_in", method="PUT")
    with pytest.raises(TransientError, match="BadDigest"):
        driver.put("bucket/k", b"hello")
    assert object_store.get("k") is None
    driver.close()
