"""A study: trials drawn by TPE, kept in a journal, so that a stopped study continues where it was.

Trial n is drawn from the seed, n and the trials before it alone: stopped or not, a study ends the same.
Source: Bergstra et al., Algorithms for Hyper-Parameter Optimization (NeurIPS 2011); Optuna's sampler.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from statistics import median

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from nightreel.core.errors import BusyError
from pipelines.tuning.objective import Measured
from pipelines.tuning.space import Values, suggested

_STARTUP_TRIALS = 8
Measure = Callable[[Values, str], Measured]
"""Measures the quality of values; the text is the title of the progress bar meanwhile."""


class Study:
    """The trials of one set of data and settings.

    Attributes:
        first: the values that are tried before any is drawn.
    """

    def __init__(self, journal: Path, name: str, *, seed: int, first: Values) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        journal.parent.mkdir(parents=True, exist_ok=True)
        storage = JournalStorage(JournalFileBackend(str(journal)))
        self._study = optuna.create_study(
            storage=storage, study_name=name, direction="maximize", load_if_exists=True
        )
        self._seed = seed
        self._first = first

    def finished(self) -> list[FrozenTrial]:
        """The trials with a figure, in the order in which they were made."""
        trials: list[FrozenTrial] = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return trials

    def best(self) -> FrozenTrial:
        """The trial with the highest figure; there must be one."""
        return self._study.best_trial

    def run(
        self,
        measure: Measure,
        *,
        trials: int,
        minutes: float,
        after: Callable[["Study"], None],
    ) -> None:
        """Make trials until the study has them all, or the next one would not end in time.

        At least one is made if any is missing.

        Args:
            measure: fits and measures one trial.
            trials: of the whole study.
            minutes: of this call.
            after: called when a trial has ended.
        """
        self._give_up_what_was_stopped()
        started = time.monotonic()
        took: list[float] = []
        while len(self.finished()) < trials:
            if took and time.monotonic() - started + median(took) > 60 * minutes:
                return
            begun = time.monotonic()
            self._one(measure, trials)
            took.append(time.monotonic() - begun)
            after(self)

    def _one(self, measure: Measure, trials: int) -> None:
        made = len(self.finished())
        title = f"trial {made + 1} of {trials}" + (f", best {self.best().values[0]:.4f}" if made else "")
        if not made and not self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            self._study.enqueue_trial(dict(self._first))
        self._study.sampler = optuna.samplers.TPESampler(
            seed=self._seed + made, n_startup_trials=_STARTUP_TRIALS
        )
        trial = self._study.ask()
        try:
            values = suggested(trial)
            measured = measure(values, title)
        except BaseException:
            self._study.tell(trial, state=TrialState.FAIL)
            raise
        trial.set_user_attr("values", dict(values))
        trial.set_user_attr("filter_k", measured.filter_k)
        trial.set_user_attr("ndcg", {str(k): value for k, value in measured.ndcg.items()})
        trial.set_user_attr("trees", [measured.classifier_trees, measured.regressor_trees])
        self._study.tell(trial, measured.quality)

    def _give_up_what_was_stopped(self) -> None:
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self._study.tell(trial.number, state=TrialState.FAIL)


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Hold the lock while the block runs; BusyError if another process tunes in the same home."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as file:
        try:
            flock(file, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            raise BusyError("Another process is tuning in this home.", "Wait until it has ended.") from None
        yield
