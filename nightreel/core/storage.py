"""Folders at a path or a URL, through Arrow's filesystem layer.

`s3://`, `gs://` and `file://` are URLs; anything else is a path on this machine. Credentials and endpoints
come from where the cloud's own tools look for them: AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL,
GOOGLE_APPLICATION_CREDENTIALS, STORAGE_EMULATOR_HOST, and so on.
"""

import os
import shutil
import uuid
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from nightreel.core.disk import disk_full, is_disk_full
from nightreel.core.errors import InputError, NightreelError

if TYPE_CHECKING:
    import pyarrow.fs

_SCHEMES = ("s3://", "gs://", "file://")
_PARTIAL = ".partial-"
_PIECE_BYTES = 8 * 2**20


def _s3(**options: str | None) -> "pyarrow.fs.FileSystem":
    from pyarrow import fs

    try:
        # A small object is then sent in one request instead of three.
        return fs.S3FileSystem(**options, allow_delayed_open=True)
    except TypeError:
        # Arrow 20 and earlier cannot.
        return fs.S3FileSystem(**options)


def is_url(text: str) -> bool:
    """Whether this is a URL rather than a path."""
    return "://" in text


@dataclass(frozen=True)
class Folder:
    """A folder, which need not exist yet; `location` is an absolute path or a URL."""

    location: str

    def below(self, name: str) -> "Folder":
        """A folder in this one."""
        return Folder(f"{self.location.rstrip('/')}/{name}")

    @cached_property
    def _opened(self) -> "tuple[pyarrow.fs.FileSystem, str]":
        from pyarrow import fs

        if not is_url(self.location):
            return fs.LocalFileSystem(), str(Path(self.location))
        if not self.location.startswith(_SCHEMES):
            raise InputError(
                f"{self.location}: files cannot be kept there.", "Use s3://, gs://, file:// or a path."
            )
        try:
            if self.location.startswith("s3://"):
                # From the URL alone Arrow would ask a cloud for the bucket's region.
                region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
                endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
                s3 = _s3(region=region, endpoint_override=endpoint)
                return s3, self.location.removeprefix("s3://").rstrip("/")
            emulator = os.environ.get("STORAGE_EMULATOR_HOST")
            if self.location.startswith("gs://") and emulator:
                scheme, _, host = emulator.rpartition("://")
                gcs = fs.GcsFileSystem(anonymous=True, scheme=scheme or "http", endpoint_override=host)
                return gcs, self.location.removeprefix("gs://").rstrip("/")
            filesystem, path = fs.FileSystem.from_uri(self.location)
        except (OSError, ValueError) as error:
            raise self._failure(error) from error
        return filesystem, path.rstrip("/")

    @property
    def filesystem(self) -> "pyarrow.fs.FileSystem":
        """The filesystem that Arrow's own readers take together with `path`."""
        return self._opened[0]

    def path(self, name: str) -> str:
        """A file's path within `filesystem`."""
        return f"{self._opened[1]}/{name}"

    def write(self, name: str, content: bytes) -> None:
        """Write a file completely or not at all, replacing an existing one."""
        from pyarrow import fs

        filesystem, target = self.filesystem, self.path(name)
        try:
            if not isinstance(filesystem, fs.LocalFileSystem):
                # An object appears when it has been sent.
                with filesystem.open_output_stream(target) as stream:
                    stream.write(content)
                return
            parent = Path(target).parent
            parent.mkdir(parents=True, exist_ok=True)
            temporary = parent / f"{_PARTIAL}{uuid.uuid4().hex}"
            try:
                temporary.write_bytes(content)
                temporary.replace(target)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            raise self._failure(error) from error

    def put(self, file: Path, name: str) -> None:
        """Copy a file of this machine there in pieces, completely or not at all."""
        from pyarrow import fs

        target = self.path(name)
        try:
            if isinstance(self.filesystem, fs.LocalFileSystem):
                Path(target).parent.mkdir(parents=True, exist_ok=True)
                temporary = Path(target).with_name(f"{_PARTIAL}{uuid.uuid4().hex}")
                try:
                    shutil.copyfile(file, temporary)
                    temporary.replace(target)
                finally:
                    temporary.unlink(missing_ok=True)
                return
            with file.open("rb") as source, self.filesystem.open_output_stream(target) as stream:
                shutil.copyfileobj(source, stream, _PIECE_BYTES)
        except OSError as error:
            raise self._failure(error) from error

    def get(self, name: str, file: Path) -> None:
        """Copy a file to this machine, whole or not at all. Raises FileNotFoundError if there is none."""
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_name(f"{_PARTIAL}{file.name}")
        try:
            with self.filesystem.open_input_stream(self.path(name)) as stream, temporary.open("wb") as target:
                shutil.copyfileobj(stream, target, _PIECE_BYTES)
            temporary.replace(file)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise self._failure(error) from error
        finally:
            temporary.unlink(missing_ok=True)

    def read(self, name: str) -> bytes:
        """A file's content. Raises FileNotFoundError if it does not exist."""
        try:
            with self.filesystem.open_input_stream(self.path(name)) as stream:
                return bytes(stream.read())
        except FileNotFoundError:
            raise
        except OSError as error:
            raise self._failure(error) from error

    def stamps(self) -> dict[str, tuple[int, int]]:
        """Size in bytes and modification time (ns since 1970 UTC) of every file below the folder, by name."""
        from pyarrow import fs

        root = self._opened[1]
        selector = fs.FileSelector(root, recursive=True, allow_not_found=True)
        try:
            found = self.filesystem.get_file_info(selector)
        except OSError as error:
            raise self._failure(error) from error
        return {
            info.path[len(root) :].lstrip("/"): (int(info.size), int(info.mtime_ns or 0))
            for info in found
            if info.type == fs.FileType.File and not info.base_name.startswith(_PARTIAL)
        }

    def remove(self, name: str) -> None:
        """Remove a file, which need not exist."""
        try:
            self.filesystem.delete_file(self.path(name))
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._failure(error) from error

    def remove_all(self) -> None:
        """Remove the folder with all its content, if it exists."""
        try:
            self.filesystem.delete_dir(self._opened[1])
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> NightreelError:
        if is_disk_full(error):
            return disk_full(Path(self._opened[1]), error)
        said = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        return NightreelError(
            f"{self.location}: {said}.",
            "Check that it may be read and written from here, and the credentials.",
        )
