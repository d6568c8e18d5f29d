"""Files as the CSV reader has to see them: cut at a byte, or without lone carriage returns."""

import io
import re
from typing import BinaryIO

_LONE_RETURN = re.compile(rb"\r(?!\n)")


class UpTo(io.RawIOBase):
    """A file that seems to end at `end`: what another process appends meanwhile is read next time."""

    def __init__(self, file: BinaryIO, end: int) -> None:
        self._file, self._end = file, end

    def readable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """To a byte of the file."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """The position of the next byte."""
        return self._file.tell()

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, as many as there are up to size, and not beyond the end."""
        left = max(self._end - self._file.tell(), 0)
        return self._file.read(left if size < 0 else min(size, left))


class WithoutLoneReturns(io.RawIOBase):
    """A file in which a lone carriage return reads as a space; Arrow would end the row at it."""

    def __init__(self, file: "UpTo") -> None:
        self._file = file

    def readable(self) -> bool:
        """Yes."""
        return True

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, as many as there are up to size."""
        block = self._file.read(max(size - 1, 1) if size > 0 else size)
        if block.endswith(b"\r"):
            # Whether a line feed follows is seen only with the next byte.
            block += self._file.read(1)  # one byte was kept free for it
        return _LONE_RETURN.sub(b" ", block)
