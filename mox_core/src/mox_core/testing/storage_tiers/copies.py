"""Required: copying files and directories between this store and local disks."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from mox_core import file
from mox_core.storage.driver import Driver
from mox_core.testing.storage_tiers.bench import StorageBench
from mox_core.testing.storage_tiers.contents import same

__all__ = ["CopiesTier"]


def tree_of(path: Path) -> dict[str, bytes | None]:
    """Every file's content (of a long one its MD5), and None for every directory."""
    return {
        each.relative_to(path).as_posix(): None if each.is_dir() else _brief(each.read_bytes())
        for each in sorted(path.rglob("*"))
    }


def _brief(content: bytes) -> bytes:
    if len(content) <= 100:
        return content
    return b"%d bytes, MD5 %s" % (len(content), hashlib.md5(content).hexdigest().encode())


class CopiesTier(StorageBench):
    """copy and copy_parallel."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """A local directory with an empty directory, an empty file and many small ones."""
        folder = tmp_path / "source"
        (folder / "empty").mkdir(parents=True)
        (folder / "a" / "b").mkdir(parents=True)
        (folder / "zero").write_bytes(b"")
        for number in range(40):
            (folder / "a" / f"{number}.bin").write_bytes(os.urandom(number * 50))
        (folder / "a" / "b" / "deep").write_bytes(b"deep")
        return folder

    def test_up_across_and_down(self, url: str, folder: Path, tmp_path: Path) -> None:
        """The tree arrives as it was, also the second time, and the source stays."""
        before = tree_of(folder)
        for _ in range(2):
            file.copy_parallel(str(folder), f"{url}/up")
            file.copy_parallel(f"{url}/up/", f"{url}/across/")
            file.copy_parallel(f"{url}/across", str(tmp_path / "down"))
            assert tree_of(tmp_path / "down") == before
        assert tree_of(folder) == before
        assert file.list_directory(f"{url}/up", recursive=True) == sorted(before)

    @pytest.mark.parametrize("threads", [0, 1, 3])
    def test_threads(self, url: str, folder: Path, tmp_path: Path, threads: int) -> None:
        """Any number of threads copies the same."""
        file.copy_parallel(str(folder), f"{url}/up", None, threads, False)
        file.copy_parallel(f"{url}/up", str(tmp_path / "down"), threads=threads)
        assert tree_of(tmp_path / "down") == tree_of(folder)

    def test_file_list(self, url: str, folder: Path, tmp_path: Path) -> None:
        """Only what is named is copied; a name that is missing is reported, the rest copied."""
        file.copy_parallel(str(folder), f"{url}/up", file_list=["a/1.bin", "zero", "a/b"])
        assert file.list_directory(f"{url}/up", recursive=True, skip_dir=True) == [
            "a/1.bin",
            "a/b/deep",
            "zero",
        ]
        with pytest.raises(file.CopyError, match="no-such-file") as caught:
            file.copy_parallel(
                f"{url}/up", str(tmp_path / "down"), file_list=["no-such-file", "a/1.bin"]
            )
        assert len(caught.value.failures) == 1
        assert (tmp_path / "down/a/1.bin").exists()

    def test_a_single_file(self, url: str, folder: Path, tmp_path: Path) -> None:
        """copy_parallel of a file is copy; a directory as target takes it by its name."""
        file.copy_parallel(str(folder / "a/b/deep"), f"{url}/x/y")
        assert file.read(f"{url}/x/y") == "deep"
        file.copy(f"{url}/x/y", f"{url}/x/into/")
        assert file.read(f"{url}/x/into/y") == "deep"
        file.copy(f"{url}/x/y", str(tmp_path / "new/folder/z"))
        assert (tmp_path / "new/folder/z").read_bytes() == b"deep"
        file.copy(f"{url}/x/y", str(tmp_path / "new"))
        assert (tmp_path / "new/y").read_bytes() == b"deep"
        file.copy(f"{url}/x/y", f"{url}/x/y")
        assert file.read(f"{url}/x/y") == "deep"

    def test_what_cannot_be_copied(self, url: str, folder: Path, tmp_path: Path) -> None:
        """Missing sources, directories for copy, targets inside the source."""
        with pytest.raises(file.MoxFileNotExistsException, match="none"):
            file.copy(f"{url}/none", str(tmp_path / "x"))
        with pytest.raises(file.MoxFileNotExistsException, match="none"):
            file.copy_parallel(f"{url}/none", str(tmp_path / "x"))
        assert not (tmp_path / "x").exists()
        file.copy_parallel(str(folder), f"{url}/d")
        with pytest.raises(IsADirectoryError, match="copy_parallel"):
            file.copy(f"{url}/d", str(tmp_path / "x"))
        with pytest.raises(file.MoxFileRespException, match="inside"):
            file.copy_parallel(f"{url}/d", f"{url}/d/a")

    def test_names_that_clash(self, url: str, driver: Driver, tmp_path: Path) -> None:
        """A file and a directory of one name: nothing is written, the old target stays."""
        if driver.capabilities.directories:
            pytest.skip("this store has real directories: there is nothing to clash")
        file.write(f"{url}/c/zzz", "z")
        file.write(f"{url}/c/a", "a file")
        file.write(f"{url}/c/a/b", "and a directory")
        target = tmp_path / "target"
        target.mkdir()
        (target / "zzz").write_text("old")
        with pytest.raises(file.MoxFileNameDuplicateException, match="a"):
            file.copy_parallel(f"{url}/c", str(target))
        assert tree_of(target) == {"zzz": b"old"}
        assert file.is_directory(f"{url}/c/a") is True
        file.remove(f"{url}/c/a")
        assert file.read(f"{url}/c/a/b") == "and a directory"

    def test_local_names_in_the_way(self, url: str, tmp_path: Path) -> None:
        """What exists at the target as the other kind stops the copy before it begins."""
        file.write(f"{url}/c/a", "new")
        file.write(f"{url}/c/d/x", "new")
        for name in ("a", "d"):
            target = tmp_path / name
            target.mkdir()
            if name == "a":
                (target / "a").mkdir()
            else:
                (target / "d").write_text("a file")
            with pytest.raises(file.MoxFileNameDuplicateException, match=name):
                file.copy_parallel(f"{url}/c", str(target))
            assert len(tree_of(target)) == 1

    def test_keys_that_lead_outside(self, url: str, driver: Driver, tmp_path: Path) -> None:
        """Refused before the first byte, with the key named."""
        if driver.capabilities.directories:
            pytest.skip("this store has real directories: there are no such keys")
        try:
            driver.put(f"{url.partition('://')[2]}/k/../dd", b"evil")
        except file.MoxFileRespException:
            pytest.skip("this store does not take such keys")
        file.write(f"{url}/k/good", "good")
        if "k/../dd" not in file.list_directory(url, recursive=True):
            pytest.skip("this store changes such keys")
        target = tmp_path / "outside/target"
        with pytest.raises(file.MoxFileRespException, match=r"\.\./dd"):
            file.copy_parallel(f"{url}/k", str(target))
        assert tree_of(tmp_path / "outside") == {}

    def test_large_files(self, url: str, driver: Driver, small_parts: int, tmp_path: Path) -> None:
        """Files of exactly the threshold, and of more parts, in all directions."""
        sizes = (4 * small_parts, 4 * small_parts + 1, 5 * small_parts - 1)
        folder = tmp_path / "source"
        folder.mkdir()
        for number, size in enumerate(sizes):
            (folder / f"{number}").write_bytes(
                os.urandom(1 << 16) * (size >> 16) + b"x" * (size & 0xFFFF)
            )
        file.copy_parallel(str(folder), f"{url}/up")
        file.copy_parallel(f"{url}/up", f"{url}/across")
        file.copy_parallel(f"{url}/across", str(tmp_path / "down"))
        assert tree_of(tmp_path / "down") == tree_of(folder)
        file.copy_parallel(f"{url}/up", "memory://suite-other-store")
        file.copy_parallel("memory://suite-other-store", f"{url}/back")
        file.copy(f"{url}/back/1", str(tmp_path / "one"))
        same((tmp_path / "one").read_bytes(), (folder / "1").read_bytes())
        file.remove("memory://suite-other-store/", recursive=True)

    def test_an_empty_directory(self, url: str, tmp_path: Path) -> None:
        """Copying nothing makes the local target."""
        file.make_dirs(f"{url}/empty")
        file.copy_parallel(f"{url}/empty", str(tmp_path / "x"))
        assert (tmp_path / "x").is_dir()
