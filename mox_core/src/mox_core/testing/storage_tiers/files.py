"""Required: what users of mox.file see."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from mox_core import file
from mox_core.storage.driver import Driver
from mox_core.testing.storage_tiers.bench import StorageBench

__all__ = ["FilesTier", "NamesTier"]


class FilesTier(StorageBench):
    """Reading, writing, listing, removing, renaming."""

    @pytest.fixture
    def tree(self, url: str) -> str:
        """A small directory: `dir0/file00`, `dir0/deep/file`, `file1`, and neighbours."""
        file.write(f"{url}/d/dir0/file00", "00")
        file.write(f"{url}/d/dir0/deep/file", "deep")
        file.write(f"{url}/d/file1", "1")
        file.write(f"{url}/d2/neighbour", "n")
        file.write(f"{url}/d.txt", "n")
        return f"{url}/d"

    def test_read_write_append(self, url: str) -> None:
        """Text and bytes, overwriting and adding."""
        file.write(f"{url}/a", "héllo\n")
        assert file.read(f"{url}/a") == "héllo\n"
        assert file.read(f"{url}/a", binary=True) == "héllo\n".encode()
        file.append(f"{url}/a", "x")
        file.append(f"{url}/new", b"\x00", binary=True)
        assert file.read(f"{url}/a") == "héllo\nx"
        assert file.read(f"{url}/new", binary=True) == b"\x00"
        file.write(f"{url}/a", b"", binary=True)
        assert file.read(f"{url}/a", binary=True) == b""
        with pytest.raises(TypeError, match="binary=True"):
            file.write(f"{url}/a", b"bytes")

    def test_append_remote(self, url: str) -> None:
        """One file is added to another, or to itself."""
        file.write(f"{url}/a", "a")
        file.append_remote(f"{url}/a", f"{url}/b")
        file.append_remote(f"{url}/a", f"{url}/b")
        file.append_remote(f"{url}/b", f"{url}/b")
        assert file.read(f"{url}/b") == "aaaa"
        assert file.read(f"{url}/a") == "a"

    def test_what_exists(self, tree: str) -> None:
        """Files, directories with and without marker, and names that only begin alike."""
        for path, exists, directory in (
            (tree, True, True),
            (f"{tree}/", True, True),
            (f"{tree}/dir0", True, True),
            (f"{tree}/file1", True, False),
            (f"{tree}/file", False, False),
            (f"{tree}/dir0/fil", False, False),
            (f"{tree}/no/thing", False, False),
        ):
            assert file.exists(path) is exists, path
            assert file.is_directory(path) is directory, path

    def test_stat_and_size(self, tree: str) -> None:
        """Fields as in the manual."""
        found = file.stat(f"{tree}/dir0/file00")
        assert (found.length, found.is_directory) == (2, False)
        assert isinstance(found.mtime_nsec, int)
        assert file.stat(f"{tree}/dir0").is_directory is True
        assert file.get_size(f"{tree}/dir0/file00") == 2
        assert file.get_size(tree) == 0
        assert file.get_size(tree, recursive=True) == 7
        for ask in (file.stat, file.get_size):
            with pytest.raises(file.MoxFileNotExistsException):
                ask(f"{tree}/none")

    def test_list_directory(self, tree: str) -> None:
        """Names are relative, without separators."""
        assert file.list_directory(tree) == ["dir0", "file1"]
        assert file.list_directory(f"{tree}/") == ["dir0", "file1"]
        everything = ["dir0", "dir0/deep", "dir0/deep/file", "dir0/file00", "file1"]
        assert file.list_directory(tree, recursive=True) == everything
        assert file.list_directory(tree, recursive=True, skip_dir=True) == [
            "dir0/deep/file",
            "dir0/file00",
            "file1",
        ]
        assert file.list_directory(tree, recursive=True, skip_file=True) == ["dir0", "dir0/deep"]
        with pytest.raises(FileNotFoundError):
            file.list_directory(f"{tree}/none")
        with pytest.raises(NotADirectoryError):
            file.list_directory(f"{tree}/file1")

    def test_walk_and_scan(self, tree: str) -> None:
        """Like os.walk and os.scandir, with full URLs."""
        walked = [(root, sorted(ds), sorted(fs)) for root, ds, fs in file.walk(tree)]
        assert walked == [
            (tree, ["dir0"], ["file1"]),
            (f"{tree}/dir0", ["deep"], ["file00"]),
            (f"{tree}/dir0/deep", [], ["file"]),
        ]
        bottom_up = [root for root, _, _ in file.walk(tree, topdown=False)]
        assert bottom_up == [f"{tree}/dir0/deep", f"{tree}/dir0", tree]
        for _, directories, _ in pruned(file.walk(tree)):
            directories.clear()
        with file.scan_dir(tree) as entries:
            seen = {entry.name: entry for entry in entries}
        assert sorted(seen) == ["dir0", "file1"]
        assert seen["dir0"].is_dir() and not seen["file1"].is_dir()
        assert file.read(f"{tree}/file1") == "1"
        assert list(file.walk(f"{tree}/none")) == []

    def test_walk_can_be_pruned(self, tree: str) -> None:
        """Directories taken out of the list are not entered."""
        seen = []
        for root, directories, _ in file.walk(tree):
            seen.append(root)
            directories[:] = [name for name in directories if name != "deep"]
        assert seen == [tree, f"{tree}/dir0"]

    def test_glob(self, tree: str) -> None:
        """Patterns stop at `/`, `**` does not; what matches nothing is an empty list."""
        file.write(f"{tree}/.hidden", "")
        for pattern, names in (
            ("*", ["dir0", "file1"]),
            ("*/*", ["dir0/deep", "dir0/file00"]),
            ("dir0/f*", ["dir0/file00"]),
            ("file[0-9]", ["file1"]),
            ("file[!1]", []),
            ("fil?1", ["file1"]),
            ("**/file*", ["dir0/deep/file", "dir0/file00", "file1"]),
            ("file1", ["file1"]),
            ("none", []),
            ("no/*", []),
        ):
            assert file.glob(f"{tree}/{pattern}") == [f"{tree}/{name}" for name in names], pattern

    def test_make_directories(self, url: str) -> None:
        """Directories exist without files, and an existing one is fine."""
        file.make_dirs(f"{url}/a/b")
        file.make_dirs(f"{url}/a/b/")
        assert file.is_directory(f"{url}/a/b") is True
        assert file.list_directory(f"{url}/a/b") == []
        assert file.list_directory(f"{url}/a", recursive=True) == ["b"]
        file.mk_dir(f"{url}/a/c")
        assert file.list_directory(f"{url}/a") == ["b", "c"]
        with pytest.raises(OSError):
            file.mk_dir(f"{url}/no/parent")
        file.write(f"{url}/f", "x")
        with pytest.raises(OSError):
            file.make_dirs(f"{url}/f")

    @pytest.mark.parametrize(
        ("name", "recursive", "left"),
        [
            ("d/file1", False, ["d/dir0/deep/file", "d/dir0/file00"]),
            ("d/file1", True, ["d/dir0/deep/file", "d/dir0/file00"]),
            ("d/file1/", False, ["d/dir0/deep/file", "d/dir0/file00", "d/file1"]),
            ("d/file1/", True, ["d/dir0/deep/file", "d/dir0/file00", "d/file1"]),
            ("d", False, ["d/dir0/deep/file", "d/dir0/file00", "d/file1"]),
            ("d/", False, ["d/dir0/deep/file", "d/dir0/file00", "d/file1"]),
            ("d", True, []),
            ("d/", True, []),
            ("d/none", True, ["d/dir0/deep/file", "d/dir0/file00", "d/file1"]),
        ],
    )
    def test_remove(self, url: str, tree: str, name: str, recursive: bool, left: Any) -> None:
        """The manual's table; neighbours with a longer name stay."""
        file.remove(f"{url}/{name}", recursive=recursive)
        files = file.list_directory(url, recursive=True, skip_dir=True)
        assert files == sorted([*left, "d.txt", "d2/neighbour"])
        if not left:
            assert file.exists(tree) is False

    def test_rename(self, url: str, tree: str) -> None:
        """Files and directories move; a full directory is never overwritten."""
        file.rename(f"{tree}/file1", f"{tree}/new/place")
        assert file.read(f"{tree}/new/place") == "1"
        file.rename(f"{tree}/new/place", f"{tree}/dir0/file00")
        assert file.read(f"{tree}/dir0/file00") == "1"
        file.rename(tree, f"{url}/moved")
        assert file.exists(tree) is False
        assert file.read(f"{url}/moved/dir0/deep/file") == "deep"
        assert file.read(f"{url}/d2/neighbour") == "n"
        with pytest.raises(OSError):
            file.rename(f"{url}/moved", f"{url}/d2")
        with pytest.raises(Exception, match="inside"):
            file.rename(f"{url}/moved", f"{url}/moved/inside")
        with pytest.raises(file.MoxFileNotExistsException):
            file.rename(f"{url}/none", f"{url}/some")
        file.rename(f"{url}/moved", f"{url}/moved")
        assert file.read(f"{url}/moved/dir0/deep/file") == "deep"

    def test_many_threads(self, url: str) -> None:
        """64 threads use one driver."""
        errors: list[BaseException] = []

        def work(number: int) -> None:
            try:
                for turn in range(3):
                    data = f"{number}-{turn}" * 500
                    file.write(f"{url}/{number}", data)
                    assert file.read(f"{url}/{number}") == data
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert len(file.list_directory(url)) == 64


