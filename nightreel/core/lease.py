"""A lease on a home behind a URL: while one machine works on the home, no other one does.

A holder has an object of its own below `lease/` and writes it again every quarter of the time for which it
holds. Storage offers no locks, but it lists what was written; so a machine first writes its claim, and only
then looks whether another one is there. If so, it withdraws and tries again. Of two machines that do this at
once, at least one sees the other, so never both hold.

Whether a claim has run out is judged by the storage's clock alone. Each lease has a number higher than all
before it (a fencing token), and the manifest of the home has that of its writer: a machine that slept through
the end of its lease finds its claim gone, or a higher number there, and sends nothing.
"""

import json
import os
import random
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from nightreel.core.errors import BusyError, NightreelError
from nightreel.core.locks import HOME_WAIT_S
from nightreel.core.logs import get_logger
from nightreel.core.settings.needs import MirrorNeeds
from nightreel.core.storage import Folder

# Longer than a machine is usually out of reach; a holder that died keeps others out for so long.
LASTS_S = 60.0
_RENEWALS = 4
_LAST = "last"
_NS = 1e9

_log = get_logger(__name__)


@dataclass
class Lease:
    """A held lease.

    Attributes:
        folder: `lease/` below the home's URL.
        name: of its own object.
        number: higher than that of every earlier lease on this home.
        lasts_s: for how long it holds after each renewal.
    """

    folder: Folder
    name: str
    number: int
    lasts_s: float
    _renewed: float = field(default_factory=time.monotonic)
    _ended: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def acquire(cls, folder: Folder, *, wait_s: float, lasts_s: float = LASTS_S) -> "Lease":
        """Hold the lease.

        Raises:
            BusyError: another machine holds it, and did not end within `wait_s`.
        """
        end = time.monotonic() + wait_s
        while True:
            written = time.monotonic()
            number = 1 + max((_number(name) for name in folder.stamps()), default=0)
            lease = cls(folder, f"{number:012d}-{uuid.uuid4().hex}", number, lasts_s, written)
            lease._write()
            others = lease._others()
            if not others:
                return lease
            holder = _said(folder, others[0])
            folder.remove(lease.name)
            if time.monotonic() >= end:
                raise BusyError(
                    f"{folder.location}: {holder} works on this home.",
                    f"Wait until it has ended; if it has died, the home is free after {lasts_s:g} s.",
                )
            # Two that withdrew before each other come back at different times.
            time.sleep(min(random.uniform(0.1, 1.0), max(end - time.monotonic(), 0.0)))

    def renew(self) -> None:
        """Hold for another `lasts_s`; does nothing if the lease is lost."""
        if self._is_there():
            begun = time.monotonic()
            self._write()
            self._renewed = begun

    def require(self) -> None:
        """Raise NightreelError if the lease has run out or another machine has taken over."""
        is_in_time = time.monotonic() - self._renewed < self.lasts_s
        if not is_in_time or not self._is_there() or self._newest() > self.number:
            raise NightreelError(
                f"{self.folder.location}: this machine's lease on the home has run out, so nothing is sent.",
                "Run this again: it starts from the state that another machine may have sent meanwhile.",
            )

    def keep(self) -> None:
        """Renew until `release`, in a thread of its own."""
        threading.Thread(target=self._renewing, daemon=True, name="lease").start()

    def release(self) -> None:
        """Let other machines work on the home; the number of this lease stays taken."""
        self._ended.set()
        self.folder.write(f"{self.number:012d}-{_LAST}", b"")
        self.folder.remove(self.name)
        for name in self.folder.stamps():
            if name.endswith(_LAST) and _number(name) < self.number:
                self.folder.remove(name)

    def _renewing(self) -> None:
        while not self._ended.wait(self.lasts_s / _RENEWALS):
            try:
                self.renew()
            except (NightreelError, OSError) as error:
                _log.warning("the lease on the home is not renewed", reason=str(error))

    def _write(self) -> None:
        holder = {"host": socket.gethostname()[:32], "process": os.getpid()}
        self.folder.write(self.name, json.dumps(holder).encode())

    def _is_there(self) -> bool:
        return self.name in self.folder.stamps()

    def _newest(self) -> int:
        return max(_number(name) for name in self.folder.stamps())

    def _others(self) -> list[str]:
        """The claims of other machines that hold or want to; those that have run out are removed."""
        stamps = self.folder.stamps()
        now = stamps[self.name][1]
        found = []
        for name, (_, written) in sorted(stamps.items()):
            if name == self.name or name.endswith(_LAST):
                continue
            if (now - written) / _NS < self.lasts_s:
                found.append(name)
            else:
                _log.warning("a lease has run out", holder=_said(self.folder, name))
                self.folder.remove(name)
        return found


@contextmanager
def exclusive_home(settings: MirrorNeeds) -> Iterator[Lease | None]:
    """Be the only machine that works on the home until the block ends; None for a home on this machine.

    Raises:
        BusyError: another machine works on it, and did not end within HOME_WAIT_S.
    """
    if settings.home_url is None:
        yield None
        return
    lease = Lease.acquire(Folder(settings.home_url).below("lease"), wait_s=HOME_WAIT_S)
    lease.keep()
    try:
        yield lease
    finally:
        # What cannot be released runs out.
        with suppress(NightreelError, OSError):
            lease.release()


def _number(name: str) -> int:
    first = name.partition("-")[0]
    return int(first) if first.isdigit() else 0


def _said(folder: Folder, name: str) -> str:
    """Who has written a claim."""
    try:
        holder = json.loads(folder.read(name))
        return f"{holder['host']}, process {holder['process']},"
    except (OSError, ValueError, KeyError, TypeError):
        return "another machine"
