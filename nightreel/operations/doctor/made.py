"""An inspection of the files that lists are made from."""

from nightreel.core.checksums import checksum_file, is_lost, lost_files, require_as_written
from nightreel.core.settings.needs import DatabaseNeeds
from nightreel.operations.doctor.finding import Finding


def checksums(settings: DatabaseNeeds) -> Finding:
    """Whether the files that lists are made from are as written. Raises InputError if not."""
    from pipelines import model_registry
    from pipelines.known import table_files

    paths = settings.paths
    pointer = paths.models / model_registry.CHAMPION
    features = [*sorted(paths.features.glob("*.parquet")), *lost_files(paths.features)]
    found = [*table_files(paths), *features, paths.registry, pointer]
    there = [path for path in found if path.is_file() or is_lost(path)]
    require_as_written(there)
    if pointer in there:
        model_registry.champion(settings.paths)
    unknown = [path for path in there if not checksum_file(path).is_file()]
    if unknown:
        return Finding(
            "checksums",
            "warning",
            f"{len(unknown)} of {len(there)} have no checksum: an older nightreel wrote them.",
            "Their steps write it; at once: `nightreel ingest --force` and `nightreel features --force`.",
        )
    return Finding("checksums", "ok", f"{len(there)} tables, features and pointers are as they were written")
