"""Scoring on a Ray cluster: actors score parts of the users, loaders add the parts to one unpublished run.

Each part is a parquet file on shared storage, named by its users and kept until the run is published:
whatever dies, the next run with the same inputs goes on from the parts that are there. Ray Data places the
work, and repeats what a lost node had; every piece of it may be done twice without harm.
"""

import io
import json
from collections import Counter
from dataclasses import dataclass, fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
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
from nightreel.core.settings import Settings
from nightreel.core.storage import Folder
from pipelines.model_rows.pair_table import PairTable
from pipelines.model_rows.sides import Side, Sides
from pipelines.rankers import HybridRanker
from pipelines.rankers.pair_ranker import PairRanker
from scoring.database.audits import finite_scores
from scoring.database.connection import POSTGRESQL, database_url, engine, plainly
from scoring.database.loading import insert_lists
from scoring.database.runs import require_unpublished
from scoring.database.tables import recommendation
from scoring.lists.candidates import Candidates
from scoring.lists.retrieval import Retrieval
from scoring.lists.rows import Lists
from scoring.lists.score import score_with

# Users of a part: enough parts for many cores, few enough that each is worth a file and a transaction.
_PART_USERS, _PARTS = 1_024, 64
# Of a core: a node of one core has room for both.
_SCORE_CPUS, _LOAD_CPUS = 0.75, 0.25


@dataclass(frozen=True)
class _Users:
    """What scoring knows of some users, all arrays one row each: of Candidates and of Sides."""

    user_id: np.ndarray
    has_history: np.ndarray
    seen: np.ndarray
    values: np.ndarray
    factors: np.ndarray
    pairs: tuple[PairTable, ...]

    @classmethod
    def of(cls, candidates: Candidates, sides: Sides, rows: slice) -> "_Users":
        return cls(
            candidates.user_id[rows],
            candidates.has_history[rows],
            candidates.seen[rows],
            sides.users.values[rows],
            sides.user_factors[rows],
            tuple(table.of_users(rows) for table in sides.pairs),
        )

    def side(self, of: Sides) -> Side:
        return replace(of.users, values=self.values)

    def of_candidates(self, candidates: Candidates) -> Candidates:
        """The same videos for these users."""
        return replace(candidates, user_id=self.user_id, has_history=self.has_history, seen=self.seen)


@dataclass(frozen=True)
class _Common:
    """What every actor has once. candidates, sides: without users. model: the version's files by name.

    retrieval: the sources, their index included.
    """

    candidates: Candidates
    sides: Sides
    model: dict[str, bytes]
    retrieval: Retrieval | None
    settings: Settings
    parts: Folder


