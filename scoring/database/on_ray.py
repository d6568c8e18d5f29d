"""Scoring on a Ray cluster: actors score parts of the users, loaders add the parts to one unpublished run.

Each part is a parquet file on shared storage, named by its users and kept until the run is published. After
any crash, the next run with the same inputs continues from the parts that exist. Ray Data schedules the parts
and repeats those that a lost node had; every part may safely be made twice.
"""

import io
import json
from collections import Counter
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
import ray.data
from sqlalchemy import Connection, delete

from nightreel.core import columns
from nightreel.core.cluster import connected, cores
from nightreel.core.ids import ListIds
from nightreel.core.logs import progress
from nightreel.core.settings.needs import DatabaseNeeds, RankerNeeds
from nightreel.core.storage import Folder
from scoring.database.audits import finite_scores
from scoring.database.connection import sql_engine
from scoring.database.failures import translate_errors
from scoring.database.loading import ready_lists
from scoring.database.runs import require_unpublished
from scoring.database.tables import recommendation
from scoring.database.url import POSTGRESQL, database_url
from scoring.lists.own_sources import refuse_on_ray
from scoring.lists.parts import Common, Work
from scoring.lists.rows import Lists

# Users of a part: enough parts for many cores, few enough that files and transactions cost little.
_PART_USERS, _PARTS = 1_024, 64
# Connections that load into PostgreSQL at the same time: more hardly load faster.
_LOADERS = 4
# Shares of a core: a node with one core has room for both.
_SCORE_CPUS, _LOAD_CPUS = 0.75, 0.25


class ListsOnRay:
    """The lists of all users, to be scored on the cluster.

    Attributes:
        inputs: digest of everything that the lists depend on; existing parts with the same digest are reused.
        arm: name of the experiment's arm that these users are in.
    """

    def __init__(self, work: Work, settings: RankerNeeds, inputs: str, arm: str = "") -> None:
        refuse_on_ray(settings.retrieval, settings.ranker)
        shared = Folder(settings.cluster.shared_dir or str(settings.paths.shared))
        self._work = work
        self._settings = settings
        self._parts = shared.below(f"lists-{inputs}{'-' if arm else ''}{arm}")
        self._arm = arm

    def write(self, connection: Connection, run_id: int) -> Counter[str]:
        """Score every user and add the lists to the run.

        Args:
            connection: of the exclusive writer. On SQLite the rows go through it, as only one connection can
                write; on PostgreSQL `loaders` actors add them in transactions of their own.

        Returns:
            Number of rows by source.

        Raises:
            AuditError: a score is not finite.
            NightreelError: the cluster or the database fails.
        """
        users = self._work.users
        size = max(1, min(_PART_USERS, -(-users // _PARTS)))
        slices = [slice(start, min(start + size, users)) for start in range(0, users, size)]
        counts: Counter[str] = Counter()
        settings = self._settings
        with connected(settings.cluster), progress("score", total=users) as advance:
            # Held here until the end: what an actor on another node has lost comes from these again.
            common = ray.put(self._work.common)
            of_parts = [ray.put(self._work.part(part)) for part in slices]
            actors = min(cores(), len(slices))
            parts = [{"part": number, "name": _name(part)} for number, part in enumerate(slices)]
            scored = ray.data.from_items(parts, override_num_blocks=len(parts)).map_batches(
                _Scorer,
                fn_constructor_args=([common], of_parts, self._parts, self._arm),
                batch_size=1,
                num_cpus=_SCORE_CPUS,
                compute=ray.data.ActorPoolStrategy(min_size=1, max_size=actors, initial_size=actors),
            )
            ids = ListIds.of(settings.paths)
            on_server = connection.dialect.name == POSTGRESQL
            if on_server:
                loaders = min(_LOADERS, actors)
                scored = scored.map_batches(
                    _Loader,
                    fn_constructor_args=(run_id, settings, self._parts, ids),
                    batch_size=1,
                    num_cpus=_LOAD_CPUS,
                    compute=ray.data.ActorPoolStrategy(min_size=1, max_size=loaders, initial_size=loaders),
                )
            for part in scored.iter_rows():
                if not on_server:
                    lists = _read(self._parts, part["name"])
                    with translate_errors(connection.engine.url):
                        ready_lists(connection.engine.url, run_id, [lists], ids).write(connection)
                counts.update(json.loads(part["counts"]))
                advance(part["users"])
        return counts

    def forget(self) -> None:
        """Remove the parts from the shared storage."""
        self._parts.remove_all()


class _Scorer:
    """An actor that scores parts, one at a time, and opens its inputs once; there is one for each core."""

    def __init__(
        self,
        common: list["ray.ObjectRef[Common]"],
        of_parts: list["ray.ObjectRef[Any]"],
        parts: Folder,
        arm: str = "",
    ) -> None:
        self._lists = ray.get(common[0]).opened()
        self._of_parts = of_parts
        self._parts = parts
        self._arm = arm

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, list[Any]]:
        number, name = int(batch["part"][0]), str(batch["name"][0])
        try:
            lists = _read(self._parts, name)
        except FileNotFoundError:
            lists = self._score(number)
            _write(self._parts, name, lists)
        return {
            "name": [name],
            "users": [len(np.unique(lists.user_id))],
            "counts": [json.dumps(Counter(lists.source.tolist()))],
        }

    def _score(self, number: int) -> Lists:
        lists: Lists = self._lists(ray.get(self._of_parts[number]))
        finite_scores(lists)
        return replace(lists, arm=np.full(len(lists), self._arm))


class _Loader:
    """An actor that adds parts to the run; a part that is added again is there only once."""

    def __init__(self, run_id: int, settings: DatabaseNeeds, parts: Folder, ids: ListIds) -> None:
        self._run_id, self._ids = run_id, ids
        self._parts = parts
        self._url = database_url(settings)
        self._engine = sql_engine(settings)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        lists = _read(self._parts, str(batch["name"][0]))
        if not len(lists):
            return batch
        user = recommendation.c[columns.USER_ID]
        of_part = user.between(int(lists.user_id[0]), int(lists.user_id[-1]))
        if self._ids.user.is_text:
            of_part = user.in_(self._ids.user.outward(np.unique(lists.user_id)))
        of_run = recommendation.c[columns.RUN_ID] == self._run_id
        with translate_errors(self._url), self._engine.connect() as connection:

            def first() -> None:
                require_unpublished(connection, self._run_id)
                connection.execute(delete(recommendation).where(of_run, of_part))

            ready_lists(connection.engine.url, self._run_id, [lists], self._ids).write(connection, first)
        return batch


def _name(users: slice) -> str:
    return f"users-{users.start:010}-{users.stop:010}.parquet"


def _write(parts: Folder, name: str, lists: Lists) -> None:
    # NaN stays NaN: parquet keeps each float's bits.
    table = pa.table({field.name: pa.array(getattr(lists, field.name)) for field in fields(lists)})
    content = io.BytesIO()
    pq.write_table(table, content, compression="zstd")
    parts.write(name, content.getvalue())


def _read(parts: Folder, name: str) -> Lists:
    table = pq.read_table(io.BytesIO(parts.read(name)))
    return Lists(*(table[field.name].to_numpy() for field in fields(Lists)))
