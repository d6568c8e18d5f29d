"""Users in arms of an experiment: by a hash of the salt and the user's id, so that they stay there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np

from nightreel.core.errors import InputError
from nightreel.core.ids import Ids
from nightreel.core.settings import Paths
from nightreel.core.settings.experiments import ExperimentSettings
from nightreel.core.settings.needs import NightNeeds
from pipelines.model_registry import ModelVersion, find

_SPAN = 2**64
_USERS_AT_A_TIME = 100_000


def arms_of(experiment: ExperimentSettings, user_id: np.ndarray, ids: Ids) -> np.ndarray:
    """Index of each user's arm: int64 [users].

    A user's arm depends only on the salt, the shares and the id as in the log. If an arm's share grows, users
    move into it only from later arms.

    Args:
        user_id: the home's codes.
    """
    shares = [arm.share for arm in experiment.arms.values()]
    ends = np.array([min(int(end * _SPAN), _SPAN - 1) for end in np.cumsum(shares)], dtype=np.uint64)
    ends[-1] = _SPAN - 1
    found = np.zeros(len(user_id), dtype=np.int64)
    for start in range(0, len(user_id), _USERS_AT_A_TIME):
        part = slice(start, start + _USERS_AT_A_TIME)
        hashes = _hashes(str(experiment.salt), ids.outward(user_id[part]))
        found[part] = np.minimum(np.searchsorted(ends, hashes, side="right"), len(shares) - 1)
    return found


def _hashes(salt: str, users: Sequence[int | str]) -> np.ndarray:
    """An even number below 2**64 for each user."""
    return np.array(
        [int.from_bytes(blake2b(f"{salt}|{user}".encode(), digest_size=8).digest()) for user in users],
        dtype=np.uint64,
    )


@dataclass(frozen=True)
class Arm:
    """An arm of a night, with its model and settings; its name is '' without an experiment."""

    name: str
    share: float
    model: ModelVersion
    changes: Mapping[str, float | int] = field(default_factory=dict)

    def settings(self, settings: NightNeeds) -> NightNeeds:
        """The night's settings, overridden by the arm's own."""
        return settings.changed(dict(self.changes))


def arms_of_night(
    paths: Paths, experiment: ExperimentSettings | None, model: ModelVersion
) -> tuple[Arm, ...]:
    """The night's arms, one without an experiment.

    Args:
        model: for arms that name none.

    Raises:
        InputError: an arm names an unknown model.
    """
    if experiment is None:
        return (Arm("", 1.0, model),)
    found = []
    for name, arm in experiment.arms.items():
        try:
            of_arm = model if arm.model is None else find(paths, arm.model)
        except InputError as error:
            raise InputError(
                f"[experiments] arm {name}: the model {arm.model} is gone, or damaged.",
                "Name a version that `nightreel models` has, or none for the champion.",
            ) from error
        found.append(Arm(name, arm.share, of_arm, arm.settings))
    return tuple(found)
