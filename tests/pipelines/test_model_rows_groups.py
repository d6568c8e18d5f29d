"""What users had with groups of videos, and with a video itself, against plain loops over their plays."""

from datetime import timedelta

import numpy as np
import pytest

from pipelines.model_rows.groups import codes_of, group_features, repeat_features
from pipelines.retrieval.histories import PlaysByUser
from pipelines.retrieval.past import Past
from tests.fixtures.small_log import FIRST_DAY, make_log, midnight, settings_for

LOG = make_log(3, users=6, videos=12, plays=300).interactions
INSTANT = midnight(FIRST_DAY + timedelta(days=5)) + timedelta(hours=7)
_DAY_US = 86_400_000_000


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Past:
    settings = settings_for(tmp_path_factory.mktemp("groups"))
    return Past.of(LOG, midnight(FIRST_DAY + timedelta(days=99)), settings.data)


def _asked(past: Past) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """The instant, a group of each video (unknown of some), and every pair: user and video."""
    ids = np.where(np.arange(len(past.video_id)) % 5 == 0, -1, np.arange(len(past.video_id)) % 3 + 40)
    user, video = np.divmod(np.arange(len(past.user_id) * len(past.video_id)), len(past.video_id))
    return round(INSTANT.timestamp() * 1_000_000), ids, user, video


def test_plays_likes_and_the_last_play_are_those_of_plays_strictly_before_the_instant(past: Past) -> None:
    at, ids, user, video = _asked(past)
    index = PlaysByUser(past)
    instants = np.full(len(past.user_id), at)
    videos = len(past.video_id)
    histories = index.histories(past.user_id, instants, np.arange(videos), videos)
    found = group_features("tag", codes_of(ids), histories, user, video)
    again = repeat_features(histories, user, video, videos)
    for row, (one, asked) in enumerate(zip(user.tolist(), video.tolist(), strict=True)):
        own = (past.user == one) & (past.at_us < at)
        same = own & (ids[past.video] == ids[asked]) & (ids[asked] >= 0)
        itself = own & (past.video == asked)
        usual = (past.liked[own].sum() + 3.0) / (own.sum() + 10.0)
        assert found["tag_plays"][row] == same.sum()
        assert found["tag_liked_share"][row] == (past.liked[same].sum() + 5.0 * usual) / (same.sum() + 5.0)
        assert found["tag_of_liked"][row] == past.liked[same].sum() / (past.liked[own].sum() + 1.0)
        assert again["video_played"][row] == itself.sum()
        for name, of, plays in (
            ("tag_days_since", found, same),
            ("days_since_video", again, itself),
        ):
            expected = (at - past.at_us[plays].max()) / _DAY_US if plays.any() else np.nan
            np.testing.assert_equal(of[name][row], expected)
