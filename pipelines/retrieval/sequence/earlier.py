"""The newest earlier night's transformer, from which a night's training starts."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from zipfile import BadZipFile

import numpy as np

from nightreel.core.ascending import indices_in
from nightreel.core.checksums import is_usable
from nightreel.core.extras import SEQUENCE
from nightreel.core.instants import unix_us
from nightreel.core.settings.needs import SourceNeeds
from pipelines.labels import LABEL_SETTINGS
from pipelines.retrieval.past import Past
from pipelines.retrieval.sequence.items import ItemFacts
from pipelines.retrieval.sequence.model import Params, video_vectors
from pipelines.retrieval.sources import file_of_fit

# The prefix of a parameter's name in a night's file.
PARAM = "param_"
_RIDGE = 1.0
_OF_VIDEOS, _OF_GROUPS = ("video", "bias"), ("group",)


@dataclass(frozen=True)
class EarlierNight:
    """The parameters of an earlier night, with its videos and groups."""

    cutoff: datetime
    params: Mapping[str, np.ndarray]
    video_id: np.ndarray
    group_key: np.ndarray

    @property
    def cutoff_us(self) -> int:
        """The cutoff in microseconds since 1970 UTC."""
        return unix_us(self.cutoff)

    @classmethod
    def newest(cls, past: Past, settings: SourceNeeds) -> "EarlierNight | None":
        """The newest usable one in data/retrieval whose plays before its cutoff are those known now.

        One with other plays is skipped: it may have learnt from a play that tonight must not know, such as
        one that arrives only later in a replay, or one of a forgotten user.
        """
        now = f"{past.cutoff:%Y%m%dT%H%M%S}"
        for path in sorted(settings.paths.retrieval.glob(f"*/{file_of_fit(SEQUENCE)}"), reverse=True):
            stamp = path.parent.name.partition("-")[0]
            if stamp >= now or not is_usable(path):
                continue
            cutoff = datetime.strptime(stamp, "%Y%m%dT%H%M%S").replace(tzinfo=past.cutoff.tzinfo)
            try:
                with np.load(path) as stored:
                    # The digest goes through the whole log.
                    if not stored["used"] or str(stored["seen"]) != digest_before(past, cutoff, settings):
                        continue
                    return cls(cutoff, params_of(stored), stored["video_id"], stored["group_key"])
            except (OSError, ValueError, KeyError, EOFError, BadZipFile):
                continue
        return None

    def continued(self, fresh: Mapping[str, np.ndarray], items: ItemFacts) -> dict[str, np.ndarray]:
        """Its parameters for tonight's videos; those that it did not know get zeros.

        Args:
            fresh: parameters of a transformer that has not been trained.
        """
        found = dict(self.params)
        for names, own, now in (
            (_OF_VIDEOS, self.video_id, items.video_id),
            (_OF_GROUPS, self.group_key, items.group_key),
        ):
            at, known = indices_in(own, now)
            for name in names:
                values = np.zeros_like(fresh[name])
                values[known] = self.params[name][at[known]]
                found[name] = values
        found["video"] = found["video"] + _begun(found, fresh, items)
        return found


def _begun(params: Params, fresh: Params, items: ItemFacts) -> np.ndarray:
    """Vectors from likes for videos that the earlier night did not know: float32 [videos, SIZE].

    For the other videos there are fresh and trained vectors, so a linear map from the former to the latter is
    fitted.
    """
    learnt, liked = ((one["video"] != 0).any(axis=1) for one in (params, fresh))
    now, then = (video_vectors(one, items.groups, items.text) for one in (params, fresh))
    both, new = learnt & liked, liked & ~learnt
    known = then[both]
    ridge = known.T @ known + _RIDGE * np.eye(known.shape[1], dtype=np.float32)
    found: np.ndarray = np.zeros_like(now)
    found[new] = then[new] @ np.linalg.solve(ridge, known.T @ now[both]) - now[new]
    return found


def params_of(stored: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The parameters among a night's arrays."""
    return {name.removeprefix(PARAM): stored[name] for name in stored if name.startswith(PARAM)}


def digest_before(past: Past, instant: datetime, settings: SourceNeeds) -> str:
    """A digest of the plays before an instant, and of what says which of them are liked."""
    rows = slice(0, int(np.searchsorted(past.at_us, unix_us(instant), side="left")))
    found = hashlib.blake2b(digest_size=12)
    for name in (*LABEL_SETTINGS, "seed"):
        found.update(f"{name} = {settings.value(name)}".encode() + b"\0")
    for values in (past.user_id[past.user[rows]], past.video_id[past.video[rows]], past.at_us[rows]):
        found.update(np.ascontiguousarray(values).data)
    return found.hexdigest()
