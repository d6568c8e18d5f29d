"""The files that lists are made from."""

from pathlib import Path

from nightreel.core.catalogue import catalogue_of
from nightreel.core.checksums import require_as_written
from nightreel.core.errors import InputError
from nightreel.core.play_days import table_exists
from nightreel.core.settings.needs import FeatureNeeds
from pipelines.known import table_files


def list_files(settings: FeatureNeeds) -> tuple[Path, ...]:
    """The tables and feature sources that lists are made from, whether or not they exist."""
    return (
        settings.paths.interactions,
        settings.paths.table("users"),
        *(
            settings.paths.feature_source(view.name)
            for view in catalogue_of(settings.data, settings.features).needed
        ),
    )


def list_inputs(settings: FeatureNeeds) -> tuple[Path, ...]:
    """The tables and feature sources that lists are made from.

    Raises:
        InputError: one is missing, or differs from what its step wrote.
    """
    read = list_files(settings)
    for path in read:
        if not table_exists(path):
            raise InputError(f"{path}: missing.", "Run `nightreel ingest` and `nightreel features` first.")
    require_as_written(dict.fromkeys((*table_files(settings.paths), *read, settings.paths.registry)))
    return read
