"""Users: the columns of user_features.csv, friends, and a hidden truth tied to some onehot codes."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from nightreel.core import columns
from synthetic import draws, exact
from synthetic.calendar import RHYTHMS
from synthetic.latent import DIMENSIONS, INTERESTS, UserTruth
from synthetic.sizes import KUAIREC_USERS, Sizes
from synthetic.videos import CATEGORIES, MISSING

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]

# KuaiRec's number of users with each code of each onehot column; a code is the index of the 1.
_CODE_COUNTS: dict[str, tuple[int, ...]] = {
    "onehot_feat0": (4361, 2815),
    "onehot_feat1": (3, 3082, 736, 949, 1096, 483, 825, 2),
    "onehot_feat4": (2055, 3257, 1195, 314, 78, 44, 20, 8, 1, 1, 1, 1),
    "onehot_feat5": (7160, 1, 1, 2, 1, 2, 5, 1, 2, 1),
    "onehot_feat6": (3120, 4040, 16),
    "onehot_feat9": (18, 1108, 582, 1352, 1138, 1250, 1728),
    "onehot_feat10": (812, 1, 3761, 1682, 920),
    "onehot_feat11": (6665, 38, 473),
    "onehot_feat12": (4978, 2121),
    "onehot_feat13": (6358, 743),
    "onehot_feat14": (6428, 673),
    "onehot_feat15": (6970, 132),
    "onehot_feat16": (6975, 127),
    "onehot_feat17": (6999, 103),
}
# Fine codes, each of which belongs to one coarse code: (fine column, its codes, coarse column, its codes).
_NESTED = (("onehot_feat3", 1076, "onehot_feat2", 30), ("onehot_feat8", 340, "onehot_feat7", 47))
_NULL_FEATURE_4 = 201
_NULL_FEATURES_12_ON = 74

# Which columns know something of taste, and how strongly (log watch time).
_GROUP_SCALE = {
    "onehot_feat0": 0.02,
    "onehot_feat1": 0.03,
    "onehot_feat6": 0.02,
    "onehot_feat9": 0.02,
    "onehot_feat7": 0.02,
    "onehot_feat3": 0.02,
}
_PERSONAL_CATEGORY_SCALE = 0.035
_FRIENDS_SHARE = 472 / KUAIREC_USERS

_ACTIVE_DEGREES = (("full_active", 6092), ("high_active", 938), ("UNKNOWN", 118), ("middle_active", 28))
_FOLLOW_RANGES = ((0, "0"), (10, "(0,10]"), (50, "(10,50]"), (100, "(50,100]"), (150, "(100,150]"),
                  (250, "(150,250]"), (500, "(250,500]"), (10**9, "500+"))  # fmt: skip
_FANS_RANGES = ((0, "0"), (9, "[1,10)"), (99, "[10,100)"), (999, "[100,1k)"), (4999, "[1k,5k)"),
                (9999, "[5k,1w)"), (10**9, "[1w,10w)"))  # fmt: skip
_FRIEND_RANGES = ((0, "0"), (4, "[1,5)"), (29, "[5,30)"), (59, "[30,60)"), (119, "[60,120)"),
                  (249, "[120,250)"), (10**9, "250+"))  # fmt: skip
_REGISTER_RANGES = ((30, "15-30"), (60, "31-60"), (90, "61-90"), (180, "91-180"), (365, "181-365"),
                    (730, "366-730"), (10**9, "730+"))  # fmt: skip


@dataclass(frozen=True)
class Users:
    """All users.

    Attributes:
        table: the columns of user_features.csv; user_id is the row's number.
        friends: user_id -> the user_ids of friends.
    """

    truth: UserTruth
    table: pl.DataFrame
    friends: dict[int, list[int]]
    activity: npt.NDArray[np.float64]  # uniform in 0..1, their quantile by number of plays


def make_users(sizes: Sizes) -> Users:
    """Draw all users."""
    random = sizes.stream("users")
    codes = _codes(random, sizes.users)
    activity = random.permutation(np.linspace(0, 1, sizes.users))
    friends = _friends(random, sizes.users)
    truth = _truth(sizes, codes, friends)
    return Users(truth, _table(random, codes, activity), friends, activity)


def _quota(random: np.random.Generator, counts: npt.NDArray[np.float64], users: int) -> I64:
    """Codes for all users, shuffled, each as often as its count says (every code once if there is room)."""
    of_all = float(exact.total(counts))
    target = counts * (users / of_all)
    if users >= of_all:
        target = np.maximum(target, 1)
    whole = np.floor(target).astype(np.int64)
    missing = users - int(whole.sum())
    order = np.argsort(whole - target, kind="stable")
    if missing >= 0:
        whole[order[:missing]] += 1
    codes = np.repeat(np.arange(len(counts)), whole)
    return random.permutation(codes)[:users].astype(np.int64)


def _codes(random: np.random.Generator, users: int) -> dict[str, I64]:
    codes = {
        name: _quota(random, np.array(counts, dtype=np.float64), users)
        for name, counts in _CODE_COUNTS.items()
    }
    for fine, fine_codes, coarse, coarse_codes in _NESTED:
        popularity = random.permutation(1 / (np.arange(fine_codes) + 12.0))
        counts = np.maximum(1.0, popularity / exact.total(popularity) * KUAIREC_USERS)
        counts *= KUAIREC_USERS / exact.total(counts)
        codes[fine] = _quota(random, counts, users)
        size = random.permutation(1 / (np.arange(coarse_codes) + 2.0))
        parent = _quota(random, size, fine_codes)
        parent[-1] = coarse_codes - 1
        codes[coarse] = parent[codes[fine]]
    return codes


def _friends(random: np.random.Generator, users: int) -> dict[int, list[int]]:
    """472 of KuaiRec's users have one to five friends each."""
    if users < 2:
        return {}
    chosen = np.sort(random.permutation(users)[: max(1, round(users * _FRIENDS_SHARE))])
    friends = {}
    for user in chosen.tolist():
        number = min(int(random.choice((1, 2, 3, 4, 5), p=(0.72, 0.18, 0.06, 0.03, 0.01))), users - 1)
        others = random.choice(users - 1, size=number, replace=False)
        friends[user] = (others + (others >= user)).tolist()
    return friends


