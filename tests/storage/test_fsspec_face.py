"""mox.file as an fsspec file system: fsspec's own abstract tests, and pandas."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

fsspec = pytest.importorskip("fsspec")

from fsspec.tests.abstract import AbstractFixtures  # noqa: E402
from fsspec.tests.abstract.copy import AbstractCopyTests  # noqa: E402
from fsspec.tests.abstract.get import AbstractGetTests  # noqa: E402
from fsspec.tests.abstract.open import AbstractOpenTests  # noqa: E402
from fsspec.tests.abstract.pipe import AbstractPipeTests  # noqa: E402
from fsspec.tests.abstract.put import AbstractPutTests  # noqa: E402

from mox_core import file  # noqa: E402
from mox_core.storage.fsspec_face import MoxFileSystem, ObsFileSystem  # noqa: E402


class MoxFixtures(AbstractFixtures):
    @pytest.fixture(scope="class")
    @classmethod
    def fs(cls) -> Any:
        return MoxFileSystem("memory")

    @pytest.fixture
    def fs_path(self) -> Iterator[str]:
        path = f"fsspec/{uuid.uuid4().hex}"
        yield path
        file.remove(f"memory://{path}/", recursive=True)

    @pytest.fixture
    def supports_empty_directories(self) -> bool:
        return True


class TestCopy(AbstractCopyTests, MoxFixtures):
    pass


class TestGet(AbstractGetTests, MoxFixtures):
    pass


class TestPut(AbstractPutTests, MoxFixtures):
    pass


class TestOpen(AbstractOpenTests, MoxFixtures):
    pass


class TestPipe(AbstractPipeTests, MoxFixtures):
    pass


def test_files_and_directories() -> None:
    fs = MoxFileSystem("memory")
    fs.pipe({"f/x/a": b"0123456789", "f/x/d/b": b"b"})
    assert fs.ls("f/x", detail=False) == ["f/x/a", "f/x/d"]
    assert fs.find("f/x") == ["f/x/a", "f/x/d/b"]
    assert fs.glob("f/x/**/b") == ["f/x/d/b"]
    assert fs.info("memory://f/x/a")["size"] == 10
    assert fs.info("f/x/d")["type"] == "directory"
    assert fs.cat_file("f/x/a", start=-4, end=-1) == b"678"
    assert fs.cat_file("f/x/a", start=2, end=4) == b"23"
    assert fs.cat(["f/x/a", "f/x/d/b"]) == {"f/x/a": b"0123456789", "f/x/d/b": b"b"}
    assert fs.du("f/x") == 11
    assert fs.exists("f/x/none") is False
    with fs.open("f/x/a", "rb") as stream:
        stream.seek(5)
        assert stream.read() == b"56789"
    with pytest.raises(KeyError), fs.open("f/x/a", "wb") as stream:
        stream.write(b"half")
        raise KeyError
    assert fs.cat("f/x/a") == b"0123456789"
    fs.mv("f/x/a", "f/x/d/c")
    fs.rm("f/x", recursive=True)
    assert fs.exists("f/x") is False
    with pytest.raises(FileNotFoundError):
        fs.ls("f/x")


def test_pandas_reads_and_writes_urls() -> None:
    pandas = pytest.importorskip("pandas")
    fsspec.register_implementation("obs", ObsFileSystem, clobber=True)
    frame = pandas.DataFrame({"col1": [1, 2], "col2": [3, 4]})
    with file.File("memory://pandas/b.txt", "w") as out:
        frame.to_csv(out, index=False)
    with file.File("memory://pandas/b.txt") as into:
        assert pandas.read_csv(into).equals(frame)
    fs = MoxFileSystem("memory")
    with fs.open("pandas/b.txt", "rb") as stream:
        assert pandas.read_csv(stream).equals(frame)
    file.remove("memory://pandas/", recursive=True)


def test_numpy_and_yaml_take_file_objects() -> None:
    numpy = pytest.importorskip("numpy")
    yaml = pytest.importorskip("yaml")
    array = numpy.arange(100_000).reshape(100, 1000)
    with file.File("memory://np/a.npy", "wb") as out:
        numpy.save(out, array)
    with file.File("memory://np/a.npz", "wb") as out:
        numpy.savez(out, x=array)
    with file.File("memory://np/a.npy", "rb") as into:
        assert (numpy.load(into) == array).all()
    with file.File("memory://np/a.npz", "rb") as into:
        assert (numpy.load(into)["x"] == array).all()
    with file.File("memory://np/y", "w") as out:
        yaml.safe_dump({"a": [1]}, out)
    with file.File("memory://np/y") as into:
        assert yaml.safe_load(into) == {"a": [1]}
    file.remove("memory://np/", recursive=True)


def test_a_protocol_that_fsspec_does_not_know() -> None:
    with pytest.raises(file.MoxFileRespException, match="fsspec cannot serve"):
        file.read("fsspec+nothing://x")


def test_an_fsspec_protocol_is_served_by_its_name() -> None:
    file.write("fsspec+memory://m/a", "x")
    assert fsspec.filesystem("memory").cat("/m/a") == b"x"
    assert file.list_directory("fsspec+memory://m") == ["a"]
    file.remove("fsspec+memory://m", recursive=True)
    assert file.exists("fsspec+memory://m") is False
