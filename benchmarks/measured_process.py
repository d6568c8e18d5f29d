"""Runs a command in a process of its own and measures seconds, CPU seconds and peak memory of its tree."""

import platform
import resource
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TextIO

import psutil

POLL_S = 0.05


@dataclass(frozen=True)
class Measured:
    """seconds of wall clock and of CPU, peak resident bytes of the process tree; no output: it failed."""

    seconds: float
    peak_bytes: int
    output: str | None
    error: str
    cpu_seconds: float = 0.0


def run_measured(
    command: Sequence[str], *, timeout_s: float, environment: Mapping[str, str] | None = None
) -> Measured:
    """Run a command and watch it until it ends or the time is over. environment: instead of our own."""
    started = time.perf_counter()
    cpu_before = _cpu_seconds_of_children()
    with (
        tempfile.TemporaryFile("w+") as output_file,
        tempfile.TemporaryFile("w+") as error_file,
        subprocess.Popen(
            command, stdout=output_file, stderr=error_file, text=True, env=environment
        ) as process,
    ):
        peak = 0
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            peak = max(peak, _tree_bytes(watched))
            if time.perf_counter() - started > timeout_s:
                process.kill()
                process.wait()
                return Measured(timeout_s, peak, None, f"longer than {timeout_s:.0f} s")
            time.sleep(POLL_S)
        seconds = time.perf_counter() - started
        output, error = _written(output_file), _written(error_file)
    cpu_seconds = _cpu_seconds_of_children() - cpu_before
    if process.returncode != 0:
        last = error.strip().splitlines()[-1:] or [f"exit code {process.returncode}"]
        return Measured(seconds, peak, None, last[0], cpu_seconds)
    return Measured(seconds, peak, output, "", cpu_seconds)


def machine(*packages: str) -> dict[str, str | int]:
    """What a result was measured on, with the versions of packages."""
    return {
        "python": platform.python_version(),
        "cores": psutil.cpu_count() or 0,
        "memory_bytes": psutil.virtual_memory().total,
        **{package: _version(package) for package in packages},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _written(file: TextIO) -> str:
    file.seek(0)
    return file.read()


def _cpu_seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _tree_bytes(process: psutil.Process) -> int:
    try:
        tree = [process, *process.children(recursive=True)]
        return sum(member.memory_info().rss for member in tree)
    except psutil.Error:
        return 0
