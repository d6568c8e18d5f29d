"""Users' responses to lists: the plays of given pairs, drawn from the world's truth."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from synthetic import make_world, watching
from synthetic.latent import appeal, taste
from synthetic.matrices import LIKED_OVER, World, chances_of, rows_of
from synthetic.sizes import Sizes
from synthetic.users import make_users
from synthetic.videos import make_videos

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Feedback:
    """A world whose users can be asked about any video at any time of its days."""

    world: World

    @classmethod
    def of(cls, *, users: int, videos: int, interactions: int, days: int, seed: int) -> "Feedback":
        """The world that `synthesize` makes its files of with the same arguments."""
        sizes = Sizes.checked(
            users=users,
            videos=videos,
            interactions=interactions,
            days=days,
            seed=seed,
            small_users=None,
            small_videos=None,
        )
        return cls(make_world(sizes, make_users(sizes), make_videos(sizes)))

    def probability_liked(self, user: I64, video: I64, local_ms: I64) -> F32:
        """The probability that a play of each pair has a watch_ratio above 1.

        Args:
            local_ms: since the first local midnight.
        """
        chance = self._chances(user, video, local_ms)
        length = self.world.truth.videos.log_length[video]
        return watching.probability_over(watching.CASUAL, chance, length, LIKED_OVER)

    def plays(self, user: I64, video: I64, local_ms: I64, random: np.random.Generator) -> pl.DataFrame:
        """A play of each pair, as rows of big_matrix."""
        play_ms = watching.draw_play_ms(watching.CASUAL, self._chances(user, video, local_ms), random)
        return rows_of(self.world, user, video, local_ms=local_ms, play_ms=play_ms, random=random)

    @cached_property
    def _taste(self) -> tuple[F32, F32]:
        users = np.arange(self.world.sizes.users)
        early, late = (taste(self.world.truth, users, late=late) for late in (False, True))
        return early, late

    def _chances(self, user: I64, video: I64, local_ms: I64) -> watching.Chances:
        early, late = self._taste
        truth = self.world.truth
        liking = appeal(
            truth, user, video, early=early[user, video], late=late[user, video], local_ms=local_ms
        )
        liking += truth.videos.placement[video]
        return chances_of(self.world, watching.CASUAL, user, video, liking)
