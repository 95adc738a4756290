"""Compares mox.file with its peers on one server, in one run, as ratios of wall time.

    python benchmarks/storage.py --out benchmarks/storage_results.json

Each measurement is a process of its own: start, imports and clean-up count. Peers take turns, round
by round, so that other load on the machine hits all of them. After every upload the server's
listing is counted, after every download the files on disk. A peer that is not installed is left
out; `--python s3fs=/path/python` names an interpreter for one that needs an environment of its own.

The null server (null_server.c, compiled with gcc here) keeps objects in memory, so that the client
is measured; with `rclone serve s3` the server is the limit.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.request import urlopen

HERE = Path(__file__).parent
BUCKET = "bench"
AK, SK = "TESTACCESSKEY0001", "testsecretkey0001"
SETS = {"images": (3671, 222_000_000), "tiny": (20_000, 20_000 * 4096), "big": (1, 1 << 30)}
CASES = ["images-up", "images-down", "tiny-up", "tiny-down", "big-up", "big-down", "list", "rm"]
TOOLS = ("s5cmd", "rclone", "aws")
SLOW = frozenset({"s3fs", "s3transfer", "aws", "boto3"})  # once where a run takes minutes
MOX_SWITCHES = {
    "unsigned": {"MOX_FILE_SIGN_PAYLOAD": "0"},
    "sdk": {"MOX_FILE_FASTPATH": "0"},
}


@dataclass
class Row:
    server: str
    case: str
    peer: str
    wall: float
    cpu: float
    rss_mb: float
    server_cpu: float


def make_sets(root: Path) -> None:
    """The image set (lognormal sizes, 222 MB), 20,000 files of 4 KiB, and one of 1 GiB."""
    chance = random.Random(7)
    noise = os.urandom(4 << 20)
    for name, (count, total) in SETS.items():
        weights = [chance.lognormvariate(0, 0.6) if name == "images" else 1 for _ in range(count)]
        scale = total / sum(weights)
        folders = {"images": 5, "tiny": 100, "big": 1}[name]
        for number, weight in enumerate(weights):
            folder = root / name / f"d{number % folders:03d}"
            folder.mkdir(parents=True, exist_ok=True)
            size = int(weight * scale)
            with open(folder / f"f{number:05d}.bin", "wb") as file:
                while size > 0:
                    at = chance.randrange(1 << 20)
                    size -= file.write(noise[at : at + min(size, 3 << 20)])


def tree_size(root: Path) -> tuple[int, int]:
    count = total = 0
    for folder, _, names in os.walk(root):
        for name in names:
            count, total = count + 1, total + os.path.getsize(os.path.join(folder, name))
    return count, total


class Server:
    """A server process; `name` is `null`, `null10ms` or `rclone`."""

    def __init__(self, name: str, work: Path) -> None:
        self.name = name
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        if name.startswith("null"):
            binary = work / "null_server"
            if not binary.exists():
                command = ["gcc", "-O2", "-w", "-pthread", "-o", binary, HERE / "null_server.c"]
                subprocess.run(command, check=True)
            command = [binary, str(self.port), "10000" if name == "null10ms" else "0"]
        else:
            root = work / "rclone"
            (root / BUCKET).mkdir(parents=True, exist_ok=True)
            command = [tool("rclone") or "rclone", "serve", "s3", "--addr"]
            command += [f"127.0.0.1:{self.port}", "--auth-key", f"{AK},{SK}"]
            command += ["--config", os.devnull, root]
        self.process = subprocess.Popen(list(map(str, command)), stderr=subprocess.DEVNULL)
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                time.sleep(0.05)

    def cpu(self) -> float:
        text = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(text[11]) + int(text[12])) / os.sysconf("SC_CLK_TCK")

    def count(self, prefix: str) -> tuple[int, int]:
        """What the server lists, asked without any of the clients."""
        if self.name == "rclone":
            root = Path(self.process.args[-1]) / BUCKET / prefix  # type: ignore[index,arg-type]
            return tree_size(root)
        count = total = 0
        token = ""
        while True:
            url = f"http://127.0.0.1:{self.port}/{BUCKET}/?list-type=2&prefix={prefix}/{token}"
            with urlopen(url) as reply:
                text = reply.read().decode()
            sizes = [piece.partition("<")[0] for piece in text.split("<Size>")[1:]]
            count, total = count + len(sizes), total + sum(map(int, sizes))
            following = text.partition("<NextContinuationToken>")[2].partition("<")[0]
            if not following:
                return count, total
            token = f"&continuation-token={following}"

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def tool(name: str) -> str | None:
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else shutil.which(name)


def command_line(peer: str, port: int, case: str, rest: Sequence[str], tools: dict[str, str]):
    """The process that does one case, and what its environment needs beside ours."""
    name, _, switch = peer.partition("+")
    endpoint = f"http://127.0.0.1:{port}"
    environment = {
        "AWS_ACCESS_KEY_ID": AK,
        "AWS_SECRET_ACCESS_KEY": SK,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        **MOX_SWITCHES.get(switch, {}),
    }
    if name not in TOOLS:
        script = str(HERE / "storage_peers.py")
        return [tools.get(name, sys.executable), script, peer, str(port), case, *rest], environment
    binary = tools.get(name) or tool(name) or name
    local, remote = "", f"s3://{BUCKET}/{rest[0]}"
    if case == "up":
        local, remote = rest[0], f"s3://{BUCKET}/{rest[1]}"
    elif case == "down":
        local = rest[1]
    if name == "s5cmd":
        base = [binary, "--endpoint-url", endpoint, "--numworkers", "16"]
        what = {
            "up": ["cp", f"{local}/", f"{remote}/"],
            "down": ["cp", f"{remote}/*", f"{local}/"],
            "list": ["ls", f"{remote}/*"],
            "rm": ["rm", f"{remote}/*"],
        }
    elif name == "aws":
        base = [binary, "--endpoint-url", endpoint, "s3"]
        what = {
            "up": ["cp", "--recursive", "--quiet", local, remote],
            "down": ["cp", "--recursive", "--quiet", remote, local],
            "list": ["ls", "--recursive", f"{remote}/"],
            "rm": ["rm", "--recursive", "--quiet", remote],
        }
    else:
        base = [binary, "--config", os.devnull, "--transfers", "16", "--checkers", "16"]
        environment |= {
            "RCLONE_CONFIG_B_TYPE": "s3",
            "RCLONE_CONFIG_B_PROVIDER": "Other",
            "RCLONE_CONFIG_B_ENDPOINT": endpoint,
            "RCLONE_CONFIG_B_ACCESS_KEY_ID": AK,
            "RCLONE_CONFIG_B_SECRET_ACCESS_KEY": SK,
            "RCLONE_S3_NO_CHECK_BUCKET": "true",
        }
        remote = remote.replace("s3://", "b:")
        what = {
            "up": ["copy", local, remote],
            "down": ["copy", remote, local],
            "list": ["lsf", "-R", "--files-only", remote],
            "rm": ["delete", remote],
        }
    return [*base, *what[case]], environment


def measure(command: list[str], environment: dict[str, str], server: Server) -> tuple[float, ...]:
    before = server.cpu()
    began = time.perf_counter()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            # Installed packages have their bytecode; an editable one must be allowed to keep it.
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "", **environment},
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            raise RuntimeError(errors.read().decode(errors="replace").strip()[-300:])
    cpu = usage.ru_utime + usage.ru_stime
    return wall, cpu, usage.ru_maxrss / 1024, server.cpu() - before


def run_case(case: str, peer: str, server: Server, work: Path, tools: dict[str, str]) -> Row:
    name, _, way = case.partition("-")
    kind = name if name in SETS else "tiny"
    source = work / "source" / kind
    seeded, fresh = f"seed-{kind}", f"new-{kind}"
    if name in ("list", "rm"):
        way = name
    if way == "up":
        rest = [str(source), fresh]
    elif way == "down":
        rest = [seeded, str(work / "got")]
    else:
        rest = [seeded if way == "list" else fresh]
    if way == "rm":
        seed(server, source, fresh)
    if way == "down":
        (work / "got").mkdir()
    command, environment = command_line(peer, server.port, way, rest, tools)
    try:
        result = measure(command, environment, server)
        if way == "up" and server.count(fresh) != tree_size(source):
            raise RuntimeError(f"uploaded {server.count(fresh)}, not {tree_size(source)}")
        if way == "down" and tree_size(work / "got") != tree_size(source):
            raise RuntimeError(f"downloaded {tree_size(work / 'got')}, not {tree_size(source)}")
        if way == "rm" and server.count(fresh) != (0, 0):
            raise RuntimeError(f"left {server.count(fresh)}")
    finally:
        shutil.rmtree(work / "got", ignore_errors=True)
        if way in ("up", "rm"):
            clear(server, fresh)
    return Row(server.name, case, peer, *(round(number, 3) for number in result))


def seed(server: Server, source: Path, prefix: str) -> None:
    if server.count(prefix) == tree_size(source):
        return
    command, environment = command_line("mox", server.port, "up", [str(source), prefix], {})
    measure(command, environment, server)
    if server.count(prefix) != tree_size(source):
        raise RuntimeError(f"could not seed {prefix}")


def clear(server: Server, prefix: str) -> None:
    if server.count(prefix) != (0, 0):
        command, environment = command_line("mox", server.port, "rm", [prefix], {})
        measure(command, environment, server)


def warm(server: Server, prefix: str, kind: str, work: Path, tools: dict[str, str]) -> None:
    """Seeds a set and reads it once, so that the null server has its MD5s."""
    seed(server, work / "source" / kind, prefix)
    (work / "got").mkdir()
    command, environment = command_line(
        "mox", server.port, "down", [prefix, str(work / "got")], tools
    )
    measure(command, environment, server)
    shutil.rmtree(work / "got")


def table(rows: list[Row]) -> str:
    """Medians, and each peer's wall time as a multiple of mox's."""
    lines = []
    for server in dict.fromkeys(row.server for row in rows):
        for case in dict.fromkeys(row.case for row in rows if row.server == server):
            here = [row for row in rows if (row.server, row.case) == (server, case)]
            medians = []
            for peer in dict.fromkeys(row.peer for row in here):
                runs = [row for row in here if row.peer == peer]
                values = [
                    statistics.median(getattr(row, name) for row in runs)
                    for name in ("wall", "cpu", "rss_mb", "server_cpu")
                ]
                medians.append((peer, len(runs), *values))
            best = min((m[2] for m in medians if not m[0].startswith("mox")), default=0.0)
            lines += [
                f"\n**{server} / {case}**\n",
                "| peer | wall s | / best peer | client CPU s | peak MB | server CPU s | runs |",
                "|---|---|---|---|---|---|---|",
            ]
            for peer, runs_, wall, cpu, rss, busy in sorted(medians, key=lambda m: m[2]):
                ratio = f"{wall / best:.2f}" if best else ""
                lines.append(
                    f"| {peer} | {wall:.2f} | {ratio} | {cpu:.2f} | {rss:.0f} | {busy:.2f} |"
                    f" {runs_} |"
                )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--servers", default="null", help="null, null10ms, rclone")
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--peers", default="mox,mox+unsigned,obstore,s5cmd,rclone,boto3")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--python", action="append", default=[], metavar="PEER=PATH")
    parser.add_argument("--dir", default="/dev/shm" if os.path.isdir("/dev/shm") else None)
    parser.add_argument("--out", type=Path, help="JSON of all runs, extended")
    options = parser.parse_args()
    tools = dict(pair.split("=", 1) for pair in options.python)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        work = Path(folder)
        make_sets(work / "source")
        for name in options.servers.split(","):
            server = Server(name, work)
            try:
                for case in options.cases.split(","):
                    measure_case(case, server, work, options, tools, rows)
            finally:
                server.stop()
    print(table(rows))
    if options.out:
        old = json.loads(options.out.read_text()) if options.out.exists() else []
        options.out.write_text(json.dumps(old + [asdict(row) for row in rows], indent=0) + "\n")


def measure_case(
    case: str,
    server: Server,
    work: Path,
    options: argparse.Namespace,
    tools: dict[str, str],
    rows: list[Row],
) -> None:
    name, _, way = case.partition("-")
    if way == "down" or name == "list":
        kind = name if name in SETS else "tiny"
        warm(server, f"seed-{kind}", kind, work, tools)
    failed: set[str] = set()
    for turn in range(options.runs):
        for peer in options.peers.split(","):
            once = peer in SLOW and name == "tiny"
            if peer in failed or (turn and once):
                continue
            try:
                row = run_case(case, peer, server, work, tools)
            except RuntimeError as error:
                failed.add(peer)
                print(f"{server.name} {case} {peer}: {error}", file=sys.stderr, flush=True)
                continue
            rows.append(row)
            print(f"{row.server} {case} {peer} {row.wall} s", file=sys.stderr, flush=True)
    if way == "down":
        clear(server, f"seed-{name}")


if __name__ == "__main__":
    main()
