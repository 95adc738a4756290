"""How fast data sets are read, beside pipelines written by hand, in one run.

    python benchmarks/data.py --json benchmarks/data_results.json
    python benchmarks/data.py --cases "tf bytes,tf resized" --rounds 3
    python benchmarks/data.py --cases "tf bytes,tf resized,tf tfrecord" --remote --rounds 1

The data are made once (`--work`): 3,671 JPEGs of 500 x 375, 222 MB in total, in five folders; the
same in eight TFRecord files. Every measurement is a process of its own that reads one epoch
(`--epochs`), in turn, round by round, so that other load on the machine hits all of them; starting
up, importing and listing files do not count, nor do building TensorFlow's graph and its first
batch. CPU time is that of the process and its children.

`--remote` reads from `rclone serve s3`, too: without a cache, into an empty one, and from the full
one. The server works on the same cores; its CPU time per image, listings included, is shown beside.

What is measured is in data_readers.py.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

from data_readers import CASES, IMPORTS, Job

IMAGES, TOTAL_BYTES, FOLDERS, RECORD_FILES = 3671, 222_000_000, 5, 8
AK, SK, BUCKET = "TESTACCESSKEY0001", "testsecretkey0001", "bench"
LOCAL, REMOTE, FIRST, CACHED = "local", "remote", "remote, first epoch", "remote, cached"


# ---- Data ----------------------------------------------------------------------------------------


def make_data(work: Path, count: int) -> tuple[Path, Path]:
    """Writes the images and TFRecord files, unless they are there."""
    images, records = work / f"images-{count}", work / f"records-{count}"
    if records.exists():
        return images, records
    import cv2
    import numpy as np

    from mox_core.data.example import format_example
    from mox_core.data.tfrecord import TFRecordWriter

    chance = np.random.default_rng(7)
    aim = TOTAL_BYTES / IMAGES
    for number in range(count):
        folder = images / f"d{number % FOLDERS}"
        folder.mkdir(parents=True, exist_ok=True)
        small = chance.integers(0, 256, (24, 32, 3), np.uint8)
        picture = cv2.resize(small, (500, 375), interpolation=cv2.INTER_CUBIC).astype(np.int16)
        grain = chance.integers(-24, 25, (188, 250, 3), np.int16).repeat(2, 0).repeat(2, 1)
        pixels = np.clip(picture + grain[:375, :500], 0, 255).astype(np.uint8)
        quality = 90
        data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        while len(data) > aim * 1.02 and quality > 40:
            quality -= 4
            data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        (folder / f"{number:05d}.jpg").write_bytes(data)
    files = sorted(images.glob("*/*.jpg"))
    random.Random(0).shuffle(files)
    temporary = Path(tempfile.mkdtemp(dir=work))
    for part in range(RECORD_FILES):
        with TFRecordWriter(temporary / f"train-{part}.tfrecord") as writer:
            for path in files[part::RECORD_FILES]:
                label = int(path.parent.name[1:])
                features = {"image/encoded": path.read_bytes(), "image/class/label": label}
                writer.write(format_example(features))
    temporary.rename(records)
    return images, records


class RcloneServer:
    """`rclone serve s3` over the data."""

    def __init__(self, root: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        beside = Path(sys.executable).with_name("rclone")
        rclone = str(beside) if beside.exists() else shutil.which("rclone") or "rclone"
        command = [rclone, "serve", "s3", "--addr", f"127.0.0.1:{self.port}"]
        command += ["--auth-key", f"{AK},{SK}", "--config", os.devnull, str(root)]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                time.sleep(0.05)
        raise SystemExit("rclone does not listen")

    def environment(self) -> dict[str, str]:
        return {
            "ACCESS_KEY_ID": AK,
            "SECRET_ACCESS_KEY": SK,
            "S3_ENDPOINT": f"127.0.0.1:{self.port}",
            "S3_USE_HTTPS": "0",
        }

    def cpu_seconds(self) -> float:
        """CPU time so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


# ---- Measuring -----------------------------------------------------------------------------------


def measure(case: str, name: str, job: Job) -> dict[str, float]:
    """In the reader's process: reads all epochs."""
    for module in ("numpy", "cv2", "mox_core.data", *IMPORTS.get(case.split()[0], ())):
        __import__(module)
    done = CASES[case][name](job)
    return {
        "images": done.images,
        "images_per_sec": done.images / done.seconds,
        "cpu_ms": 1e3 * done.cpu_seconds / done.images,
    }


