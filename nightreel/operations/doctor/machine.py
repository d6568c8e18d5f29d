"""Inspections of the disk and of memory."""

import os
import shutil
import sys
from pathlib import Path

import psutil

from nightreel.operations.doctor.finding import GIB, Finding, size_text

# What a run on all of KuaiRec needs, and what even the demo needs.
_DISK_SCARCE_BYTES, _DISK_FULL_BYTES = 5 * GIB, GIB // 2
_MEMORY_SCARCE_BYTES, _MEMORY_SHORT_BYTES = 4 * GIB, GIB


def disk(home: Path) -> Finding:
    """Whether the home is writable, with enough free space for a night."""
    folder = next(one for one in (home, *home.parents) if one.is_dir())
    if not os.access(folder, os.W_OK):
        return Finding(
            "disk",
            "wrong",
            f"{folder} may not be written by this user.",
            "Change its owner, or choose a --home.",
        )
    free_bytes = shutil.disk_usage(folder).free
    return _enough("disk", f"{size_text(free_bytes)} free below {folder}", free_bytes)


def _enough(name: str, found: str, free_bytes: int) -> Finding:
    if free_bytes < _DISK_FULL_BYTES:
        return Finding(name, "wrong", found, "Free some space, or choose a --home on another disk.")
    if free_bytes < _DISK_SCARCE_BYTES:
        return Finding(
            name,
            "warning",
            found,
            "Enough for the demo; all of KuaiRec wants 5 GiB. Lower [database] keep_runs, or free some.",
        )
    return Finding(name, "ok", found)


def memory() -> Finding:
    """Whether there is enough memory for a run, within the container's limit if there is one."""
    try:
        available_bytes = min(psutil.virtual_memory().available, _container_limit_bytes())
    except OSError:
        return Finding("memory", "warning", "cannot be determined here.", "Mount /proc to have it checked.")
    found = f"{size_text(available_bytes)} available"
    if available_bytes < _MEMORY_SHORT_BYTES:
        return Finding("memory", "wrong", found, "End other programs, or raise the container's memory limit.")
    if available_bytes < _MEMORY_SCARCE_BYTES:
        return Finding("memory", "warning", found, "Enough for the demo; all of KuaiRec wants 4 GiB.")
    return Finding("memory", "ok", found)


def _container_limit_bytes() -> int:
    try:
        text = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
    except OSError:
        return sys.maxsize
    return int(text) if text.isdecimal() else sys.maxsize
