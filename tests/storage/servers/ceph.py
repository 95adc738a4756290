"""A Ceph cluster of one monitor, one OSD in memory and one radosgw, as Debian has them.

    apt-get install --no-install-recommends radosgw ceph-mon ceph-osd

It checks the signatures V2 and V4 and takes every legal key. Starting takes about twenty seconds.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

__all__ = ["TOOLS", "radosgw"]

TOOLS = ("radosgw", "radosgw-admin", "ceph", "ceph-mon", "ceph-osd", "monmaptool")

CONFIG = """
[global]
fsid = {fsid}
mon host = v1:127.0.0.1:{monitor}
mon initial members = a
mon data = {folder}/mon
mon data avail warn = 1
mon data avail crit = 1
mon allow pool size one = true
mon max pg per osd = 1000
auth cluster required = none
auth service required = none
auth client required = none
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind msgr2 = false
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = 4294967296
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
run dir = {folder}
log file = {folder}/$name.log
admin socket = {folder}/$name.asok
pid file = {folder}/$name.pid
[client.rgw]
rgw data = {folder}/rgw
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw dns name = localhost
"""


def _ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


@contextlib.contextmanager
def radosgw(folder: Path, access_key: str, secret_key: str) -> Iterator[int]:
    """Starts a cluster with one user; yields the port of its S3 service.

    Args:
        folder: for data, sockets and logs; sockets want a short path.
        access_key: of the user.
        secret_key: of the user.
    """
    port, monitor = _ports(2)
    fsid = str(uuid.uuid4())
    config = folder / "ceph.conf"
    config.write_text(CONFIG.format(fsid=fsid, folder=folder, port=port, monitor=monitor))
    environment = {**os.environ, "CEPH_CONF": str(config)}
    for name in ("mon", "osd", "rgw"):
        (folder / name).mkdir()

    def call(*command: str, attempts: int = 1) -> str:
        for _ in range(attempts):
            done = subprocess.run(
                command, env=environment, cwd=folder, capture_output=True, text=True, timeout=120
            )
            if done.returncode == 0:
                return done.stdout
        raise AssertionError(f"{command}: {done.stderr[-1000:]}")

    try:
        address = f"[v1:127.0.0.1:{monitor}]"
        call("monmaptool", "--create", "--fsid", fsid, "--addv", "a", address, "monmap")
        call("ceph-mon", "--mkfs", "-i", "a", "--monmap", "monmap")
        call("ceph-mon", "-i", "a")  # a daemon, like the others
        call("ceph", "osd", "create", str(uuid.uuid4()))
        osd = json.loads(call("ceph", "osd", "dump", "-f", "json"))["osds"][0]["uuid"]
        call("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        call("ceph", "osd", "crush", "add", "osd.0", "1", "root=default", "host=h")
        # On a loaded machine it sometimes asks before it knows the cluster: "wrong fsid".
        call("ceph-osd", "-i", "0", attempts=5)
        keys = f"--access-key={access_key}", f"--secret-key={secret_key}"
        call("radosgw-admin", "user", "create", "--uid=mox", "--display-name=mox", *keys)
        call("radosgw", "-n", "client.rgw")
        deadline = time.monotonic() + 120
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
                break
            except OSError:
                assert time.monotonic() < deadline, (folder / "client.rgw.log").read_text()[-2000:]
                time.sleep(0.1)
        yield port
    finally:
        for file in folder.glob("*.pid"):
            with contextlib.suppress(ProcessLookupError, ValueError):
                os.kill(int(file.read_text()), signal.SIGKILL)
