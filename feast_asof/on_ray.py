"""The join on a Ray cluster: entity rows as Ray blocks, each source's index shared by a node's actors.

Ray Data moves the blocks, keeps the pool of actors, and repeats what a lost node had done. Imported only by
`AsOfRetrievalJob.to_ray_dataset`.
"""

from collections.abc import Iterator, Sequence
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
from feast_asof.retrieval_job import AsOfRetrievalJob
from feast_asof.views import IndexedSource, JoinedView

# Rows of a block, and rows that an actor joins at a time: what is in memory at once, per core.
READ_ROWS = 262_144
JOIN_ROWS = 65_536
# Of a core: a node of one core has room for both, or neither would ever wait for the other to end.
JOIN_CPUS, READ_CPUS = 0.75, 0.25


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


def joined_dataset(
    entities: Entities,
    views: Sequence[JoinedView],
    *,
    on_demand: Sequence[OnDemandFeatureView],
    full_feature_names: bool,
    feature_refs: Sequence[str] | None,
) -> ray.data.Dataset:
    """The join as a lazy dataset; returns when every source is indexed. See AsOfRetrievalJob.to_ray_dataset.

    A source's rows and its index are one object: a node's object store has to have room for all of them.
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
    )
    cores = max(1, int(ray.cluster_resources().get("CPU", 1)))
    joined = _blocks(entities).map_batches(
        _Joiner,
        fn_constructor_args=(request, _index_all(unread)),
        batch_format="pyarrow",
        batch_size=JOIN_ROWS,
        zero_copy_batch=True,
        num_cpus=JOIN_CPUS,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=cores, initial_size=cores),
    )
    # What follows, a write above all, is to go where the joined rows lie; by default Ray would spread it.
    joined.context.scheduling_strategy = "DEFAULT"
    return joined


class _Joiner:
    """An actor that joins blocks; the sources' arrays lie in its node's object store, not in it."""

    def __init__(self, request: _Request, sources: Sequence["ray.ObjectRef[IndexedSource]"]) -> None:
        indexed = ray.get(list(sources))
        self._request = request
        self._views = [
            replace(view, known=source) for view, source in zip(request.views, indexed, strict=True)
        ]

    def __call__(self, block: pa.Table) -> Iterator[pa.Table]:
        request = self._request
        # Ray hands blocks on without their schema's metadata, and nulls-only columns as null.
        rows = block.select(request.schema.names).cast(request.schema)
        job = AsOfRetrievalJob(
            None,
            Entities(request.what, rows, time_column=request.time_column),
            self._views,
            on_demand=request.on_demand,
            full_feature_names=request.full_feature_names,
            feature_refs=request.feature_refs,
        )
        yield job.to_arrow()


def _index_all(views: Sequence[JoinedView]) -> list["ray.ObjectRef[IndexedSource]"]:
    """Each view's source, read and indexed by a task; what is lost with a node is made again by Ray.

    Raises AsOfError where a source cannot be read.
    """
    task = ray.remote(num_returns=2)(_index)
    refs = [task.remote(view) for view in views]
    try:
        # Only the row counts come here: the driver never holds a source.
        ray.get([rows for rows, _ in refs])
    except RayTaskError as error:
        if isinstance(error.cause, AsOfError):
            raise error.cause from None
        raise
    return [source for _, source in refs]


def _index(view: JoinedView) -> tuple[int, IndexedSource]:
    return len(view.indexed.index.packed), view.indexed


def _blocks(entities: Entities) -> ray.data.Dataset:
    if entities.dataset is None:
        rows = range(0, entities.num_rows, READ_ROWS)
        return ray.data.from_arrow([entities.table.slice(start, READ_ROWS) for start in rows])
    shares = [{"share": share} for share in _shares(entities.dataset)]
    return ray.data.from_items(shares, override_num_blocks=len(shares)).map_batches(
        _read,
        fn_kwargs={"what": entities.what},
        batch_size=1,
        num_cpus=READ_CPUS,
        scheduling_strategy="SPREAD",
    )


def _shares(dataset: ds.Dataset) -> Iterator[ds.Dataset]:
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


def _read(batch: dict[str, Any], what: str) -> Iterator[pa.Table]:
    for share in batch["share"]:
        yield read_rows(share, what=what)
