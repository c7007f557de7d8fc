"""Measurements in other processes, threads and pages: what was started ends, what is said is so."""

from __future__ import annotations

import inspect
import mmap
import platform
import re
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import app.__main__
from app.vectors.arrays import map_array, save_array
from bench.beside import INTERVALS_S, SERVED_S, measure_beside
from bench.filtered import run
from bench.pages import touch_pages
from bench.process import Memory
from bench.worker import Spec

KERNEL = tuple(int(number) for number in re.findall(r"\d+", platform.release())[:2])


def spec(folder: Path) -> Spec:
    return Spec(
        task="system",
        system="numpy",
        folder=str(folder),
        scratch=str(folder),
        points=1,
        queries=1,
        workloads=["no filter"],
        budget_s=1.0,
    )


def test_a_measurement_that_takes_too_long_is_ended_and_says_so(tmp_path: Path) -> None:
    begun = time.perf_counter()
    assert run(spec(tmp_path), 0.02) == {"failed": "ended after 0.02 s"}
    assert time.perf_counter() - begun < 5


def test_a_measurement_that_fails_gives_its_last_words(tmp_path: Path) -> None:
    assert "papers.jsonl.gz" in run(spec(tmp_path / "nowhere"), 60)["failed"]


def test_threads_are_counted_and_the_interpreter_is_left_as_it_was() -> None:
    before = sys.getswitchinterval()
    asked = [(number, None) for number in range(4)]
    seen: set[str] = set()

    def search(query: int, form: None) -> None:
        seen.add(threading.current_thread().name)
        time.sleep(0.001)

    told = measure_beside(search, asked, 0.05)
    assert told["two"] > told["one"] > 0
    assert [busy["interval_ms"] for busy in told["busy"]] == [5.0, 0.5]
    assert sys.getswitchinterval() == before == INTERVALS_S[0]
    assert not seen & {thread.name for thread in threading.enumerate()}


def test_the_interval_called_as_served_is_the_service_s() -> None:
    assert f"sys.setswitchinterval({SERVED_S})" in inspect.getsource(app.__main__.serve)


@pytest.mark.skipif(KERNEL < (5, 14), reason="needs Linux 5.14")
def test_touching_pages_maps_the_files_of_a_folder_and_no_others(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    kept = []
    for folder in (inside, outside):
        folder.mkdir()
        save_array(folder / "a.npy", np.zeros((1000, mmap.PAGESIZE), np.uint8))
        kept.append(map_array(folder / "a.npy", (np.uint8,), 2))
    before = Memory.now().resident
    assert touch_pages(inside) == 1001 * mmap.PAGESIZE  # with the page of the header
    assert Memory.now().resident > before + 3  # megabytes
    assert touch_pages(tmp_path / "none") == 0
    assert len(kept) == 2
