"""mox.file beyond single stores: local files, settings, shift, processes, background copies."""

from __future__ import annotations

import builtins
import glob
import logging
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flaky import FlakyDriver, serving

from mox_core import file
from mox_core.errors import MoxError
from mox_core.plugins import get_manager, hookimpl
from mox_core.storage import auth, errors, moving
from mox_core.storage.auth import AuthError, Settings, resolve, update
from mox_core.storage.memory import MemoryDriver
from mox_core.storage.registry import DRIVERS
from mox_core.storage.urls import UrlError, locate


@pytest.fixture
def url() -> Iterator[str]:
    file.remove("memory://api/", recursive=True)
    yield "memory://api/x"
    file.remove("memory://api/", recursive=True)


@pytest.fixture
def shifted() -> Iterator[None]:
    file.shift("os", "mox")
    yield
    file.shift("mox", "os")


# ---- local files


def test_local_files_are_written_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("old")
    target.chmod(0o640)
    (tmp_path / "link").symlink_to("target")
    file.write(str(tmp_path / "link"), "new")
    assert target.read_text() == "new"
    assert (tmp_path / "link").is_symlink()
    assert target.stat().st_mode & 0o777 == 0o640
    file.write(tmp_path / "new/folder/x", "made")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "new", "target"]
    file.copy(str(target), "/dev/null")
    assert Path("/dev/null").is_char_device()


def test_a_full_disk_keeps_the_old_content(url: str) -> None:
    """/dev/full refuses every write."""
    file.write(f"{url}/a", "x" * 100)
    with pytest.raises(OSError, match="No space left"):
        file.copy(f"{url}/a", "/dev/full")


def test_copying_a_local_file_onto_itself(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("content")
    (tmp_path / "link").symlink_to("a")
    os.link(path, tmp_path / "hard")
    for other in ("a", "link", "hard"):
        file.copy(str(path), str(tmp_path / other))
        file.copy(str(tmp_path / other), str(path))
    file.copy_parallel(str(tmp_path), str(tmp_path))
    assert path.read_text() == "content"


def test_local_copies_keep_mode_and_follow_links(tmp_path: Path) -> None:
    source = tmp_path / "s"
    source.mkdir()
    (source / "tool").write_text("#!/bin/sh")
    (source / "tool").chmod(0o755)
    (source / "link").symlink_to("tool")
    (source / "again").symlink_to(source)
    file.copy_parallel(str(source), str(tmp_path / "t"))
    assert (tmp_path / "t/tool").stat().st_mode & 0o777 == 0o755
    assert not (tmp_path / "t/link").is_symlink()
    assert (tmp_path / "t/link").read_text() == "#!/bin/sh"


def test_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file.write("a/b", "x")
    assert file.list_directory(".") == ["a"]
    assert file.glob("a/*") == ["a/b"]
    file.copy_parallel("a", "c")
    assert file.read("c/b") == "x"
    assert list(file.walk("c")) == [("c", [], ["b"])]
    file.rename("c", "d/e")
    assert file.exists("d/e/b") is True
    file.remove("a", recursive=True)
    assert file.exists("a") is False
    assert file.exists(f"file://{tmp_path}/d/e/b") is True


def test_remove_does_not_follow_links(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/a").write_text("x")
    (tmp_path / "link").symlink_to("real")
    file.remove(str(tmp_path / "link"), recursive=True)
    assert (tmp_path / "real/a").exists()
    assert not (tmp_path / "link").is_symlink()


def test_an_empty_copy_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "s").mkdir()
    with caplog.at_level(logging.INFO):
        assert file.copy_parallel(str(tmp_path / "s"), str(tmp_path / "t")) is None
    assert "No files to copy" in caplog.text
    assert (tmp_path / "t").is_dir()


# ---- URLs


def test_doubled_slashes_collapse(url: str) -> None:
    file.write(f"{url}//d///a", "x")
    assert file.read(f"{url}/d/a") == "x"
    assert file.list_directory(url, recursive=True) == ["d", "d/a"]


@pytest.mark.parametrize("bad", ["", "memory:///key", "a\0b", b"bytes", 7])
def test_what_is_no_path(bad: Any) -> None:
    with pytest.raises((UrlError, TypeError)):
        file.exists(bad)


def test_a_scheme_that_nothing_serves() -> None:
    with pytest.raises(MoxError, match="no storage driver for 'nothing://'"):
        file.read("nothing://b/x")


class HandsOutADriver:
    @hookimpl
    def mox_storage(self, scheme: str) -> object:
        return MemoryDriver(scheme, Settings())


def test_a_plugin_that_makes_the_driver_itself_is_told_what_to_return() -> None:
    get_manager().register(HandsOutADriver(), "early", kind="storage")
    try:
        with pytest.raises(MoxError, match=r"'early' gave a MemoryDriver.\n.*factory\(scheme"):
            file.read("early://b/x")
    finally:
        get_manager().unregister("early", kind="storage")


def test_obs_and_s3_name_what_to_install() -> None:
    code = "from mox_core import file; file.read('s3://b/x')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "MOX_PLUGINS": "none"},
    )
    assert "s3" in done.stderr.splitlines()[-2] + done.stderr.splitlines()[-1]
    assert done.returncode == 1


