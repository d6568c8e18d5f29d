"""Inspections of the raw files and of what was delivered."""

import os

from nightreel.core import columns
from nightreel.core.settings import DataSettings
from nightreel.operations.doctor.finding import Finding, size_text

_NEEDED_FILES = (columns.BIG_MATRIX_FILE,)


def data_folder(settings: DataSettings) -> Finding:
    """Whether the required raw files exist and are readable."""
    from pipelines.ingest.formats import stamp_of
    from pipelines.ingest.mapping import files_given
    from pipelines.ingest.raw_files import BIG_MATRIX, RAW_FILES, raw_path

    if files_given(BIG_MATRIX, settings) is not None:
        return _given_files(settings)
    folder = settings.raw_dir
    remedy = (
        "Set [data] raw_dir in nightreel.toml, or NIGHTREEL_DATA_RAW_DIR, to the folder of the CSV files; "
        "`nightreel demo` makes data to try with."
    )
    if not folder.is_dir():
        return Finding("data folder", "wrong", f"{folder}: no such folder.", remedy)
    by_name = {file.name: raw_path(folder, file) for file in RAW_FILES if file.name in _NEEDED_FILES}
    missing = [name for name in _NEEDED_FILES if not by_name[name].exists()]
    if missing:
        return Finding("data folder", "wrong", f"{folder} lacks {', '.join(missing)}.", remedy)
    unreadable = [name for name in _NEEDED_FILES if not os.access(by_name[name], os.R_OK)]
    if unreadable:
        return Finding(
            "data folder",
            "wrong",
            f"{folder}: {', '.join(unreadable)} may not be read by this user.",
            "Give this user leave to read them: `chmod a+r`.",
        )
    size_bytes = sum(stamp_of(path)[0] for path in by_name.values())
    return Finding(
        "data folder", "ok", f"{folder}, {size_text(size_bytes)} in the {len(_NEEDED_FILES)} needed files"
    )


def _given_files(settings: DataSettings) -> Finding:
    """Whether the files that the table [data] names are there and readable."""
    from pipelines.ingest.formats import files_of, is_there
    from pipelines.ingest.mapping import files_given, raw_paths

    given = {file: path for file, path in raw_paths(settings).items() if files_given(file, settings)}
    for path in given.values():
        if not is_there(path):
            remedy = "Put it there, or correct the table [data] in nightreel.toml."
            return Finding("data folder", "wrong", f"{path}: no such file.", remedy)
    files = [file for path in given.values() for file in files_of(path)]
    unreadable = [str(file) for file in files if not os.access(file, os.R_OK)]
    if unreadable:
        remedy = "Give this user leave to read them: `chmod a+r`."
        return Finding("data folder", "wrong", f"{unreadable[0]} may not be read by this user.", remedy)
    size_bytes = sum(file.stat().st_size for file in files)
    return Finding("data folder", "ok", f"{len(files)} files of [data], {size_text(size_bytes)}")


def unread(settings: DataSettings) -> Finding:
    """Files among the raw files and deliveries that are not read."""
    from pipelines.ingest.unread import unread_files

    lines = unread_files(settings) if settings.raw_dir.is_dir() else []
    if not lines:
        return Finding("unread files", "ok", "none")
    return Finding(
        "unread files",
        "warning",
        "; ".join(lines),
        "Deliver them in a known format, directly in `incoming`; or put them elsewhere.",
    )
