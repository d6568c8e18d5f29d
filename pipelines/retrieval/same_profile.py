"""Videos that users with the same attributes play: those of the user file, such as `onehot_feat0`.

A ridge regression from attributes to the plays of users, which fade with their age. Of a user with few plays
it knows more than sources that go by plays; docs/decisions/candidate-sources.md has what it adds.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve
from scipy.sparse import csr_matrix

from nightreel.core.ascending import indices_in
from nightreel.core.settings.needs import SourceNeeds
from pipelines.retrieval.histories import Histories
from pipelines.retrieval.past import Past
from pipelines.retrieval.profiles import UNKNOWN, Profiles
from pipelines.retrieval.sources import PLAYS_MAX, Arrays, Catalogue, Fitted

_HALF_LIFE_DAYS = 2.0
_REGULARIZATION = 200.0  # in users
_USERS_MIN = 50  # users with a value: fewer do not tell what others will play
_VALUES_MAX = 1_000  # the most frequent values; an attribute with more is nearly an id
_USERS, _VALUES, _WEIGHTS, _PROFILES = "users", "values", "weights", "profiles"


@dataclass(frozen=True)
class SameProfile:
    """What users with the same attributes had played lately."""

    def fit(self, past: Past, settings: SourceNeeds) -> Arrays:
        """Fit `weights`, float32 [1 + values, videos]; the first row is everyone's.

        `users`, int64 ascending, are those of whom an attribute is known, `values`, int16 [users,
        attributes], the rows of the weights for each one's attributes, 0 where an attribute has no row;
        `profiles`, the digest of all users' attributes.
        """
        some = past.of_some_users(PLAYS_MAX, settings.seed)
        profiles = Profiles.known_at(settings.paths, past.cutoff)
        players = np.isin(profiles.user_id, past.user_id[np.unique(some.user)])
        rows = _rows_of_values(profiles.codes, players)
        faded = 0.5 ** (some.age_days(np.ones(len(some), dtype=bool)) / _HALF_LIFE_DAYS)
        plays = csr_matrix((faded, (some.user, some.video)), (len(past.user_id), len(past.video_id)))
        weights = _weights(_of_users(profiles.user_id, rows, past.user_id), plays)
        known = rows.any(axis=1)
        return {
            _USERS: profiles.user_id[known],
            _VALUES: rows[known],
            _WEIGHTS: weights,
            _PROFILES: np.array(profiles.digest()),
        }

    def is_current(self, arrays: Arrays, past: Past, settings: SourceNeeds) -> bool:
        """Whether the attributes of users known at the cutoff are still those of the fit."""
        digest = Profiles.known_at(settings.paths, past.cutoff).digest()
        return _PROFILES in arrays and str(arrays[_PROFILES]) == digest

    def over(self, arrays: Arrays, catalogue: Catalogue) -> Fitted:
        """The weights, in the columns of the catalogue."""
        return _FittedProfiles(arrays[_USERS], arrays[_VALUES], catalogue.spread(arrays[_WEIGHTS]))


def _rows_of_values(codes: np.ndarray, players: np.ndarray) -> np.ndarray:
    """The row of each user's attributes among the weights: int16 [users, attributes that have any].

    Args:
        players: bool [users], whose plays are learnt from.
    """
    counts = [np.bincount(column[column != UNKNOWN]) for column in codes[players].T]
    # A value that everyone has distinguishes nobody.
    frequent = [(count >= _USERS_MIN) & (count < players.sum()) for count in counts]
    every = np.sort(np.concatenate([count[some] for count, some in zip(counts, frequent, strict=True)]))
    least = every[-_VALUES_MAX] if len(every) > _VALUES_MAX else 0
    rows = np.zeros(codes.shape, dtype=np.int16)
    following = 1
    for attribute, (count, some) in enumerate(zip(counts, frequent, strict=True)):
        kept = np.flatnonzero(some & (count > least))
        row_of = np.zeros(int(codes[:, attribute].max(initial=0)) + 2, dtype=np.int16)
        row_of[kept] = np.arange(following, following + len(kept))
        rows[:, attribute] = row_of[codes[:, attribute]]  # UNKNOWN is the last, which has no row
        following += len(kept)
    return rows[:, rows.any(axis=0)]


def _of_users(known_id: np.ndarray, values: np.ndarray, user_id: np.ndarray) -> np.ndarray:
    """The rows of `values` for these users; 0 for users of whom nothing is known."""
    found = np.zeros((len(user_id), values.shape[1]), dtype=values.dtype)
    position, known = indices_in(known_id, user_id)
    found[known] = values[position[known]]
    return found


def _weights(rows: np.ndarray, plays: csr_matrix) -> np.ndarray:
    users = np.flatnonzero(np.diff(plays.indptr))
    given = _given(rows[users], int(rows.max(initial=0)))
    gram = (given.T @ given).toarray()
    gram[np.diag_indices(len(gram))] += np.append(1.0, np.full(len(gram) - 1, _REGULARIZATION))
    found: np.ndarray = solve(gram, (given.T @ plays[users]).toarray(), assume_a="pos")
    return found.astype(np.float32)


def _given(rows: np.ndarray, values: int) -> csr_matrix:
    """1 for each user and applicable row of the weights, everyone's included: float32 [users, 1 + values]."""
    user, attribute = rows.nonzero()
    every = np.arange(len(rows))
    where = np.append(every, user), np.append(np.zeros_like(every), rows[user, attribute])
    return csr_matrix((np.ones(len(where[0]), dtype=np.float32), where), (len(rows), 1 + values))


@dataclass(frozen=True)
class _FittedProfiles:
    user_id: np.ndarray
    values: np.ndarray
    weights: np.ndarray

    def scores(self, histories: Histories) -> np.ndarray:
        """The sum of the weights of the user's attributes; for an unknown user only everyone's."""
        rows = _of_users(self.user_id, self.values, histories.user_id)
        found: np.ndarray = _given(rows, len(self.weights) - 1) @ self.weights
        return found

    def knows(self, user_id: np.ndarray) -> np.ndarray:
        """Whether an attribute of these users is known: bool [users]."""
        found: np.ndarray = np.isin(user_id, self.user_id)
        return found
