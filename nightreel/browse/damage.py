"""The error of a page whose file is lost or damaged, in words."""

from collections.abc import Iterator
from contextlib import contextmanager

import polars as pl
import pyarrow as pa

from nightreel.core.errors import NightreelError
from nightreel.core.settings import Paths


@contextmanager
def damage_in_words(paths: Paths, *more: type[Exception]) -> Iterator[None]:
    """Turn errors of reading files, and those of `more`, into one NightreelError with a remedy."""
    try:
        yield
    except (OSError, pl.exceptions.PolarsError, pa.ArrowException, *more) as error:
        reason = " ".join(str(error).split())[:200]
        raise NightreelError(
            f"{paths.home}: a table, a feature or a model cannot be read: {reason}",
            "Run `nightreel doctor`; it says what is wrong with the home.",
        ) from error
