"""The threads of a copy: as many as help, and never fewer than the work needs."""

from __future__ import annotations

import threading

import pytest

from mox_core.storage.pool import FEW, Pool


@pytest.mark.parametrize("before", [0, 1, FEW, 100])
def test_tasks_that_wait_run_at_the_same_time(before: int) -> None:
    together = threading.Barrier(8, timeout=60)
    with Pool(8) as pool:
        for _ in range(before):
            pool.add(lambda: None)
        for _ in range(8):
            pool.add(together.wait)  # type: ignore[arg-type]


def test_a_task_that_hangs_does_not_hold_up_the_others() -> None:
    released = threading.Event()
    done = []
    with Pool(2) as pool:
        for number in range(50):
            pool.add(lambda number=number: done.append(number))  # type: ignore[misc]
        pool.add(lambda: done.append(released.wait(60)))
        for number in range(50):
            pool.add(lambda number=number: done.append(number))  # type: ignore[misc]
        pool.add(released.set)
    assert len(done) == 101
    assert True in done


def test_no_threads_means_the_caller_s() -> None:
    names = []
    with Pool(0) as pool:
        pool.add(lambda: names.append(threading.current_thread()))
    assert names == [threading.current_thread()]


def test_a_bug_in_a_task_reaches_the_caller() -> None:
    def broken() -> None:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"), Pool(4) as pool:
        for _ in range(20):
            pool.add(broken)


@pytest.mark.parametrize("running", [False, True])
def test_only_running_tasks_are_interrupted(running: bool) -> None:
    """Others may use the same connections."""
    started, interrupted = threading.Event(), threading.Event()

    def task() -> None:
        started.set()
        interrupted.wait(60)

    with pytest.raises(KeyboardInterrupt), Pool(4, interrupt=interrupted.set) as pool:
        if running:
            pool.add(task)
            started.wait(60)
        raise KeyboardInterrupt
    assert interrupted.is_set() is running
