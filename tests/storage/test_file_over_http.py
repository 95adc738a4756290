"""mox.file over the S3 and OBS drivers and a server that fails: what the core adds to them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers.object_store import ObjectStore

from mox_core import file
from mox_core.storage.auth import Settings
from mox_core.storage.registry import DRIVERS
from mox_core.testing.storage_tiers.contents import same

pytest.importorskip("boto3")
pytest.importorskip("obs")

URL = "store://bucket/d"


@pytest.fixture(params=["s3", "obs", "s3-sdk", "obs-sdk"])
def store(
    request: pytest.FixtureRequest,
    object_store: ObjectStore,
    store_settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[ObjectStore]:
    name, _, sdk = request.param.partition("-")
    if sdk:
        monkeypatch.setenv("MOX_FILE_FASTPATH", "0")
    if name == "s3":
        from mox_storage_s3.driver import make_driver
    else:
        from mox_storage_obs.driver import make_driver
    driver = make_driver("store", store_settings._replace(retry_wait=0.01))
    with DRIVERS.serving("store", driver):
        yield object_store
    driver.close()


def test_every_kind_of_request_is_tried_again(store: ObjectStore, tmp_path: Path) -> None:
    for number in range(5):
        file.write(str(tmp_path / f"s/{number}"), "x" * number)
    for method in ("PUT", "GET", "HEAD", "POST", "DELETE"):
        store.fail("status", method=method, status=503, times=2)
    file.copy_parallel(str(tmp_path / "s"), URL)
    file.append(f"{URL}/0", "!")
    assert file.list_directory(URL) == [str(number) for number in range(5)]
    file.copy_parallel(URL, str(tmp_path / "t"))
    assert (tmp_path / "t/4").read_text() == "xxxx"
    assert (tmp_path / "t/0").read_text() == "!"
    file.remove(f"{URL}/4")
    file.remove(URL, recursive=True)
    assert file.exists(URL) is False
    assert not [fault for fault in store.faults if fault.times and fault.method != "POST"]


@pytest.mark.parametrize("kind", ["reset", "cut", "flip"])
def test_a_damaged_download_is_mended(store: ObjectStore, tmp_path: Path, kind: str) -> None:
    data = os.urandom(3_000_000)
    file.write(f"{URL}/a", data, binary=True)
    store.fail(kind, method="GET", match="/a", times=2)
    file.copy(f"{URL}/a", str(tmp_path / "a"))
    same((tmp_path / "a").read_bytes(), data)
    assert not [fault for fault in store.faults if fault.times]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_download_that_cannot_be_mended_keeps_the_old_file(
    store: ObjectStore, tmp_path: Path
) -> None:
    file.write(f"{URL}/a", os.urandom(100_000), binary=True)
    (tmp_path / "a").write_text("old")
    store.fail("flip", method="GET", match="/a", times=1000)
    with pytest.raises(file.MoxFileReadException, match="damaged"):
        file.copy(f"{URL}/a", str(tmp_path / "a"))
    assert (tmp_path / "a").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_an_upload_that_is_cut_leaves_nothing_open(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOX_FILE_LARGE_FILE_PART_SIZE", str(5 << 20))
    (tmp_path / "big").write_bytes(os.urandom(1 << 20) * 22)
    store.fail("status", method="PUT", match="partNumber=3", status=403, times=1000)
    with pytest.raises(file.MoxFileRespException, match="403"):
        file.copy(str(tmp_path / "big"), f"{URL}/big")
    assert store.uploads == {}
    assert file.exists(f"{URL}/big") is False
    store.faults.clear()
    store.fail("reset", method="PUT", match="partNumber=2", times=2)
    file.copy(str(tmp_path / "big"), f"{URL}/big")
    assert file.get_size(f"{URL}/big") == 22 << 20
    assert store.uploads == {}


def test_refusals_are_told_as_they_are(store: ObjectStore, tmp_path: Path) -> None:
    file.write(f"{URL}/a", "x")
    store.fail("status", status=403, times=1000)
    for ask in (file.exists, file.is_directory, file.stat, file.read, file.list_directory):
        with pytest.raises(file.MoxFileRespException) as caught:
            ask(f"{URL}/a")
        assert caught.value.resp is not None and caught.value.resp.status == 403
        assert "SECRET" not in str(caught.value)
    store.faults.clear()
    assert file.exists("store://no-such-bucket/x") is False
    with pytest.raises(file.MoxFileNotExistsException, match="no-such-bucket"):
        file.copy_parallel(str(Path(__file__).parent / "servers"), "store://no-such-bucket/x")


def test_fsspec_opens_obs_urls(object_store: ObjectStore, store_settings: Settings) -> None:
    fsspec = pytest.importorskip("fsspec")
    from mox_core.storage.fsspec_face import ObsFileSystem
    from mox_storage_obs.driver import make_driver

    fsspec.register_implementation("obs", ObsFileSystem, clobber=True)
    driver = make_driver("obs", store_settings)
    with DRIVERS.serving("obs", driver):
        with fsspec.open("obs://bucket/d/t.csv", "wt") as out:
            out.write("x,y\n1,2\n")
        assert object_store.buckets["bucket"]["d/t.csv"].data == b"x,y\n1,2\n"
        with fsspec.open("obs://bucket/d/t.csv", "rt") as into:
            assert into.read() == "x,y\n1,2\n"
        fs = fsspec.filesystem("obs")
        assert fs.glob("bucket/*/*.csv") == ["bucket/d/t.csv"]
        fs.rm("bucket/d", recursive=True)
        assert fs.exists("obs://bucket/d") is False
    driver.close()


STOPPED = """
import sys
from mox_core import file
from mox_core.storage import pool
from mox_core.storage.auth import Settings
from mox_core.storage.registry import DRIVERS
from {package}.driver import make_driver

