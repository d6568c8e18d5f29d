"""Runs a command in a process of its own and measures seconds, CPU seconds and peak memory of its tree."""

import platform
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

import psutil

POLL_S = 0.05


@dataclass(frozen=True)
class Measured:
    """seconds of wall clock, peak resident bytes of the process tree; output is None where it failed."""

    seconds: float
    peak_bytes: int
    output: str | None
    error: str


def run_measured(command: Sequence[str], *, timeout_s: float) -> Measured:
    """Run a command and watch it until it ends or the time is over."""
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        peak = 0
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            peak = max(peak, _tree_bytes(watched))
            if time.perf_counter() - started > timeout_s:
                process.kill()
                process.wait()
                return Measured(timeout_s, peak, None, f"longer than {timeout_s:.0f} s")
            time.sleep(POLL_S)
        output, error = process.communicate()
    seconds = time.perf_counter() - started
    if process.returncode != 0:
        last = error.strip().splitlines()[-1:] or [f"exit code {process.returncode}"]
        return Measured(seconds, peak, None, last[0])
    return Measured(seconds, peak, output, "")


def machine(*packages: str) -> dict[str, str | int]:
    """What a result was measured on."""
    return {
        "python": platform.python_version(),
        "cores": psutil.cpu_count() or 0,
        "memory_bytes": psutil.virtual_memory().total,
        **{package: version(package) for package in packages},
    }


def _tree_bytes(process: psutil.Process) -> int:
    try:
        tree = [process, *process.children(recursive=True)]
        return sum(member.memory_info().rss for member in tree)
    except psutil.Error:
        return 0
