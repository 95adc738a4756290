"""Required: File objects, as Python's io and the libraries above it use them."""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import pickle
import random
import tarfile
import zipfile
from typing import Any

import pytest

from mox_core import file
from mox_core.storage.driver import Driver
from mox_core.testing.storage_tiers.bench import StorageBench
from mox_core.testing.storage_tiers.contents import same

__all__ = ["FileObjectsTier"]


class FileObjectsTier(StorageBench):
    """mox.file.File."""

    def test_modes(self, url: str) -> None:
        """Every mode of the manual, in any spelling."""
        path = f"{url}/a"
        for mode in ("r", "rb", "br", "r+", "rb+", "br+"):
            with pytest.raises(FileNotFoundError):
                file.File(path, mode)
        for mode, data in (("w", "1"), ("a", "2"), ("bw", b"3"), ("ba", b"4")):
            with file.File(path, mode) as out:
                out.write(data)
                assert out.writable() and not out.readable()
        assert file.read(path) == "34"
        with file.File(path, "br+") as both:
            assert both.read(1) == b"3"
            both.seek(0)
            both.write(b"5")
        with file.File(path, "a+") as both:
            both.write("6")
            both.seek(0)
            assert both.read() == "546"
        with file.File(path, "w+") as both:
            both.write("new")
            both.seek(1)
            assert both.read() == "ew"
        assert file.read(path) == "new"
        for mode in ("", "x", "rw", "rbt", "U", "b"):
            with pytest.raises(ValueError, match="mode"):
                file.File(path, mode)

    def test_attributes(self, url: str) -> None:
        """An io object with name, mode, size, next."""
        file.write(f"{url}/a", "one\ntwo\n")
        lines: Any = file.File(f"{url}/a")
        with lines:
            assert issubclass(type(lines), io.TextIOBase)
            assert issubclass(type(lines), file.File)
            assert (lines.name, lines.mode, lines.size()) == (f"{url}/a", "r", 8)
            assert lines.next() == "one\n"
            assert next(lines) == "two\n"
            assert lines.seekable() and not lines.isatty()
        assert lines.closed
        with pytest.raises(ValueError):
            lines.read()

    def test_reading_anywhere(self, url: str) -> None:
        """Seeks and reads like a local file, against every border."""
        data = os.urandom(1 << 20) * 2
        file.write(f"{url}/a", data, binary=True)
        here = io.BytesIO(data)
        dice = random.Random(7)
        with file.File(f"{url}/a", "rb") as there:
            assert isinstance(there, io.BufferedIOBase)
            for _ in range(60):
                size = dice.choice((0, 1, 100, 70_000, 300_000))
                match dice.randrange(4):
                    case 0:
                        place = dice.randrange(len(data) + 10)
                        assert there.seek(place) == here.seek(place)
                    case 1:
                        same(there.read(size), here.read(size))
                    case 2:
                        same(there.readline(size), here.readline(size))
                    case 3:
                        assert there.tell() == here.tell()
            assert there.seek(-5, 2) == len(data) - 5
            assert there.read() == data[-5:]
            assert there.read(10) == b"" == there.read()
            there.seek(len(data) + 100)
            assert there.read() == b""
            with pytest.raises(OSError):
                there.seek(-1)
            there.seek(10)
            same(there.read(), data[10:])

    def test_text(self, url: str) -> None:
        """UTF-8, universal line ends, characters across borders of buffers."""
        text = "汉字é\n" * 30_000
        with file.File(f"{url}/a", "w") as out:
            assert out.write(text) == len(text)
            out.writelines(["x\n", "y"])
        with file.File(f"{url}/a") as lines:
            assert sum(1 for _ in lines) == 30_002
        same(file.read(f"{url}/a").encode(), f"{text}x\ny".encode())
        file.write(f"{url}/b", b"1\r\n2\r3", binary=True)
        with file.File(f"{url}/b") as lines:
            assert lines.readlines() == ["1\n", "2\n", "3"]
        with file.File(f"{url}/b", newline="") as lines:
            assert lines.read() == "1\r\n2\r3"
        with file.File(f"{url}/b", "wb") as out, pytest.raises(TypeError):
            out.write("text")

    def test_an_exception_publishes_nothing(self, url: str, driver: Driver) -> None:
        """The old content stands; local files behave as with open."""
        if driver.local_path("/") is not None:
            pytest.skip("local files are written as open writes them")
        file.write(f"{url}/a", "old")
        for name in ("a", "new"):
            for mode in ("w", "wb", "w+", "a"):
                with pytest.raises(KeyError), file.File(f"{url}/{name}", mode) as out:
                    out.write(b"half" if "b" in mode else "half")
                    raise KeyError
        assert file.read(f"{url}/a") == "old"
        assert file.exists(f"{url}/new") is False
        out = file.File(f"{url}/new", "w")
        out.write("forgotten")
        del out
        assert file.exists(f"{url}/new") is False

    def test_flush_publishes(self, url: str) -> None:
        """What was flushed can be read, and close adds the rest."""
        with file.File(f"{url}/a", "w") as out:
            for number in range(3):
                out.write(f"{number}\n")
                out.flush()
                assert file.read(f"{url}/a").count("\n") == number + 1
            out.write("end")
        assert file.read(f"{url}/a") == "0\n1\n2\nend"
        out.close()

    def test_large_writes(self, url: str, small_parts: int) -> None:
        """More than a part, with flushes between, and added to later."""
        data = os.urandom(1 << 16) * (3 * small_parts >> 16) + b"tail"
        with file.File(f"{url}/a", "wb") as out:
            out.write(data)
            out.flush()
            assert file.get_size(f"{url}/a") == len(data)
            assert out.tell() == len(data)
            out.write(b"more")
        with file.File(f"{url}/a", "ab") as out:
            out.write(b"appended")
        same(file.read(f"{url}/a", binary=True), data + b"moreappended")
        file.append(f"{url}/a", "!")
        assert file.get_size(f"{url}/a") == len(data) + 13

    def test_libraries(self, url: str) -> None:
        """json, pickle, csv, zipfile, tarfile, logging."""
        with file.File(f"{url}/j", "w") as out:
            json.dump({"a": [1, 2]}, out)
        with file.File(f"{url}/j") as into:
            assert json.load(into) == {"a": [1, 2]}
        with file.File(f"{url}/p", "wb") as out:
            pickle.dump(list(range(1000)), out)
        with file.File(f"{url}/p", "rb") as into:
            assert pickle.load(into) == list(range(1000))
        with file.File(f"{url}/c", "w", newline="") as out:
            csv.writer(out).writerows([["a", "b,c"], ["1", "2"]])
        with file.File(f"{url}/c", newline="") as into:
            assert list(csv.reader(into)) == [["a", "b,c"], ["1", "2"]]
        with file.File(f"{url}/z", "wb") as out, zipfile.ZipFile(out, "w") as archive:
            archive.writestr("x", "inside")
        with file.File(f"{url}/z", "rb") as into, zipfile.ZipFile(into) as archive:
            assert archive.read("x") == b"inside"
        with file.File(f"{url}/t", "wb") as out, tarfile.open(fileobj=out, mode="w") as tar:
            tar.addfile(tarfile.TarInfo("y"))
        with file.File(f"{url}/t", "rb") as into, tarfile.open(fileobj=into) as tar:
            assert tar.getnames() == ["y"]
        stream = file.File(f"{url}/log", "w")
        handler = logging.StreamHandler(stream)
        logger = logging.Logger("suite")
        logger.addHandler(handler)
        logger.warning("hello")
        assert file.read(f"{url}/log") == "hello\n"
        logger.warning("world")
        stream.close()
        assert file.read(f"{url}/log") == "hello\nworld\n"

    def test_position_and_size_while_writing(self, url: str, driver: Driver) -> None:
        """Both count what was written, and asking publishes nothing."""
        file.write(f"{url}/a", "old")
        for mode, text in (("w", "é\n"), ("wb", b"\xc3\xa9\n")):
            with file.File(f"{url}/a", mode) as out:
                out.write(text)
                assert out.tell() == 3
                assert out.size() == 3
                if driver.local_path("/") is None:
                    assert file.read(f"{url}/a") == "old"
                out.write(text)
            assert file.get_size(f"{url}/a") == 6
            file.write(f"{url}/a", "old")