def test_errors_survive_pickling() -> None:
    resp = errors.Resp(403, "AccessDenied", "no", "id")
    for kind in (
        file.MoxFileNotExistsException,
        file.MoxFileNameDuplicateException,
        file.MoxFileReadException,
        file.MoxFileRespException,
        errors.AccessDeniedError,
    ):
        back = pickle.loads(pickle.dumps(kind("what", resp=resp)))
        assert (type(back), str(back), back.resp) == (kind, "what", resp)
    assert issubclass(file.MoxFileNotExistsException, FileNotFoundError)
    assert issubclass(file.MoxFileRespException, RuntimeError)
    assert issubclass(file.MoxFileReadException, RuntimeError)


# ---- settings


def test_set_auth_takes_every_argument() -> None:
    settings = update(
        Settings(),
        ak="AK",
        sk="SECRET",
        server="https://obs.example.com:8443/",
        is_secure=None,
        ssl_verify=False,
        long_conn_mode=True,
        path_style="true",
        retry=3,
        retry_wait=0.5,
        client_timeout=10,
        list_max_keys=100,
        timeout_config=5,
        obs_client_log=False,
        negotiation=0,
    )
    assert settings.endpoint == "https://obs.example.com:8443"
    assert (settings.path_style, settings.negotiation) == (True, False)
    assert settings.timeout_config == (5.0, 5.0)
    assert "SECRET" not in repr(settings)
    assert update(settings, server="other").endpoint == "https://other"
    assert update(settings, server="http://other:1", is_secure=True, port=2).endpoint == (
        "https://other:2"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "many"),
        ("port", True),
        ("retry", 0),
        ("retry_wait", -1),
        ("is_secure", "perhaps"),
        ("server", "http://host/with/path"),
        ("server", "ftp://host"),
        ("ssl_verify", "/no/such/ca.pem"),
        ("timeout_config", (1, 2, 3)),
        ("ak", 5),
    ],
)
def test_settings_that_do_not_fit_are_named(name: str, value: Any) -> None:
    with pytest.raises(AuthError, match=name):
        update(Settings(), **{name: value})


def test_an_error_never_shows_a_secret() -> None:
    with pytest.raises(AuthError) as caught:
        update(Settings(), server="http://ak:verysecret@host")
    assert "verysecret" not in str(caught.value)


def test_the_environment_fills_what_was_not_said() -> None:
    environment = {
        "S3_ENDPOINT": "localhost:9000",
        "S3_USE_HTTPS": "0",
        "S3_VERIFY_SSL": "0",
        "S3_REGION": "north",
        "ACCESS_KEY_ID": "AK",
        "SECRET_ACCESS_KEY": "SK",
        "AWS_ACCESS_KEY_ID": "other",
    }
    settings = resolve(Settings(), environment)
    assert settings == Settings(
        ak="AK",
        sk="SK",
        server="localhost",
        port=9000,
        is_secure=False,
        ssl_verify=False,
        region="north",
    )
    said = resolve(update(Settings(), ak="mine", sk="too", server="host"), environment)
    assert (said.ak, said.sk, said.server, said.port) == ("mine", "too", "host", None)
    with pytest.raises(AuthError, match="S3_USE_HTTPS"):
        resolve(Settings(), {"S3_USE_HTTPS": "maybe"})
    assert resolve(Settings(), {"ENDPOINT_URL": "http://h:1"}).endpoint == "http://h:1"


