"""The table `list_repeat`: videos listed to users who did not play them, a row per user; in blocks."""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import Connection, func, insert, select

from nightreel.core import columns
from nightreel.core.ascending import indices_in
from nightreel.core.ids import ListIds
from nightreel.core.settings import DataSettings
from nightreel.core.settings.needs import PublishNeeds
from pipelines.pair_bits import bits_at
from pipelines.repeat_discount import REPEAT_RANKS
from scoring.database.loading import read_lists
from scoring.database.tables import PUBLISHED, list_repeat, recommendation_run
from scoring.lists.candidates import Candidates
from scoring.lists.rules.repeats import Repeats, after_night

_ROWS_AT_A_TIME = 10_000
_USERS_AT_A_TIME = 512


def read_repeats(
    connection: Connection, ids: ListIds, as_of: datetime, settings: PublishNeeds
) -> Repeats | None:
    """Which videos were listed on earlier nights and not played; None if the settings do not use that.

    Taken from the last run shown on an earlier local day than `as_of`, while that run is kept.
    """
    if not settings.notes_repeats:
        return None
    run_id = _run_before(connection, as_of, settings.data)
    return repeats_of(_parts(connection, run_id), ids, run_id)


def repeats_of(parts: Iterable[list[tuple[Any, str]]], ids: ListIds, run_id: int | None = None) -> Repeats:
    """The repeats in rows of the table, in little more memory than the result takes.

    Args:
        parts: users and their videos with nights, in JSON, some users at a time.
        run_id: of the run that noted them.
    """
    known: dict[Any, int] = {}
    user_ids, lengths, videos, nights = (
        _Pieces(np.int64),
        _Pieces(np.int64),
        _Pieces(np.int32),
        _Pieces(np.uint8),
    )
    for rows in parts:
        for pieces, piece in zip((user_ids, lengths, videos, nights), _part(rows, ids, known), strict=True):
            pieces.append(piece)
    codes = ids.video.codes_of(known)
    # A video that the home does not know is in no list.
    code = np.array([codes.get(ids.video.key(one), -(2**62) - at) for one, at in known.items()], np.int64)
    order = np.argsort(code)
    rank = np.empty(len(order), dtype=np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    user_id, starts = user_ids.joined(), np.r_[0, np.cumsum(lengths.joined())]
    of_users, of_nights = videos.joined(rank), nights.joined()
    by_user = np.argsort(user_id, kind="stable")
    if (by_user != np.arange(len(by_user))).any():
        # Texts come in another order than their codes.
        of_users, of_nights = (_in_order(one, starts, by_user) for one in (of_users, of_nights))
        user_id, starts = user_id[by_user], np.r_[0, np.cumsum(np.diff(starts)[by_user])]
    return Repeats(user_id, starts, of_users, of_nights, code[order], run_id)


class _Pieces:
    """An array that comes in pieces, and is joined while they are released."""

    def __init__(self, kind: type[np.generic]) -> None:
        self._kind = kind
        self._pieces: list[np.ndarray] = []

    def append(self, piece: np.ndarray) -> None:
        self._pieces.append(piece)

    def joined(self, names: np.ndarray | None = None) -> np.ndarray:
        """All pieces as one; the pieces are released.

        Args:
            names: the value that each number stands for, if not itself.
        """
        whole = np.empty(sum(map(len, self._pieces)), dtype=self._kind)
        end = len(whole)
        while self._pieces:
            piece = self._pieces.pop()
            whole[end - len(piece) : end] = piece if names is None else names[piece]
            end -= len(piece)
        return whole


def _in_order(entries: np.ndarray, starts: np.ndarray, by_user: np.ndarray) -> np.ndarray:
    """The entries of all users, user by user in this order; some users at a time."""
    ordered, end = np.empty_like(entries), 0
    for first in range(0, len(by_user), _ROWS_AT_A_TIME):
        users = by_user[first : first + _ROWS_AT_A_TIME]
        lengths = starts[users + 1] - starts[users]
        # Each entry's position: its user's start plus its index among the user's entries.
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        ordered[end : end + len(within)] = entries[np.repeat(starts[users], lengths) + within]
        end += len(within)
    return ordered


def _part(rows: list[tuple[Any, str]], ids: ListIds, known: dict[Any, int]) -> tuple[np.ndarray, ...]:
    """Codes of users, how many videos each has, these as numbers by `known`, and their nights."""
    codes = ids.user.codes_of(user for user, _ in rows)
    users, lengths, videos, nights = [], [], [], []
    for user, listed in rows:
        code = codes.get(ids.user.key(user))
        if code is not None:
            pairs = json.loads(listed)
            users.append(code)
            lengths.append(len(pairs))
            videos += [known.setdefault(video, len(known)) for video, _ in pairs]
            nights += [n for _, n in pairs]
    return (
        np.array(users, dtype=np.int64),
        np.array(lengths, dtype=np.int64),
        np.array(videos, dtype=np.int32),
        np.array(nights, dtype=np.uint8),
    )


def _run_before(connection: Connection, as_of: datetime, settings: DataSettings) -> int | None:
    run = recommendation_run.c
    shown = connection.execute(
        select(run.run_id, run.as_of)
        .where(run.status == PUBLISHED, ~run.replay)
        .order_by(run.as_of, run.run_id)
    ).all()
    day = as_of.astimezone(settings.zone).date()
    earlier = [one.run_id for one in shown if one.as_of.astimezone(settings.zone).date() < day]
    return earlier[-1] if earlier else None


def _parts(connection: Connection, run_id: int | None) -> Iterator[list[tuple[Any, str]]]:
    query = (
        select(list_repeat.c[columns.USER_ID], list_repeat.c.listed)
        .where(list_repeat.c[columns.RUN_ID] == run_id)
        .order_by(list_repeat.c[columns.USER_ID])
        .execution_options(yield_per=_ROWS_AT_A_TIME)
    )
    for part in connection.execute(query).partitions():
        yield [(user, listed) for user, listed in part]


def write_repeats(connection: Connection, run_id: int, candidates: Candidates, ids: ListIds) -> int:
    """Record what a run's lists show, in the transaction that shows them; returns the number of rows.

    Videos that the user has played are dropped; videos listed before but not in this run are kept.
    """
    before = candidates.repeats or Repeats.of((), np.zeros(0, np.int64))
    for start in range(0, len(candidates.user_id), _USERS_AT_A_TIME):
        users = candidates.user_id[start : start + _USERS_AT_A_TIME]
        lists = read_lists(connection, run_id, int(users[0]), int(users[-1]), ids)
        lists = lists.rows(lists.rank <= REPEAT_RANKS)
        rows = []
        for at, user in enumerate(users.tolist(), start=start):
            own = slice(*np.searchsorted(lists.user_id, [user, user + 1]).tolist())
            noted = before.of_user(user)
            played = _played(candidates, at, np.union1d(noted[0], lists.video_id[own]))
            videos, nights = after_night(noted, lists.video_id[own], played)
            if len(videos):
                outward = ids.video.outward(videos)
                rows.append((user, json.dumps(list(zip(outward, nights.tolist(), strict=True)))))
        if rows:
            names = ids.user.outward([user for user, _ in rows])
            connection.execute(
                insert(list_repeat),
                [
                    {columns.RUN_ID: run_id, columns.USER_ID: name, "listed": listed}
                    for name, (_, listed) in zip(names, rows, strict=True)
                ],
            )
    of_run = list_repeat.c[columns.RUN_ID] == run_id
    return int(connection.execute(select(func.count()).select_from(list_repeat).where(of_run)).scalar_one())


def _played(candidates: Candidates, user: int, videos: np.ndarray) -> np.ndarray:
    """Those of these videos that a user, a position in the candidates, has played."""
    played = candidates.seen if candidates.played is None else candidates.played
    at, known = indices_in(candidates.video_id, videos)
    found: np.ndarray = videos[known & (bits_at(played.of(user), at) == 1)]
    return found