def pruned(walk: Any) -> Any:
    """The first step of a walk."""
    yield next(walk)


class NamesTier(StorageBench):
    """Odd names are stored, listed, copied and removed as they are."""

    odd_names: tuple[str, ...] = (
        "space in name",
        "plus+sign",
        "percent%41",
        "percent%",
        "hash#mark",
        "question?mark",
        "amp&and=eq;semi",
        "quote'\"",
        "<tag>",
        "tilde~",
        "back\\slash",
        "colon:at@",
        "comma,dollar$",
        "brace{}[]*",
        "汉字/文件",
        "emoji😀",
        "nfd e\u0301",
        "nfc \u00e9",
        "new\nline",
        "tab\tand\x01",
        ".hidden",
        "..dots..",
        "long" * 50,
    )
    """Names that the store takes; a class may leave some out, and says why."""

    def test_odd_names(self, url: str, driver: Driver, tmp_path: Any) -> None:
        """Read, stat, listed, copied down, up and across, removed."""
        for name in self.odd_names:
            file.write(f"{url}/a/{name}", name)
        names = sorted(self.odd_names)
        listed = file.list_directory(f"{url}/a", recursive=True, skip_dir=True)
        assert listed == names
        for name in names:
            assert file.read(f"{url}/a/{name}") == name
            assert file.exists(f"{url}/a/{name}") is True
        file.copy_parallel(f"{url}/a", str(tmp_path / "down"))
        file.copy_parallel(str(tmp_path / "down"), f"{url}/up")
        file.copy_parallel(f"{url}/up", f"{url}/across")
        assert file.list_directory(f"{url}/across", recursive=True, skip_dir=True) == names
        for name in names:
            assert file.read(f"{url}/across/{name}") == name
        for name in names:
            file.remove(f"{url}/a/{name}")
        assert file.list_directory(url, recursive=True, skip_dir=True) == sorted(
            f"{place}/{name}" for place in ("across", "up") for name in names
        )