def run_one(case: str, name: str, job: Job, environment: dict[str, str]) -> dict[str, float] | None:
    command = [sys.executable, __file__, "--measure", json.dumps([case, name, asdict(job)])]
    done = subprocess.run(
        command,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"} | environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        print(f"{case}, {name} failed:\n{done.stderr[-2000:]}", file=sys.stderr)
        return None
    if "pip install" in done.stderr:  # such as: without crc32c, checksums cost most of the time
        print(f"{case}, {name}:\n{done.stderr[-2000:]}", file=sys.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def plans(args, images: Path, records: Path, cache: Path) -> list[tuple[str, str, str, Job]]:
    """What a round measures: case, reader, from where, its job."""
    cases = args.cases.split(",") if args.cases else list(CASES)
    only = tuple(args.only.split(",")) if args.only else ("",)
    local = Job(str(images), str(records), None, args.epochs)
    remote = Job(*(f"s3://{BUCKET}/{folder.name}" for folder in (images, records)), None)
    plan = []
    for case in cases:
        for name in CASES[case]:
            if not name.startswith(only):
                continue
            if not args.remote:
                if not name.startswith("obstore"):
                    plan.append((case, name, LOCAL, local))
            elif name.startswith("obstore"):
                plan.append((case, name, LOCAL, replace(local, epochs=1)))
                plan.append((case, name, REMOTE, remote))
            elif name.startswith("mox"):
                cached = replace(remote, cache=str(cache))
                plan.append((case, name, LOCAL, replace(local, epochs=1)))
                plan.append((case, name, REMOTE, remote))
                plan.append((case, name, FIRST, cached))
                plan.append((case, name, CACHED, cached))
    return plan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--work", default="/tmp/mox/bench_data", type=Path)
    parser.add_argument("--count", type=int, default=IMAGES, help="images")
    parser.add_argument("--cases", help="some of: " + ", ".join(CASES))
    parser.add_argument("--only", help="readers whose names begin with one of these")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=1, help="of a measurement, if not remote")
    parser.add_argument("--remote", action="store_true", help="mox from rclone serve s3")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        case, name, fields = json.loads(args.measure)
        print(json.dumps(measure(case, name, Job(**fields))))
        return
    args.work.mkdir(parents=True, exist_ok=True)
    images, records = make_data(args.work, args.count)
    cache = args.work / "cache"
    plan = plans(args, images, records, cache)
    server = None
    environment: dict[str, str] = {}
    if args.remote:
        root = args.work / "remote"
        (root / BUCKET).mkdir(parents=True, exist_ok=True)
        for folder in (images, records):
            if not (root / BUCKET / folder.name).exists():
                shutil.copytree(folder, root / BUCKET / folder.name)
        server = RcloneServer(root)
        environment = server.environment()
    results: dict[tuple[str, str, str], list[dict[str, float]]] = {}
    load = os.getloadavg()
    try:
        for number in range(args.rounds):
            shift = 0 if args.remote else number % len(plan)
            for case, name, where, job in plan[shift:] + plan[:shift]:
                if where == FIRST:
                    shutil.rmtree(cache, ignore_errors=True)
                before = server.cpu_seconds() if server else 0
                one = run_one(case, name, job, environment)
                if one:
                    if server:
                        used = server.cpu_seconds() - before
                        one["server_cpu_ms"] = 1e3 * used / one["images"]
                    results.setdefault((case, where, name), []).append(one)
                    print(f"{case:15} {where:19} {name:26} {one['images_per_sec']:8.0f}/s", end="")
                    print(f" {one['cpu_ms']:7.3f} ms CPU", end="")
                    print(f" {one.get('server_cpu_ms', 0):7.3f} the server's", flush=True)
    finally:
        if server:
            server.close()
    report(results, args, load)


def report(results, args, load) -> None:
    """Prints the table; ratios are medians over the rounds."""
    heads = ("case", "from", "reader", "images/s, median (lowest to highest)", "CPU ms/image")
    heads += ("the server's", "mox / it", "it / local")
    print(f"\nload average before: {load[0]:.2f}\n\n| {' | '.join(heads)} |")
    print("|---" * len(heads) + "|")
    rows = []
    for (case, where, name), ones in results.items():
        rates = [one["images_per_sec"] for one in ones]
        cpu = statistics.median(one["cpu_ms"] for one in ones)
        server = statistics.median(one.get("server_cpu_ms", 0) for one in ones)
        over = ratio(results.get((case, where, "mox")), ones) if name != "mox" else None
        local = ratio(ones, results.get((case, LOCAL, name))) if where != LOCAL else None
        shown = f"{statistics.median(rates):.0f} ({min(rates):.0f} to {max(rates):.0f})"
        ratios = " | ".join("" if one is None else f"{one:.2f}" for one in (over, local))
        print(f"| {case} | {where} | {name} | {shown} | {cpu:.3f} | {server:.3f} | {ratios} |")
        rows.append(
            {
                "case": case,
                "from": where,
                "reader": name,
                "rounds": ones,
                "mox_over_it": over,
                "it_over_local": local,
            }
        )
    if args.json:
        about = {
            "count": args.count,
            "rounds": args.rounds,
            "epochs": args.epochs,
            "machine": platform.machine(),
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "load": load,
        }
        args.json.write_text(json.dumps({"about": about, "results": rows}, indent=1) + "\n")


def ratio(ones, others) -> float | None:
    """Images per second over the others', the median of the rounds."""
    pairs = zip(ones or (), others or (), strict=False)
    found = [one["images_per_sec"] / other["images_per_sec"] for one, other in pairs]
    return statistics.median(found) if found else None


if __name__ == "__main__":
    main()
