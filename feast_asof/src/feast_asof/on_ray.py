"""The join on a Ray cluster: entity rows in shares, each source's index shared by a node's actors.

Ray Data moves shares and joined blocks, keeps the pool of actors, and repeats the work of a lost node. If the
entity dataframe is a path, each share is read by the actor that joins it: no row moves between nodes before
it is joined. Imported only by `AsOfRetrievalJob.to_ray_dataset`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import ray
import ray.data
from feast.on_demand_feature_view import OnDemandFeatureView
from ray.exceptions import RayTaskError

from feast_asof.entities import Entities, read_rows
from feast_asof.errors import AsOfError
from feast_asof.shared import ReadSource, SharedSource
from feast_asof.views import JoinedView

# Rows of a share, and rows that an actor joins at a time: what is in memory at once, per core.
READ_ROWS = 262_144
JOIN_ROWS = 65_536
# Of a core: a node of one core has room left for what follows, a write above all.
JOIN_CPUS = 0.75
# Bytes of a joined block. Ray's own are four times as large: some for each core fill an object store.
BLOCK_BYTES = 32 * 2**20


@dataclass(frozen=True)
class _Request:
    """What each block is joined with. views: in the order of the result's columns."""

    what: str
    schema: pa.Schema
    time_column: str | None
    views: Sequence[JoinedView]
    on_demand: Sequence[OnDemandFeatureView]
    full_feature_names: bool
    feature_refs: Sequence[str] | None
    join: Callable[..., pa.Table]


def joined_dataset(
    entities: Entities,
    views: Sequence[JoinedView],
    *,
    on_demand: Sequence[OnDemandFeatureView],
    full_feature_names: bool,
    feature_refs: Sequence[str] | None,
    join: Callable[..., pa.Table],
) -> ray.data.Dataset:
    """The join as a lazy dataset, once every source is indexed; see AsOfRetrievalJob.to_ray_dataset.

    A source's rows and index are one object: a node's object store must have room for those of all sources.

    Args:
        join: `retrieval_job.joined_rows`, which joins some entity rows to views with known sources.
    """
    if not ray.is_initialized():
        ray.init()
    unread = [replace(view, known=None) for view in views]
    request = _Request(
        entities.what,
        entities.schema,
        entities.time_column,
        unread,
        on_demand,
        full_feature_names,
        feature_refs,
        join,
    )
    shares = [{"share": share} for share in _shares(entities)]
    actors = max(1, min(int(ray.cluster_resources().get("CPU", 1)), len(shares)))
    joined = ray.data.from_items(shares, override_num_blocks=len(shares)).map_batches(
        _Joiner,
        fn_constructor_args=(request, _index_all(unread)),
        batch_size=1,
        num_cpus=JOIN_CPUS,
        # The pool may shrink to one actor; else a following stage that needs whole cores would wait for ever.
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=actors, initial_size=actors),
    )
    joined.context.target_max_block_size = BLOCK_BYTES
    return joined


class _Joiner:
    """An actor that joins shares; the sources' arrays are in its node's object store, not in the actor."""

    def __init__(self, request: _Request, sources: Sequence["ray.ObjectRef[ReadSource]"]) -> None:
        known = dict(zip(_distinct(request.views), ray.get(list(sources)), strict=True))
        self._request = request
        self._views = [replace(view, known=known[view.shared]) for view in request.views]

    def __call__(self, batch: dict[str, Any]) -> Iterator[pa.Table]:
        for share in batch["share"]:
            unread = isinstance(share, ds.Dataset)
            rows = read_rows(share, what=self._request.what) if unread else ray.get(share)
            # No rows give one empty block, which carries the schema.
            for start in range(0, max(rows.num_rows, 1), JOIN_ROWS):
                yield self._joined(rows.slice(start, JOIN_ROWS))

    def _joined(self, rows: pa.Table) -> pa.Table:
        request = self._request
        return request.join(
            Entities(request.what, rows, time_column=request.time_column),
            self._views,
            on_demand=request.on_demand,
            full_feature_names=request.full_feature_names,
            feature_refs=request.feature_refs,
        )


def _distinct(views: Sequence[JoinedView]) -> list[SharedSource]:
    """The sources of the views, each once, in the order in which the views name them."""
    return list(dict.fromkeys(view.shared for view in views))


def _index_all(views: Sequence[JoinedView]) -> list["ray.ObjectRef[ReadSource]"]:
    """Each source of the views, read and indexed by a task; what is lost with a node is made again by Ray.

    Raises AsOfError where a source cannot be read.
    """
    task = ray.remote(num_returns=2)(_index)
    refs = [task.remote(source) for source in _distinct(views)]
    try:
        # Only the row counts come here: the driver never holds a source.
        ray.get([rows for rows, _ in refs])
    except RayTaskError as error:
        if isinstance(error.cause, AsOfError):
            raise error.cause from None
        raise
    return [source for _, source in refs]


def _index(source: SharedSource) -> tuple[int, ReadSource]:
    return max(len(index.packed) for index in source.read.indexes.values()), source.read


def _shares(entities: Entities) -> "Iterator[ray.ObjectRef[pa.Table] | ds.Dataset]":
    """The rows in shares of about READ_ROWS: the files to read, or the positions of rows in memory."""
    if entities.dataset is not None and entities.num_rows:
        yield from _unread(entities.dataset)
        return
    for start in range(0, max(entities.num_rows, 1), READ_ROWS):
        yield ray.put(entities.table.slice(start, READ_ROWS))


def _unread(dataset: ds.Dataset) -> Iterator[ds.Dataset]:
    """The dataset in shares of whole row groups, each of about READ_ROWS rows."""
    waiting: list[ds.Fragment] = []
    rows = 0
    for file in dataset.get_fragments():
        for fragment in file.split_by_row_group():
            waiting.append(fragment)
            rows += sum(group.num_rows for group in fragment.row_groups)
            if rows >= READ_ROWS:
                yield _of_fragments(waiting, dataset)
                waiting, rows = [], 0
    if waiting:
        yield _of_fragments(waiting, dataset)


def _of_fragments(fragments: list[ds.Fragment], dataset: ds.Dataset) -> ds.Dataset:
    return ds.FileSystemDataset(
        fragments, schema=dataset.schema, format=dataset.format, filesystem=dataset.filesystem
    )
