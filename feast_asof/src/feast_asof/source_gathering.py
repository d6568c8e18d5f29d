"""The columns of one source in the result: read and gathered in threads, a few columns at a time."""

from collections.abc import Mapping, Sequence

import pyarrow as pa

from feast_asof.gathering import Gathering
from feast_asof.search import Int32Array
from feast_asof.shared import SourceColumns
from feast_asof.threads import COUNT, THREADS, shares
from feast_asof.views import JoinedView

# Bytes that a thread reads before it gathers them: what a processor's cache holds, more or less.
READ_BYTES = 1 << 24
VALUE_BYTES = 8


class SourceGathering:
    """Gathers the features of a source's views, beginning at once.

    Columns that are still in a file are read a few at a time, and never held all at once.
    """

    def __init__(self, source: SourceColumns, views: Sequence[tuple[JoinedView, Int32Array]]) -> None:
        self._source = source
        gatherings = {id(positions): Gathering(positions) for _, positions in views}
        self._views = [(view, gatherings[id(positions)]) for view, positions in views]
        names = list(dict.fromkeys(name for view, _ in views for name in view.columns.values()))
        most = max(READ_BYTES // max(source.rows * VALUE_BYTES, 1), 1)
        # Two shares a thread, as none of them takes exactly as long as another.
        count = max(2 * COUNT, -(-len(names) // most))
        self._shares = [THREADS.submit(self._gather, share) for share in shares(names, count)]

    def result(self) -> dict[str, dict[str, pa.Array]]:
        """The columns of each view by their names in the result, by the view's name."""
        gathered: dict[tuple[str, str], pa.Array] = {}
        for share in self._shares:
            gathered |= share.result()
        return {
            view.name: {name: gathered[view.name, name] for name in view.columns} for view, _ in self._views
        }

    def _gather(self, names: Sequence[str]) -> Mapping[tuple[str, str], pa.Array]:
        read = self._source.read(names)
        gathered: dict[tuple[str, str], pa.Array] = {}
        for view, gathering in self._views:
            of_view = {name: read[column] for name, column in view.columns.items() if column in read}
            columns = gathering.of(list(of_view.values()))
            gathered.update(
                {(view.name, name): column for name, column in zip(of_view, columns, strict=True)}
            )
        return gathered