settings = Settings(ak={ak!r}, sk={sk!r}, server="127.0.0.1", port={port}, is_secure=False)
serving = DRIVERS.serving("store", make_driver("store", settings))
serving.__enter__()
pool.UNDO = 20  # machines that run tests may be slow
file.copy_parallel({source!r}, {target!r})
"""


@pytest.mark.parametrize("package", ["mox_storage_s3", "mox_storage_obs"])
@pytest.mark.parametrize("up", [True, False])
def test_ctrl_c_while_the_server_hangs(
    object_store: ObjectStore, store_settings: Settings, tmp_path: Path, package: str, up: bool
) -> None:
    """The server stops answering in the middle; nothing stays behind on either side."""
    big = f"big-{package}-{up}"  # a late request of another test's process must not count
    (tmp_path / "s").mkdir()
    (tmp_path / f"s/{big}").write_bytes(os.urandom(1 << 20) * 30)
    for number in range(20):
        (tmp_path / f"s/{number}").write_bytes(b"x" * 200_000)
        object_store.put(f"d/{number}", b"x" * 200_000)
    object_store.put(f"d/{big}", b"x" * (30 << 20))
    stalled = f"{big}.*partNumber=3" if up else f"d/{big}"
    object_store.fail("stall", method="PUT" if up else "GET", match=stalled, times=-1, at=1000)
    script = STOPPED.format(
        package=package,
        ak=store_settings.ak,
        sk=store_settings.sk,
        port=store_settings.port,
        source=str(tmp_path / "s") if up else "store://bucket/d",
        target="store://bucket/u" if up else str(tmp_path / "t"),
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "MOX_FILE_LARGE_FILE_PART_SIZE": str(5 << 20)},
        stderr=subprocess.PIPE,
    )
    while not any(re.search(stalled, target) for _, target in tuple(object_store.requests)):
        assert process.poll() is None, process.communicate()[1].decode()
        object_store.closing.wait(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)  # the server hangs for 60 s
    assert b"KeyboardInterrupt" in errors, (process.returncode, errors)
    assert object_store.uploads == {}
    assert not [path for path in tmp_path.rglob(".mox*")]
    if not up:
        assert not (tmp_path / "t" / big).exists()
