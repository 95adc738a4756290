"""Servers as pytest fixtures: started when a test needs one, stopped at the end of the session."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mox_core.storage.auth import Settings
from mox_core.storage.driver import ObjectInfo
from servers.object_store import ACCESS_KEY, SECRET_KEY, ObjectStore


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if process.poll() is not None:
                pytest.fail(f"the server exited with {process.returncode}: {process.args}")
            time.sleep(0.02)
    pytest.fail(f"the server does not listen: {process.args}")


def _tool(name: str) -> str:
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if not found:
        pytest.skip(f"{name} is not installed")
    return found


def _settings(port: int, **more: object) -> Settings:
    said = Settings(ak=ACCESS_KEY, sk=SECRET_KEY, server="127.0.0.1", port=port, is_secure=False)
    return said._replace(**more)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def running_object_store() -> Iterator[ObjectStore]:
    with ObjectStore() as store:
        yield store


@pytest.fixture
def object_store(running_object_store: ObjectStore) -> ObjectStore:
    """The OBS- and S3-speaking server with faults, empty but for the bucket `bucket`."""
    running_object_store.reset()
    return running_object_store


@pytest.fixture
def store_settings(object_store: ObjectStore) -> Settings:
    return _settings(object_store.port)


@pytest.fixture(scope="session")
def rclone_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """`rclone serve s3`: a real server that checks V4 signatures."""
    root = tmp_path_factory.mktemp("rclone")
    (root / "bucket").mkdir()
    port = _free_port()
    process = subprocess.Popen(
        [
            _tool("rclone"),
            *("serve", "s3", "--addr", f"127.0.0.1:{port}"),
            *("--auth-key", f"{ACCESS_KEY},{SECRET_KEY}", "--config", os.devnull),
            str(root),
        ],
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port, process)
        yield _settings(port)
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def moto_settings() -> Iterator[Settings]:
    """moto's server: S3's semantics without signatures."""
    port = _free_port()
    process = subprocess.Popen(
        [_tool("moto_server"), "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port, process)
        settings = _settings(port)
        from mox_storage_s3.sdk import make_client

        client = make_client(settings)
        client.create_bucket(Bucket="bucket")
        client.close()
        yield settings
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def localhost_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `bucket.localhost` resolve, as RFC 6761 asks; this machine's resolver may not."""
    resolve = socket.getaddrinfo

    def getaddrinfo(host: str, *args: object, **kwargs: object) -> object:
        local = isinstance(host, str) and host.endswith(".localhost")
        return resolve("127.0.0.1" if local else host, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


class Collected:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.infos: list[ObjectInfo] = []
        self.data = b""

    def begin(self, info: ObjectInfo) -> None:
        self.infos.append(info)

    def write(self, chunk: memoryview) -> None:
        self.data += bytes(chunk)


@pytest.fixture
def sink() -> Collected:
    return Collected()
