"""ALS by shards of users, without the cluster: what several shards say of the videos is what one says of all.

That the fits on a cluster are those of one node, the slow tests ask: test_factors_on_ray.
"""

from datetime import timedelta

import numpy as np
import pytest

from nightreel.core.play_days import files_by_day
from nightreel.core.settings import Settings
from pipelines.collaborative.least_squares import Side
from pipelines.collaborative.shard import Iteration, Shard, ShardInputs, UserShare, solved_videos
from pipelines.local_days import ALWAYS_KNOWN
from tests.fixtures.small_log import FIRST_DAY, make_log, midnight, settings_for

_FACTORS, _FIT = 6, 0
_CUTOFFS = tuple(midnight(FIRST_DAY + timedelta(days=days)) for days in (3, 5))


@pytest.fixture(name="settings", scope="module")
def written_log(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = settings_for(tmp_path_factory.mktemp("shards"))
    make_log(6, users=40, videos=60, plays=2_400).write(settings)
    return settings


def _shards(settings: Settings, borders: tuple[float, ...]) -> list[Shard]:
    days = list(files_by_day(settings.paths.interactions).values())
    seen_until = (ALWAYS_KNOWN,) * len(_CUTOFFS)
    shares = [UserShare(number, borders) for number in range(len(borders) + 1)]
    return [Shard(ShardInputs(days, [], _CUTOFFS, seen_until, share, 5.0, threads=2)) for share in shares]


@pytest.mark.parametrize("borders", [(0.5,), (0.2, 0.21, 0.7)])
def test_sums_of_shards_are_those_of_one_for_all_users(
    settings: Settings, borders: tuple[float, ...]
) -> None:
    (whole,), shards = _shards(settings, ()), _shards(settings, borders)
    facts = whole.facts()
    known = int((facts.first_fit <= _FIT).sum())
    assert 0 < known < len(facts.video_id)
    side = Side.random(known, _FACTORS, np.random.default_rng(1))
    iteration = Iteration(0, _FIT, facts.video_id, side, float(facts.targets[_FIT] / facts.plays[_FIT]))
    for block in (range(known // 2), range(known // 2, known)):
        expected = solved_videos(_FACTORS, whole.sums(iteration, block))
        found = solved_videos(_FACTORS, *(shard.sums(iteration, block) for shard in shards))
        assert np.abs(expected).max() > 0.1
        assert np.abs(found - expected).max() < 1e-5
    ids, users = whole.users(iteration)
    of_shards = [shard.users(iteration) for shard in shards]
    every = np.concatenate([of_shard for of_shard, _ in of_shards])
    assert sorted(every.tolist()) == sorted(ids.tolist())
    # A user is solved in a shard as in the log of all: the same plays in the same order.
    order = np.argsort(every)
    factors = np.concatenate([side.factors for _, side in of_shards])[order]
    assert np.array_equal(factors, users.factors[np.argsort(ids)])


def test_a_shard_that_is_made_again_goes_on_with_any_iteration(settings: Settings) -> None:
    facts = _shards(settings, ())[0].facts()
    known = int((facts.first_fit <= _FIT).sum())
    first, later = (
        Iteration(
            number, _FIT, facts.video_id, Side.random(known, _FACTORS, np.random.default_rng(number)), 0.5
        )
        for number in range(2)
    )
    before, again = _shards(settings, (0.5,))[0], _shards(settings, (0.5,))[0]
    before.sums(first, range(known))
    assert np.array_equal(before.sums(later, range(known)), again.sums(later, range(known)))
    assert not np.array_equal(before.sums(first, range(known)), again.sums(later, range(known)))
