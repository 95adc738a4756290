"""Kills processes of a cluster at random for some minutes, and starts them again.

    python benchmarks/tf_chaos.py --seconds 180 --seed 1 [--sync]

Every kill is SIGKILL, of the chief, the other worker or a parameter server. After each one the
script waits until both workers have done steps again, and compares the step from which the chief
goes on with the newest checkpoint before the kill. Exit code 1 when anything hangs or is lost.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "tf"))
from cluster_job import ClusterJob

SECONDS_TO_COME_BACK = 120


def newest(job, since=0):
    steps = re.findall(r"Saving checkpoints for (\d+)", job.text("worker 0")[since:])
    return int(steps[-1]) if steps else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sync", action="store_true")
    parser.add_argument("--ps", type=int, default=2)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    kills, waits = {}, []
    with tempfile.TemporaryDirectory() as folder:
        arguments = [f"--folder={folder}/model", "--pace=0.02", "--steps=100000000"]
        arguments += [f"--sync_replicas={options.sync}", "--session_timeout=60"]
        with ClusterJob(f"{folder}/logs", *arguments, ps=options.ps) as job:
            job.start()
            for worker in ("worker 0", "worker 1"):
                job.wait_for(worker, r"step: 20\(", timeout=SECONDS_TO_COME_BACK)
            end = time.monotonic() + options.seconds
            while time.monotonic() < end:
                name = chance.choice(job.names)
                time.sleep(chance.uniform(0, 2))  # at any moment of a step, a save, a recovery
                saved = newest(job)
                marks = {one: len(job.text(one)) for one in job.names}
                job.kill(name)
                time.sleep(chance.choice([0, 0, 1]))
                begun = time.monotonic()
                job.start(name)
                for worker in ("worker 0", "worker 1"):
                    job.wait_for(
                        worker,
                        r"\tloss",
                        count=3,
                        since=marks[worker],
                        timeout=SECONDS_TO_COME_BACK,
                    )
                waits.append(time.monotonic() - begun)
                kills[name] = kills.get(name, 0) + 1
                back = re.findall(
                    r"(?:Restoring parameters from \S+-|Joining .* global step )(\d+)",
                    job.text("worker 0")[marks["worker 0"] :],
                )
                lost = saved - int(back[-1]) if back else 0
                assert lost <= 0, f"{name}: back to {back[-1]}, but {saved} was saved"
                print(f"{name} killed and back after {waits[-1]:.1f} s", flush=True)
            for one in job.names:
                job.kill(one, signal.SIGTERM)
            codes = job.wait(timeout=SECONDS_TO_COME_BACK)
    assert codes == [143] * len(codes), codes
    longest = round(max(waits), 1)
    median = round(sorted(waits)[len(waits) // 2], 1)
    print(json.dumps({"kills": kills, "median_s": median, "longest_s": longest, "codes": codes}))


if __name__ == "__main__":
    main()
