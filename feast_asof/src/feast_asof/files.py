"""Files on disk or in an object store: list them, write one as a whole, hold a lock."""

import fcntl
import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.fs
from feast.infra.offline_stores.file_source import FileSource
from feast.repo_config import RepoConfig


@dataclass(frozen=True)
class Location:
    """A file or folder.

    Attributes:
        filesystem: Arrow's, or None for this machine's.
        path: its path within the filesystem.
    """

    path: str
    filesystem: pa.fs.FileSystem | None

    @classmethod
    def of(cls, config: RepoConfig, uri: str, endpoint: str | None) -> "Location":
        """The location of a path in Feast's definitions; a relative one counts from the repository."""
        full = FileSource.get_uri_for_file_path(config.repo_path, uri)
        filesystem, path = FileSource.create_filesystem_and_path(full, endpoint or "")
        return cls(path.rstrip("/"), filesystem)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return PurePosixPath(self.path).name

    @property
    def parent(self) -> "Location":
        """The folder that contains it."""
        return Location(str(PurePosixPath(self.path).parent), self.filesystem)

    def __truediv__(self, name: str) -> "Location":
        return Location(f"{self.path}/{name}", self.filesystem)

    def exists(self) -> bool:
        """Whether it is an existing file or folder."""
        return bool(self._type() != pa.fs.FileType.NotFound)

    def is_folder(self) -> bool:
        """Whether it is an existing folder."""
        return bool(self._type() == pa.fs.FileType.Directory)

    def parquet_files(self) -> list["Location"]:
        """The parquet files directly in this folder."""
        found = self._arrow.get_file_info(pa.fs.FileSelector(self.path))
        return [Location(file.path, self.filesystem) for file in found if file.path.endswith(".parquet")]

    def delete(self) -> None:
        """Delete the file."""
        self._arrow.delete_file(self.path)

    @contextmanager
    def write_whole(self) -> Iterator[pa.NativeFile]:
        """An open file that appears under its name once it is complete, and not at all after an error.

        On this machine, a hidden file is renamed. For an object store the file is written here first, because
        an object's stream would publish the part written before an error.
        """
        if self.filesystem is not None:
            with tempfile.TemporaryDirectory() as folder:
                whole = f"{folder}/{self.name}"
                with pa.OSFile(whole, "wb") as file:
                    yield file
                pa.fs.copy_files(
                    whole,
                    self.path,
                    source_filesystem=pa.fs.LocalFileSystem(),
                    destination_filesystem=self.filesystem,
                )
            return
        target = Path(self.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{self.name}.{uuid.uuid4().hex}.partial")
        try:
            with pa.OSFile(str(partial), "wb") as file:
                yield file
            _to_disk(partial)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold a lock across threads and processes of this machine; a process that dies releases it."""
        assert self.filesystem is None
        with Path(self.parent.path, f".{self.name}.lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @property
    def _arrow(self) -> pa.fs.FileSystem:
        return self.filesystem or pa.fs.LocalFileSystem()

    def _type(self) -> pa.fs.FileType:
        return self._arrow.get_file_info(self.path).type


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
