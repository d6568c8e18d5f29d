"""Where data lies, here or in an object store: one way to look, to write a whole file, and to hold a lock."""

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
    """A file or folder. filesystem: Arrow's, or None for this machine's. path: the name that it knows."""

    path: str
    filesystem: pa.fs.FileSystem | None

    @classmethod
    def of(cls, config: RepoConfig, uri: str, endpoint: str | None) -> "Location":
        """Where a path of Feast's definitions lies; a relative one counts from the repository."""
        full = FileSource.get_uri_for_file_path(config.repo_path, uri)
        filesystem, path = FileSource.create_filesystem_and_path(full, endpoint or "")
        return cls(path.rstrip("/"), filesystem)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return PurePosixPath(self.path).name

    @property
    def parent(self) -> "Location":
        """The folder that it lies in."""
        return Location(str(PurePosixPath(self.path).parent), self.filesystem)

    def __truediv__(self, name: str) -> "Location":
        return Location(f"{self.path}/{name}", self.filesystem)

    def exists(self) -> bool:
        """Whether a file or folder is there."""
        return bool(self._type() != pa.fs.FileType.NotFound)

    def is_folder(self) -> bool:
        """Whether a folder is there."""
        return bool(self._type() == pa.fs.FileType.Directory)

    def parquet_files(self) -> list["Location"]:
        """The parquet files right in this folder."""
        found = self._arrow.get_file_info(pa.fs.FileSelector(self.path))
        return [Location(file.path, self.filesystem) for file in found if file.path.endswith(".parquet")]

    def delete(self) -> None:
        """Delete the file."""
        self._arrow.delete_file(self.path)

    @contextmanager
    def write_whole(self) -> Iterator[pa.NativeFile]:
        """An open file that appears under its name when all is written, and not at all where that fails.

        Here, a hidden file is renamed. What goes to an object store is written here first: its stream would
        publish on an error what had come so far.
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
        """Held by one thread of one process of this machine at a time; a process that dies lets it go."""
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
