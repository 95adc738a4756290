from __future__ import annotations

import errno
import importlib.util
import math
import os
import struct
import subprocess
import sys
import textwrap
import time

import pytest

from mox_core.crc32c import _python_crc32c, crc32c, masked_crc32c
from mox_core.errors import MoxError
from mox_core.hooks.events import EventFileWriter, read_events


def only_file(folder):
    (path,) = folder.iterdir()
    return path


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        # RFC 3720, appendix B.4
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_crc32c_of_known_vectors(data, expected):
    assert crc32c(data) == expected
    assert _python_crc32c(data) == expected


@pytest.mark.skipif(
    importlib.util.find_spec("google_crc32c") is None, reason="google-crc32c is not installed"
)
def test_crc32c_in_python_equals_the_native_one():
    import google_crc32c

    data = bytes(i * 7 % 256 for i in range(5000))
    assert _python_crc32c(data) == google_crc32c.value(data) == crc32c(data)


def test_masked_crc32c():
    # crc 0xE3069283: rotated right by 15 it is 0x2507C60D, plus 0xA282EAD8.
    assert masked_crc32c(b"123456789") == 0xC78AB0E5


def test_round_trip(tmp_path):
    before = time.time()
    writer = EventFileWriter(tmp_path / "run")
    writer.add_session_start(5)
    writer.add_graph(b"\n\x03abc")
    writer.add_scalars(0, {"loss": 2.25, "näme/ß": -1e-3})
    writer.add_scalars(2**40, {"loss": math.nan, "big": 1e300, "small": -1e300})
    writer.add_scalars(3, {})
    writer.close()
    events = list(read_events(only_file(tmp_path / "run")))
    assert [step for step, _, _ in events] == [0, 2**40]
    assert all(before <= wall_time <= time.time() for _, wall_time, _ in events)
    assert events[0][2] == {"loss": 2.25, "näme/ß": pytest.approx(-1e-3)}
    assert math.isnan(events[1][2]["loss"])
    assert events[1][2]["big"] == math.inf
    assert events[1][2]["small"] == -math.inf


def test_a_serialized_summary_is_embedded(tmp_path):
    # Summary(value=[Summary.Value(tag="a", simple_value=1.5)]) by hand
    value = b"\x0a\x01a" + b"\x15" + struct.pack("<f", 1.5)
    writer = EventFileWriter(tmp_path)
    writer.add_summary(7, b"\x0a" + bytes([len(value)]) + value)
    writer.close()
    ((step, _, scalars),) = read_events(only_file(tmp_path))
    assert (step, scalars) == (7, {"a": 1.5})


def test_the_file_comes_with_the_first_event_and_is_readable_after_each_flush(tmp_path):
    folder = tmp_path / "deep" / "run"
    writer = EventFileWriter(folder)
    writer.flush()
    assert not folder.exists()
    for step in range(3):
        writer.add_scalars(step, {"loss": step})
        writer.flush()
        assert [event[0] for event in read_events(only_file(folder))] == list(range(step + 1))
    writer.close()
    writer.close()
    with pytest.raises(MoxError, match="are closed already"):
        writer.add_scalars(3, {"loss": 3})


def test_closing_an_unused_writer_leaves_nothing(tmp_path):
    EventFileWriter(tmp_path / "run").close()
    assert not (tmp_path / "run").exists()


def test_names_are_distinct_and_end_with_the_suffix(tmp_path):
    writers = [EventFileWriter(tmp_path, ".eval") for _ in range(3)]
    for writer in writers:
        writer.add_scalars(0, {"loss": 1})
        writer.close()
    names = [path.name for path in tmp_path.iterdir()]
    assert len(names) == 3
    assert all(name.startswith("events.out.tfevents.") for name in names)
    assert all(f".{os.getpid()}." in name and name.endswith(".eval") for name in names)


def test_many_events_are_written_before_the_end(tmp_path):
    writer = EventFileWriter(tmp_path)
    writer.add_graph(bytes(1 << 20))
    assert only_file(tmp_path).stat().st_size > 1 << 20
    writer.close()


@pytest.mark.parametrize("position", [0, 9, 13, -1])
def test_a_damaged_byte_is_found(tmp_path, position):
    writer = EventFileWriter(tmp_path)
    writer.add_scalars(0, {"loss": 1})
    writer.close()
    path = only_file(tmp_path)
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    with pytest.raises(MoxError, match=r"tfevents.* is damaged: .* at byte \d+"):
        list(read_events(path))


def test_a_file_cut_off_at_any_byte_is_found(tmp_path):
    writer = EventFileWriter(tmp_path)
    writer.add_scalars(0, {"loss": 1})
    writer.flush()
    path = only_file(tmp_path)
    content = path.read_bytes()
    whole = struct.unpack("<Q", content[:8])[0] + 16  # the first record: the file's version
    cut = tmp_path / "cut"
    for length in range(1, len(content)):
        cut.write_bytes(content[:length])
        if length == whole:
            assert list(read_events(cut)) == []
        else:
            with pytest.raises(MoxError, match="is damaged"):
                list(read_events(cut))
    writer.close()


def test_reading_what_is_no_event_file(tmp_path):
    with pytest.raises(MoxError, match=r"cannot read the event file .*nothing: No such file"):
        list(read_events(tmp_path / "nothing"))
    with pytest.raises(MoxError, match="cannot read the event file"):
        list(read_events(tmp_path))


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    writer = EventFileWriter(tmp_path / "file" / "run")
    writer.add_scalars(0, {"loss": 1})
    with pytest.raises(MoxError, match=r"cannot write summaries to .*file/run: Not a directory"):
        writer.flush()
    writer.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs resource limits")
def test_a_full_disk_leaves_whole_records(tmp_path):
    """A limit on the file's size stands for the full disk: a write is cut short in both cases."""
    script = """
        import resource, signal, sys
        from mox_core.errors import MoxError
        from mox_core.hooks.events import EventFileWriter

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        writer = EventFileWriter(sys.argv[1])
        step = 0
        try:
            while True:
                writer.add_scalars(step, {"loss": step})
                writer.flush()
                step += 1
        except MoxError as error:
            print(step)
            print(error)
        writer.close()
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "run")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    written, message = result.stdout.splitlines()
    path = only_file(tmp_path / "run")
    assert message == f"cannot write summaries to {path}: {os.strerror(errno.EFBIG)}"
    assert int(written) > 10
    assert [step for step, _, _ in read_events(path)] == list(range(int(written)))
