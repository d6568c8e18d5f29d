"""The candidate source `sequence`: a transformer that predicts a user's next liked play from the last ones.

Like every source's fit, it has the stamp of its cutoff. A night starts from the newest earlier night's
parameters, if that night knew the same plays before its own cutoff as tonight does. A transformer whose lists
are no better than popularity on the last day before the cutoff is not used that night.
"""

from dataclasses import dataclass

import numpy as np

from nightreel.core.ascending import indices_in
from nightreel.core.logs import get_logger
from nightreel.core.settings.needs import SourceNeeds
from pipelines.retrieval.histories import Histories
from pipelines.retrieval.past import Past
from pipelines.retrieval.sequence.earlier import PARAM, EarlierNight, digest_before, params_of
from pipelines.retrieval.sequence.items import ItemFacts, item_facts
from pipelines.retrieval.sequence.scoring import Scorer
from pipelines.retrieval.sequence.timelines import gaps_before, hour_codes, outcome_codes
from pipelines.retrieval.sources import Arrays, Catalogue, Fitted

NAME = "sequence"

_log = get_logger(__name__)


class Sequence:
    """A causal transformer over plays and their outcomes."""

    def fit(self, past: Past, settings: SourceNeeds) -> Arrays:
        """Train it, from the last night's parameters if there are any.

        Returns:
            `param_...`, its parameters; `video_id`, int64, and the facts about these videos; `popular`,
            float32 [videos], for users without a play; `curve`, float32 [looks, 3]; `used`,
            whether it beat `popularity`, the NDCG@10 of the best list for all on the stop day.
        """
        from pipelines.retrieval.sequence.night import trained_night

        items = item_facts(past.video_id, past.cutoff, settings)
        earlier = EarlierNight.newest(past, settings)
        night = trained_night(past, items, earlier, settings)
        best = float(night.curve[:, 2].max())
        begun = f"the night of {earlier.cutoff:%Y-%m-%d}" if earlier and night.is_warm else "scratch"
        said = {
            "cutoff": past.cutoff.isoformat(),
            "ndcg_at_10": round(best, 4),
            "popularity": round(night.popularity, 4),
            "judged_by": night.stop_day,
            "begun_from": begun,
        }
        is_used = best > night.popularity
        if is_used:
            _log.info("sequence: trained", **said)
        else:
            _log.warning("sequence: no better than popularity on its stop day, so not used tonight", **said)
        return {
            **{PARAM + name: value for name, value in night.params.items()},
            "video_id": items.video_id,
            "groups": items.groups,
            "group_key": items.group_key,
            "text": items.text,
            "popular": night.popular,
            "curve": night.curve,
            "popularity": np.array(night.popularity),
            "used": np.array(is_used),
            "seen": np.array(digest_before(past, past.cutoff, settings)),
        }

    def over(self, arrays: Arrays, catalogue: Catalogue) -> Fitted:
        """The transformer, in the columns of the catalogue."""
        items = ItemFacts(arrays["video_id"], arrays["groups"], arrays["group_key"], arrays["text"])
        scorer = Scorer.of(params_of(arrays), items, np.log1p(arrays["popular"]))
        position, is_known = indices_in(items.video_id, catalogue.video_id)
        known = np.flatnonzero(is_known)
        vectors = np.zeros((len(catalogue), scorer.vectors.shape[1]), dtype=np.float32)
        vectors[known] = scorer.vectors[position[known]]
        bias = np.zeros(len(catalogue), dtype=np.float32)
        bias[known] = scorer.bias[position[known]]
        popular = np.zeros(len(catalogue), dtype=np.float32)
        popular[known] = arrays["popular"][position[known]]
        return _FittedSequence(Scorer(scorer.params, vectors, bias), known, popular, bool(arrays["used"]))


@dataclass(frozen=True)
class _FittedSequence:
    """The trained transformer, ready to score.

    Attributes:
        known: int64, the columns of videos that the transformer knows of.
    """

    scorer: Scorer
    known: np.ndarray
    popular: np.ndarray
    is_used: bool

    def scores(self, histories: Histories) -> np.ndarray:
        """Each video's score above the user's lowest; for users without a play, the video's liked plays."""
        users = len(histories.plays)
        found = np.zeros((users, len(self.popular)), dtype=np.float32)
        if not self.is_used:
            return found
        borders = np.searchsorted(histories.play_user, np.arange(users + 1))
        for user in range(users):
            own = slice(borders[user], borders[user + 1])
            if own.start == own.stop:
                found[user] = self.popular
                continue
            at_us = histories.play_us[own]
            tokens = np.array(
                [
                    histories.play_video[own],
                    outcome_codes(histories.play_amount[own], histories.play_liked[own]),
                    gaps_before(at_us, np.arange(len(at_us)) == 0),
                    hour_codes(at_us),
                ]
            )
            scores = self.scorer.scores(tokens, int(histories.instant_us[user] - at_us[-1]))[self.known]
            found[user, self.known] = scores - scores.min(initial=np.inf)
        return found
