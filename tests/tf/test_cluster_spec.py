"""What flags and TF_CONFIG say of a cluster, and what they must not say."""

from __future__ import annotations

import json
import logging
import socket

import pytest

pytest.importorskip("tensorflow")

from mox_core.errors import EngineError
from mox_core.flags import get_flag
from mox_tf.cluster import hosts
from mox_tf.cluster.hosts import wait_for
from mox_tf.cluster.server import start_server
from mox_tf.cluster.spec import ClusterSpec
from mox_tf.devices import Placement


def spec(**flags):
    return ClusterSpec.from_flags(lambda name: flags.get(name, get_flag(name)))


HOSTS = {"ps_hosts": "a:1,b:2", "worker_hosts": "c:3,d:4"}


def test_flags():
    read = spec(**HOSTS, job_name="worker", task_index=1, sync_replicas=True)
    assert (read.ps, read.workers) == (("a:1", "b:2"), ("c:3", "d:4"))
    assert (read.address, read.is_chief, read.sync) == ("d:4", False, True)
    assert spec(**HOSTS, job_name="worker").is_chief
    assert spec(**HOSTS, job_name="ps", task_index=1).address == "b:2"


def test_no_cluster():
    assert spec() is None
    assert spec(worker_hosts="a:1", job_name="worker") is None


@pytest.mark.parametrize(
    ("job", "index", "address"),
    [("chief", 0, "x:1"), ("worker", 0, "y:1"), ("worker", 1, "z:1"), ("ps", 0, "p:1")],
)
def test_tf_config(monkeypatch, job, index, address):
    cluster = {"chief": ["x:1"], "worker": ["y:1", "z:1"], "ps": ["p:1"]}
    config = {"cluster": cluster, "task": {"type": job, "index": index}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    read = spec()
    assert read.workers == ("x:1", "y:1", "z:1")
    assert (read.address, read.is_chief) == (address, job == "chief")


def test_flags_go_before_tf_config(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "not even JSON")
    assert spec(**HOSTS, job_name="ps").ps == ("a:1", "b:2")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({**HOSTS}, "which process of the cluster is this"),
        ({**HOSTS, "job_name": "boss"}, "The job is 'boss'"),
        ({**HOSTS, "job_name": "ps", "task_index": 2}, "--task_index is 2, but there are 2"),
        ({**HOSTS, "job_name": "ps", "task_index": -1}, "--task_index is -1"),
        ({"ps_hosts": "a:1", "job_name": "ps"}, "the cluster has no worker"),
        ({"worker_hosts": "a:1,b:1", "job_name": "worker"}, "has no parameter server"),
        ({**HOSTS, "ps_hosts": "a", "job_name": "ps"}, "'a' is not host:port"),
        ({**HOSTS, "ps_hosts": "a:x", "job_name": "ps"}, "'a:x' is not host:port"),
        ({**HOSTS, "ps_hosts": "c:3", "job_name": "ps"}, "c:3 stands there twice"),
    ],
)
def test_what_makes_no_cluster(flags, message):
    with pytest.raises(EngineError) as error:
        spec(**flags)
    assert message in str(error.value)


@pytest.mark.parametrize("text", ["{", "[]", '{"cluster": 1}', '{"task": {"index": "x"}}'])
def test_tf_config_that_cannot_be_read(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(EngineError, match="TF_CONFIG cannot be read"):
        spec()


def test_a_port_that_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        read = spec(ps_hosts=f"127.0.0.1:{port}", worker_hosts="127.0.0.1:1", job_name="ps")
        with pytest.raises(EngineError, match=f"port {port} of ps 0 .* is taken"):
            start_server(read, "grpc", Placement().session_config())


def test_waiting_is_told_again_and_again(caplog, monkeypatch):
    monkeypatch.setattr(hosts, "_SAY_EVERY", 0)  # 30 s
    caplog.set_level(logging.INFO)
    tries = iter([False, False, True])
    with pytest.raises(KeyboardInterrupt):
        wait_for(
            {"ps 0": "127.0.0.1:1", "ps 1": "127.0.0.1:2"},
            timeout=600,
            interrupted=lambda: next(tries),
            logger=logging.getLogger("test"),
        )
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert said[0].startswith("Waiting for ps 0 (127.0.0.1:1), ps 1 (127.0.0.1:2) (")


def test_an_interrupt_ends_the_waiting():
    with pytest.raises(KeyboardInterrupt):
        wait_for(
            {"ps 0": "127.0.0.1:1"},
            timeout=0,
            interrupted=lambda: True,
            logger=logging.getLogger("test"),
        )