@pytest.mark.parametrize(
    ("said", "environment", "message"),
    [
        ({"ak": "x"}, {"SECRET_ACCESS_KEY": "y"}, "given ak but no sk"),
        ({"sk": "secret-x"}, {}, "given sk but no ak"),
        ({}, {"ACCESS_KEY_ID": "x"}, "ACCESS_KEY_ID is set but SECRET_ACCESS_KEY is not"),
        ({}, {"ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "secret-x"}, "KEY_ID is set"),
    ],
)
def test_half_a_key_pair_is_an_error_that_names_the_other_half(said, environment, message) -> None:
    with pytest.raises(AuthError, match=message) as caught:
        resolve(update(Settings(), **said), environment)
    assert "secret-x" not in str(caught.value)


def test_a_key_pair_of_the_environment_is_never_mixed() -> None:
    pair = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_SESSION_TOKEN": "c"}
    found = resolve(Settings(), {"ACCESS_KEY_ID": "half", "SECURITY_TOKEN": "old", **pair})
    assert (found.ak, found.sk, found.token) == ("a", "b", "c")


def test_set_auth_makes_new_drivers() -> None:
    with serving(FlakyDriver()) as driver:
        assert DRIVERS.get("flaky") is driver
        before = DRIVERS.settings()
        file.set_auth(retry=7)
        assert DRIVERS.settings().retry == 7
        DRIVERS._settings = before
    assert auth.RETRY_SECONDS <= 30


def test_a_bad_variable_does_not_stop_local_files(tmp_path: Path) -> None:
    code = f"from mox_core import file; file.write({str(tmp_path / 'a')!r}, 'x'); file.read('s3://b/x')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "S3_USE_HTTPS": "maybe"},
    )
    assert (tmp_path / "a").read_text() == "x"
    assert "S3_USE_HTTPS" in done.stderr.splitlines()[-1]


def test_tuning_variables_of_old_scripts_are_harmless() -> None:
    file.file_io._LARGE_FILE_METHOD = 1
    file.file_io._LARGE_FILE_TASK_NUM = 20
    assert file.exists("memory://none/none") is False


# ---- shift


def test_shift_reaches_remote_files(shifted: None, url: str, tmp_path: Path) -> None:
    os.makedirs(f"{url}/d", exist_ok=True)
    os.mkdir(f"{url}/d/e")
    with open(f"{url}/d/a.txt", "w", encoding="utf-8") as out:
        out.write("hello")
    with open(f"{url}/d/a.txt", "rb") as into:
        assert into.read() == b"hello"
    assert os.listdir(f"{url}/d") == ["a.txt", "e"]
    assert os.path.exists(f"{url}/d/a.txt") and not os.path.exists(f"{url}/no")
    assert os.path.getsize(f"{url}/d/a.txt") == 5
    assert os.path.isdir(f"{url}/d") is True
    assert os.stat(f"{url}/d/a.txt").st_size == 5
    assert [entry.name for entry in os.scandir(f"{url}/d")] == ["a.txt", "e"]
    assert list(os.walk(f"{url}/d"))[0] == (f"{url}/d", ["e"], ["a.txt"])
    assert glob.glob(f"{url}/d/*.txt") == [f"{url}/d/a.txt"]
    shutil.copyfile(f"{url}/d/a.txt", tmp_path / "a")
    shutil.copyfile(tmp_path / "a", f"{url}/d/b.txt")
    shutil.copytree(f"{url}/d", tmp_path / "tree")
    assert (tmp_path / "tree/b.txt").read_text() == "hello"
    os.rename(f"{url}/d/b.txt", f"{url}/d/c.txt")
    os.remove(f"{url}/d/c.txt")
    with pytest.raises(FileNotFoundError):
        os.remove(f"{url}/d/c.txt")
    with pytest.raises(FileNotFoundError):
        open(f"{url}/none").close()
    shutil.rmtree(f"{url}/d")
    assert not os.path.exists(f"{url}/d")


def test_shift_leaves_local_behaviour(shifted: None, tmp_path: Path) -> None:
    """Descriptors, PathLike, bytes, every keyword: the original function gets them."""
    path = tmp_path / "a.txt"
    with open(path, "w", encoding="latin-1", newline="\r\n") as out:
        out.write("é\n")
    assert path.read_bytes() == b"\xe9\r\n"
    descriptor = os.open(path, os.O_RDONLY)
    with open(descriptor, "rb", closefd=True) as into:
        assert into.read() == b"\xe9\r\n"
    assert os.listdir(os.fsencode(tmp_path)) == [b"a.txt"]
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        assert os.stat("a.txt", dir_fd=folder, follow_symlinks=False).st_size == 3
        assert os.listdir(folder) == ["a.txt"]
        os.mkdir("sub", dir_fd=folder)
        os.rename("sub", "sub2", src_dir_fd=folder, dst_dir_fd=folder)
    finally:
        os.close(folder)
    with os.scandir(tmp_path) as entries:
        assert sorted(entry.name for entry in entries) == ["a.txt", "sub2"]
    assert glob.glob("*.txt", root_dir=tmp_path) == ["a.txt"]
    (tmp_path / "link").symlink_to("a.txt")
    shutil.copystat(tmp_path / "a.txt", tmp_path / "link", follow_symlinks=False)
    shutil.copytree(tmp_path, str(tmp_path) + "-copy", symlinks=True)
    shutil.rmtree(str(tmp_path) + "-copy")
    with pytest.raises(FileExistsError):
        os.makedirs(tmp_path)
    with pytest.raises(FileNotFoundError) as caught:
        os.remove(tmp_path / "none")
    assert caught.value.filename == str(tmp_path / "none")
    with pytest.raises(OSError):
        os.path.getsize(tmp_path / "none")


def test_shift_and_back(url: str) -> None:
    table = [
        (builtins, "open"), (os, "listdir"), (os, "makedirs"), (os, "mkdir"), (os, "remove"),
        (os, "rename"), (os, "scandir"), (os, "stat"), (os, "walk"), (os.path, "exists"),
        (os.path, "getsize"), (os.path, "isdir"), (glob, "glob"), (shutil, "copyfile"),
        (shutil, "copytree"), (shutil, "rmtree"),
    ]  # fmt: skip
    before = [getattr(module, name) for module, name in table]
    supported = set(os.supports_fd), set(os.supports_dir_fd), set(os.supports_follow_symlinks)
    file.shift("os", "mox")
    file.shift("os", "mox")
    try:
        assert all(
            getattr(module, name) is not old
            for (module, name), old in zip(table, before, strict=True)
        )
    finally:
        file.shift("mox", "os")
    file.shift("mox", "os")
    assert [getattr(module, name) for module, name in table] == before
    assert supported == (
        set(os.supports_fd), set(os.supports_dir_fd), set(os.supports_follow_symlinks)
    )  # fmt: skip
    with pytest.raises(ValueError, match="'os' and 'mox'"):
        file.shift("os", "tf")


# ---- processes


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_copy_parallel_in_a_child_process(tmp_path: Path, method: str) -> None:
    """copy_parallel is the target of multiprocessing.Process in public scripts."""
    file.write(str(tmp_path / "s/a"), "x")
    file.write("memory://api-parent/warm", "the parent has used its drivers")
    context = multiprocessing.get_context(method)
    arguments = (str(tmp_path / "s"), str(tmp_path / "t"))
    child = context.Process(target=file.copy_parallel, args=arguments)
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert (tmp_path / "t/a").read_text() == "x"
    file.remove("memory://api-parent/", recursive=True)


def test_importing_stays_light() -> None:
    code = (
        "import sys; from mox_core import file; "
        "print([m for m in ('numpy', 'boto3', 'obs', 'fsspec', 'tqdm', 'tensorflow', 'torch') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_background_sync_copy(url: str, tmp_path: Path) -> None:
    local = tmp_path / "logs"
    copy = file.background_sync_copy(str(local), f"{url}/logs", seconds=0.02)
    file.write(str(local / "a"), "1")
    while not file.exists(f"{url}/logs/a"):
        assert copy._thread.is_alive()
        copy._stopped.wait(0.01)
    file.write(str(local / "b/c"), "2")
    copy.stop()
    copy.stop()
    assert file.list_directory(f"{url}/logs", recursive=True) == ["a", "b", "b/c"]
    with pytest.raises(ValueError, match="seconds"):
        file.background_sync_copy(str(local), url, seconds=0)


def test_a_sync_with_nothing_to_do_writes_nothing(tmp_path: Path) -> None:
    """Not even markers of directories whose files are all there already."""
    for name in ("a/b/c", "a/d", "e"):
        file.write(str(tmp_path / name), name)
    (tmp_path / "empty").mkdir()
    with serving(FlakyDriver()) as store:
        there = locate("flaky://b/k")
        assert moving.sync(locate(str(tmp_path)), there) == (3, 0)
        before = dict(store.store.objects)
        assert sorted(before) == ["b/k/a/b/c", "b/k/a/d", "b/k/e", "b/k/empty/"]
        assert moving.sync(locate(str(tmp_path)), there, delete=True) == (0, 0)
        assert store.store.objects == before
        file.remove(str(tmp_path / "a/b"), recursive=True)
        assert moving.sync(locate(str(tmp_path)), there, delete=True) == (0, 1)
        assert sorted(store.store.objects) == ["b/k/a/d", "b/k/e", "b/k/empty/"]


def test_a_sync_where_the_store_keeps_whole_seconds(tmp_path: Path) -> None:
    """Files of the second of their copy are told apart by their content."""
    local = tmp_path / "f"
    second = 1_700_000_000 * 10**9
    with serving(FlakyDriver()) as store:
        there = locate("flaky://b/k")
        for content, copied in ((b"one", 1), (b"one", 0), (b"two", 1), (b"two", 0)):
            local.write_bytes(content)
            os.utime(local, ns=(second, second + 7 * 10**8))
            assert moving.sync(locate(str(tmp_path)), there) == (copied, 0)
            kept = store.store.objects["b/k/f"]
            store.store.objects["b/k/f"] = kept._replace(info=kept.info._replace(mtime_ns=second))


def test_a_url_with_one_slash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UrlError, match=r"Write s3://bucket/k, or \./s3:/bucket/k"):
        file.write("s3:/bucket/k", "x")
    assert not list(tmp_path.iterdir())
    file.write("./s3:/bucket/k", "x")
    assert file.read("s3:/bucket/k") == "x"  # there is such a folder


def test_background_sync_copies_the_last_state_at_exit(tmp_path: Path) -> None:
    code = f"""
from mox_core import file
file.background_sync_copy({str(tmp_path / "s")!r}, {str(tmp_path / "t")!r}, seconds=1000)
file.write({str(tmp_path / "s/late")!r}, "x")
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tmp_path / "t/late").read_text() == "x"


def test_keys_with_doubled_slashes_and_dots_stay_inside(tmp_path: Path) -> None:
    """Keys that others made: what cannot lead outside is copied, at its collapsed name."""
    with serving(FlakyDriver()) as store:
        for key in ("b/k/a//b", "b/k/./c"):
            store.put(key, b"x")
        file.copy_parallel("flaky://b/k", str(tmp_path / "t"))
        assert file.list_directory(str(tmp_path / "t"), recursive=True) == ["a", "a/b", "c"]
        for evil in ("b/k//etc/x", "b/k/d/../../x"):
            store.put(evil, b"x")
            with pytest.raises(file.MoxFileRespException) as caught:
                file.copy_parallel("flaky://b/k", str(tmp_path / "never"))
            assert evil in str(caught.value)
            assert not (tmp_path / "never").exists()
            store.delete_many([evil])
        store.put("b/k/a/b", b"y")
        with pytest.raises(file.MoxFileNameDuplicateException, match="a/b"):
            file.copy_parallel("flaky://b/k", str(tmp_path / "never"))