class ListsOnRay:
    """The lists of all users, to be scored on the cluster.

    model_folder: of the model version. inputs: digest of all that the lists depend on; parts of the same
    digest are taken as they are.
    """

    def __init__(
        self, candidates: Candidates, sides: Sides, model_folder: Path, settings: Settings, inputs: str
    ) -> None:
        shared = Folder(settings.shared_dir or str(settings.paths.shared))
        nobody = _Users.of(candidates, sides, slice(0, 0))
        self._common = _Common(
            nobody.of_candidates(candidates),
            replace(sides, users=nobody.side(sides), user_factors=nobody.factors, pairs=nobody.pairs),
            {file.name: file.read_bytes() for file in sorted(model_folder.iterdir()) if file.is_file()},
            Retrieval.of(candidates, sides, settings),
            settings,
            shared.below(f"lists-{inputs}"),
        )
        self._candidates = candidates
        self._sides = sides

    def write(self, connection: Connection, run_id: int) -> Counter[str]:
        """Score every user and add the lists to the run; returns the rows by their source.

        connection: of the only writer; on SQLite the rows go through it, as that has one writer, on
        PostgreSQL `loaders` actors add them in transactions of their own. Raises AuditError where a score is
        not finite, NightreelError where the cluster or the database fails.
        """
        users = len(self._candidates.user_id)
        size = max(1, min(_PART_USERS, -(-users // _PARTS)))
        slices = [slice(start, min(start + size, users)) for start in range(0, users, size)]
        counts: Counter[str] = Counter()
        settings = self._common.settings
        with connected(settings), progress("score", total=users) as advance:
            # Held here until the end: what an actor on another node has lost comes from these again.
            common = ray.put(self._common)
            of_parts = [ray.put(_Users.of(self._candidates, self._sides, part)) for part in slices]
            actors = min(cores(), len(slices))
            parts = [{"part": number, "name": _name(part)} for number, part in enumerate(slices)]
            scored = ray.data.from_items(parts, override_num_blocks=len(parts)).map_batches(
                _Scorer,
                fn_constructor_args=([common], of_parts),
                batch_size=1,
                num_cpus=_SCORE_CPUS,
                compute=ray.data.ActorPoolStrategy(min_size=1, max_size=actors, initial_size=actors),
            )
            ids = ListIds.of(settings.paths)
            on_server = connection.dialect.name == POSTGRESQL
            if on_server:
                loaders = min(settings.loaders, actors)
                scored = scored.map_batches(
                    _Loader,
                    fn_constructor_args=(run_id, settings, self._common.parts, ids),
                    batch_size=1,
                    num_cpus=_LOAD_CPUS,
                    compute=ray.data.ActorPoolStrategy(min_size=1, max_size=loaders, initial_size=loaders),
                )
            for part in scored.iter_rows():
                if not on_server:
                    lists = _read(self._common.parts, part["name"])
                    with plainly(connection.engine.url), connection.begin():
                        insert_lists(connection, run_id, lists, ids)
                counts.update(json.loads(part["counts"]))
                advance(part["users"])
        return counts

    def forget(self) -> None:
        """Remove the parts from the shared storage."""
        self._common.parts.remove_all()


class _Scorer:
    """An actor that scores parts, one at a time; the model is loaded, and asked of the videos, once."""

    def __init__(self, common: list["ray.ObjectRef[_Common]"], of_parts: list["ray.ObjectRef[Any]"]) -> None:
        self._common = ray.get(common[0])
        self._of_parts = of_parts
        with TemporaryDirectory(prefix="nightreel-model-") as folder:
            for name, content in self._common.model.items():
                (Path(folder) / name).write_bytes(content)
            ranker = HybridRanker.load(Path(folder), threads=1)
        self._ranker = PairRanker.of(ranker, self._common.sides)
        # There is an actor for each core.
        self._settings = self._common.settings.model_copy(update={"threads": 1})

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, list[Any]]:
        number, name = int(batch["part"][0]), str(batch["name"][0])
        try:
            lists = _read(self._common.parts, name)
        except FileNotFoundError:
            lists = self._score(number)
            _write(self._common.parts, name, lists)
        return {
            "name": [name],
            "users": [len(np.unique(lists.user_id))],
            "counts": [json.dumps(Counter(lists.source.tolist()))],
        }

    def _score(self, number: int) -> Lists:
        users: _Users = ray.get(self._of_parts[number])
        candidates = users.of_candidates(self._common.candidates)
        ranker = self._ranker.with_users(users.side(self._common.sides), users.factors, users.pairs)
        lists = Lists.concatenate(score_with(candidates, ranker, self._common.retrieval, self._settings))
        finite_scores(lists)
        return lists


class _Loader:
    """An actor that adds parts to the run; done again, a part stands there once all the same."""

    def __init__(self, run_id: int, settings: Settings, parts: Folder, ids: ListIds) -> None:
        self._run_id, self._ids = run_id, ids
        self._parts = parts
        self._url = database_url(settings)
        self._engine = engine(settings)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        lists = _read(self._parts, str(batch["name"][0]))
        if not len(lists):
            return batch
        user = recommendation.c[columns.USER_ID]
        of_part = user.between(int(lists.user_id[0]), int(lists.user_id[-1]))
        if self._ids.user.is_text:
            of_part = user.in_(self._ids.user.outward(np.unique(lists.user_id)))
        of_run = recommendation.c[columns.RUN_ID] == self._run_id
        with plainly(self._url), self._engine.begin() as connection:
            require_unpublished(connection, self._run_id)
            connection.execute(delete(recommendation).where(of_run, of_part))
            insert_lists(connection, self._run_id, lists, self._ids)
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
