"""The features of the user's own modules in a row: of users, of videos, and of both."""

from collections.abc import Container
from dataclasses import dataclass

import numpy as np

from nightreel.core.catalogue import catalogue_of
from nightreel.core.settings import DataSettings, FeatureSettings
from pipelines.model_rows.joined_features import JoinedFeatures


@dataclass(frozen=True)
class OwnFeatures:
    """Features from the user's own modules, of the users and videos that were joined.

    Attributes:
        users, videos: float32 [features, rows of that side + 1], NaN in the last row.
        names: users' first, then videos', then those of pairs.
        columns: of the pairs' features, their positions in the joined pair values.
    """

    names: tuple[str, ...]
    users: np.ndarray
    videos: np.ndarray
    columns: tuple[int, ...]
    joined: JoinedFeatures

    @classmethod
    def of(
        cls, joined: JoinedFeatures, taken: Container[str], data: DataSettings, features: FeatureSettings
    ) -> "OwnFeatures":
        """The features in `joined` that come from the user's own modules.

        Args:
            taken: names that a row has already; a feature with such a name is prefixed by its view, as in
                Feast.
        """
        found: dict[str, list[str]] = {"user": [], "video": [], "pair": []}
        names: dict[str, str] = {}
        for view in catalogue_of(data, features).own:
            kind = view.entities[0] if len(view.entities) == 1 else "pair"
            found[kind] += view.ranked
            names |= {name: f"{view.name}__{name}" if name in taken else name for name in view.ranked}
        users, videos, pairs = found.values()
        of_pairs = [joined.names[index] for index in joined.pair_indices[1:]]
        return cls(
            tuple(names[name] for name in (*users, *videos, *pairs)),
            _with_unknown([joined.user_feature(name) for name in users], len(joined.user_factors)),
            _with_unknown([joined.video_feature(name) for name in videos], len(joined.video_factors)),
            tuple(of_pairs.index(name) for name in pairs),
            joined,
        )

    def values(self, user: np.ndarray, video: np.ndarray) -> list[np.ndarray]:
        """The values for some pairs: one float32 [pairs] array per feature.

        Args:
            user, video: positions in `joined`, -1 where unknown.
        """
        of_pairs = self.joined.pair_values(user, video) if self.columns else []
        return [
            *(column[user] for column in self.users),
            *(column[video] for column in self.videos),
            *(of_pairs[column] for column in self.columns),
        ]


def _with_unknown(columns: list[np.ndarray], rows: int) -> np.ndarray:
    found = np.full((len(columns), rows + 1), np.nan, dtype=np.float32)
    for row, column in enumerate(columns):
        found[row, :-1] = column
    return found
