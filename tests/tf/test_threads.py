from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import atexit, threading
from mox_tf.threads import join_for_a_while

go_on = threading.Event()

def work():
    go_on.wait()
    print("has ended")

thread = threading.Thread(target=work, daemon=True)
thread.start()
join_for_a_while(thread, 0)
atexit.register(go_on.set)  # comes before what was registered earlier
"""


def test_a_thread_that_is_still_busy_may_end_before_the_process_does():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "has ended\n"), done.stderr
