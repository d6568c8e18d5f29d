"""Runs a job in a process of its own, ended when it takes too long or the scheduler is to stop."""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from threading import Event

# How long a job may take to end in order, before it is killed: below the 90 s that systemd gives a service.
STOP_WITHIN_S = 60.0
_POLL_S = 0.1


class StopReason(Enum):
    """Why a process ended."""

    ENDED = "ended"  # by itself, or by a signal that was not ours
    LIMIT = "limit"
    STOPPED = "stopped"


@dataclass(frozen=True)
class ProcessResult:
    """How a process ended; `code` is its exit code, negative for the signal that killed it."""

    code: int
    why: StopReason


def run_limited(command: Sequence[str], *, limit_s: float, stop: Event) -> ProcessResult:
    """Run the command until it ends, `limit_s` seconds have passed, or `stop` is set.

    In the last two cases it gets SIGTERM, and is killed with its child processes if it has not ended after
    STOP_WITHIN_S.
    """
    process = subprocess.Popen(command, start_new_session=True)
    deadline = time.monotonic() + limit_s
    try:
        while True:
            with suppress(subprocess.TimeoutExpired):
                return ProcessResult(process.wait(timeout=_POLL_S), StopReason.ENDED)
            if stop.is_set() or time.monotonic() >= deadline:
                why = StopReason.STOPPED if stop.is_set() else StopReason.LIMIT
                return ProcessResult(_end(process, STOP_WITHIN_S), why)
    finally:
        # Processes that it started and left running are killed, too.
        _signal_group(process, signal.SIGKILL)
        process.wait()


def _end(process: "subprocess.Popen[bytes]", within_s: float) -> int:
    _signal_group(process, signal.SIGTERM)
    try:
        return process.wait(timeout=within_s)
    except subprocess.TimeoutExpired:
        _signal_group(process, signal.SIGKILL)
        return process.wait()


def _signal_group(process: "subprocess.Popen[bytes]", number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
