"""Training data of the rankers: the plays, their joined features and their targets, ready to be binned."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from feast import FeatureStore

from nightreel.core import columns
from nightreel.core.beside import work_beside
from nightreel.core.catalogue import catalogue_of
from nightreel.core.checksums import require_as_written
from nightreel.core.errors import InputError
from nightreel.core.play_days import table_exists
from nightreel.core.settings import DataSettings
from nightreel.core.settings.needs import FeatureNeeds, RankerNeeds
from pipelines.known import table_files
from pipelines.labels import NO_BUCKETS, LengthBuckets, Targets, targets
from pipelines.model_rows.encoding import FeatureEncoding
from pipelines.rankers.boosting import fitted_rows
from pipelines.rankers.matrix import FeatureMatrix
from pipelines.rankers.slices import Cuts, Slices, days_of_table, time_cuts
from pipelines.training_frame import FeatureFrame, Thinned
from pipelines.user_sample import UserSample


@dataclass(frozen=True)
class TrainingData:
    """The plays in order of time, each with its features and its targets.

    Attributes:
        plays: of the users who count, in order of time.
        cuts: of the whole log.
        sample: the users who count.
        buckets: fitted on slices.fit alone.
    """

    plays: pl.DataFrame
    cuts: Cuts
    slices: Slices
    encoding: FeatureEncoding
    buckets: LengthBuckets
    targets: Targets
    matrix: FeatureMatrix
    sample: UserSample

    @property
    def video_id(self) -> np.ndarray:
        """The video of each play."""
        return self.plays[columns.VIDEO_ID].to_numpy()

    @classmethod
    def join(cls, store: FeatureStore, settings: RankerNeeds) -> "TrainingData":
        """Join each play that is learnt from or judged with the features known at its instant.

        Raises:
            InputError: the log is too short.
        """
        sample = UserSample.of(settings)
        plays = sample.read(settings.paths)
        cuts = time_cuts(days_of_table(settings.paths.interactions), settings.data, settings.evaluation)
        slices = cuts.slices(plays[columns.EVENT_TIMESTAMP])
        # Of a long log, only the plays that are learnt from or judged are joined; the candidate sources still
        # read all of them.
        thinned = Thinned(slices.fit.stop, fitted_rows(slices).step)
        # Labels need no features, and the join keeps one thread busy most of the time.
        with work_beside(settings.threads) as start:
            labels = start(_labels, plays, slices, settings.data)
            frame = FeatureFrame.join(store, plays, settings.data.zone, thinned)
            seen = frame.values(slices.fit, catalogue_of(settings.data, settings.features).categorical)
            encoding = FeatureEncoding.fit(frame.names, seen)
            # From here on the encoded values are enough: the join and its sources, half a gigabyte for
            # KuaiRec, are freed.
            matrix = FeatureMatrix(frame, encoding)
            buckets, play_targets = labels.result()
        return cls(plays, cuts, slices, encoding, buckets, play_targets, matrix, sample)


def _labels(plays: pl.DataFrame, slices: Slices, settings: DataSettings) -> tuple[LengthBuckets, Targets]:
    """The buckets, fitted on slices.fit, and the targets of all plays."""
    ratio, length = (plays[name].to_numpy() for name in (columns.WATCH_RATIO, columns.VIDEO_DURATION))
    # Fitted whatever the label is: the evaluation reports both.
    buckets = LengthBuckets.fit(ratio[slices.fit], length[slices.fit]) if settings.has_lengths else NO_BUCKETS
    return buckets, targets(settings.targets.label, buckets, ratio, length, settings)


def source_files(settings: FeatureNeeds) -> tuple[Path, ...]:
    """The table of plays and every feature source, there or not."""
    return (
        settings.paths.interactions,
        *(
            settings.paths.feature_source(view.name)
            for view in catalogue_of(settings.data, settings.features).needed
        ),
    )


def sources(settings: FeatureNeeds) -> tuple[Path, ...]:
    """The table of plays and every feature source.

    Raises:
        InputError: if one is missing or is not as its step wrote it.
    """
    paths = source_files(settings)
    for path in paths:
        if not table_exists(path):
            raise InputError(f"{path}: missing.", "Run `nightreel ingest` and `nightreel features` first.")
    require_as_written((*table_files(settings.paths), settings.paths.table("fully_observed"), *paths[1:]))
    return paths