def _truth(sizes: Sizes, codes: dict[str, I64], friends: dict[int, list[int]]) -> UserTruth:
    random = sizes.stream("user truth")
    users = sizes.users
    liking = draws.normal(random, _PERSONAL_CATEGORY_SCALE, (users, CATEGORIES))
    centre = np.zeros((users, INTERESTS, DIMENSIONS))
    for name, scale in _GROUP_SCALE.items():
        levels = int(codes[name].max()) + 1
        liking += draws.normal(random, scale, (levels, CATEGORIES))[codes[name]]
        centre += draws.normal(random, 0.3, (levels, INTERESTS, DIMENSIONS))[codes[name]]
    early = centre + draws.normal(random, 0.68, centre.shape)
    for user, others in friends.items():
        early[user] = 0.6 * early[user] + 0.4 * exact.total(early[others], axis=0) / len(others)
    late = early + draws.normal(random, 0.35, centre.shape)
    # A symmetric Dirichlet distribution of parameter 2: the sum of two exponentials is gamma of shape 2.
    shares = exact.total(draws.exponential(random, (users, INTERESTS, 2)))
    weights = shares * (INTERESTS / exact.total(shares))[:, None]
    return UserTruth(
        level=draws.normal(random, 0.13, users).astype(np.float32),
        looping=draws.normal(random, 1.25, users).astype(np.float32),
        early_interests=early.astype(np.float32),
        late_interests=late.astype(np.float32),
        interest_weights=weights.astype(np.float32),
        category_liking=liking.astype(np.float32),
        category_exposure=draws.normal(random, 0.5, (users, CATEGORIES)).astype(np.float32),
        chronotype=random.integers(0, RHYTHMS, users),
    )


def _table(
    random: np.random.Generator, codes: dict[str, I64], activity: npt.NDArray[np.float64]
) -> pl.DataFrame:
    users = len(activity)
    follow = np.minimum(2100, draws.lognormal(random, 3.6, 1.8, users)).astype(np.int64)
    fans = np.floor(draws.lognormal(random, 0.75, 1.45, users)).astype(np.int64)
    friend = np.floor(draws.lognormal(random, -0.35, 1.6, users)).astype(np.int64)
    days = np.clip(draws.lognormal(random, 5.35, 0.85, users), 8, 2245).astype(np.int64)
    degree = np.repeat([name for name, _ in _ACTIVE_DEGREES], _degree_counts(users))
    # The busiest users are the full_active ones, give or take.
    busiest = np.argsort(-activity + draws.normal(random, 0.13, users), kind="stable")
    data: dict[str, object] = {
        columns.USER_ID: np.arange(users),
        "user_active_degree": degree[np.argsort(busiest, kind="stable")],
        "is_lowactive_period": (random.random(users) < 3 / KUAIREC_USERS).astype(np.int64),
        "is_live_streamer": np.where(
            random.random(users) < 0.0005, MISSING, random.random(users) < 0.0065
        ).astype(np.int64),
        "is_video_author": (random.random(users) < 0.17).astype(np.int64),
    }
    for name, values, ranges in (
        ("follow_user_num", follow, _FOLLOW_RANGES),
        ("fans_user_num", fans, _FANS_RANGES),
        ("friend_user_num", friend, _FRIEND_RANGES),
        ("register_days", days, _REGISTER_RANGES),
    ):
        data[name] = values
        data[f"{name}_range"] = _range_names(values, ranges)
    table = pl.DataFrame(data | {name: codes[name] for name in columns.ONEHOT_FEATURES})
    return _with_nulls(random, table)


def _degree_counts(users: int) -> I64:
    shares = np.array([count for _, count in _ACTIVE_DEGREES]) / KUAIREC_USERS
    edges = np.rint(np.cumsum(shares) * users).astype(np.int64)
    edges[-1] = users
    return np.diff(edges, prepend=0)


def _range_names(values: I64, ranges: tuple[tuple[int, str], ...]) -> list[str]:
    edges = np.array([edge for edge, _ in ranges])
    return [ranges[position][1] for position in np.searchsorted(edges, values, side="left")]


def _with_nulls(random: np.random.Generator, table: pl.DataFrame) -> pl.DataFrame:
    """The codes that KuaiRec does not know, in the same proportion."""
    users = table.height
    without_4 = random.random(users) < _NULL_FEATURE_4 / KUAIREC_USERS
    without_rest = random.random(users) < _NULL_FEATURES_12_ON / KUAIREC_USERS
    return table.with_columns(
        pl.when(~pl.lit(pl.Series(without_4))).then("onehot_feat4"),
        *(pl.when(~pl.lit(pl.Series(without_rest))).then(name) for name in columns.ONEHOT_FEATURES[12:]),
    )
