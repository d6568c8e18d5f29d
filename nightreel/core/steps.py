"""A step as data: its name, what it reads and writes, the settings that decide it, and what it runs.

From it follow its record and thus skipping, its `--force`, its lock, its line in the log and in the night's
record, and its line in docs/steps.md. The order of the steps is `nightreel.operations.sequence`.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from nightreel.core.artefacts import StepRecord, fingerprint, fingerprint_of_files
from nightreel.core.locks import home_lock
from nightreel.core.settings import Settings
from nightreel.core.settings.needs import HomeNeeds


class Facts(BaseModel):
    """The facts that a step reports; each step has its own subclass. A field that is None is not printed.

    Attributes:
        remarks: lines that a person should read; a night's record keeps them.
    """

    model_config = ConfigDict(frozen=True)

    remarks: tuple[str, ...] | None = None

    def printed(self) -> dict[str, Any]:
        """The facts in the order and by the names under which they are printed, remarks last."""
        found: dict[str, Any] = {}
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if value is not None:
                found[field.serialization_alias or name] = _plain(value)
        if self.remarks is not None:
            found["remarks"] = found.pop("remarks")
        return found

    @property
    def rows_written(self) -> int | None:
        """Number of rows written to all files and tables; None if the step does not count them."""
        return None

    @property
    def part_seconds(self) -> Mapping[str, float] | None:
        """Seconds of each part of the step, if it measures them."""
        return None

    @property
    def lists_run(self) -> int | None:
        """The run whose lists the step made or found; None if the step makes no lists."""
        return None

    @property
    def for_the_record(self) -> tuple[str, ...]:
        """Lines that the record of a scheduled job keeps: the remarks."""
        return self.remarks or ()

    @property
    def made_before(self) -> str:
        """For a skipped step: what exists already; empty if the step's name says enough."""
        return ""


def _plain(value: Any) -> Any:
    if isinstance(value, Facts):
        return value.printed()
    if isinstance(value, BaseModel):
        return value.model_dump()
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value


FactsT = TypeVar("FactsT", bound=Facts)
FactsT_co = TypeVar("FactsT_co", bound=Facts, covariant=True)


@dataclass(frozen=True)
class StepResult(Generic[FactsT_co]):
    """The result of a step, for the command line to print.

    Attributes:
        read, wrote: files, folders or tables.
    """

    step: str
    skipped: bool
    read: tuple[Path, ...]
    wrote: tuple[Path | str, ...]
    facts: FactsT_co

    @property
    def summary(self) -> dict[str, Any]:
        """The facts as they are printed."""
        return self.facts.printed()


@dataclass(frozen=True)
class Request:
    """Options for the steps of one run; each step uses those that concern it.

    Attributes:
        force: run even if nothing has changed.
        as_of, publish: the options of `nightreel score`.
    """

    force: bool = False
    as_of: datetime | None = None
    publish: bool = False


@dataclass(frozen=True)
class Step(Generic[FactsT]):
    """A step.

    Attributes:
        does: a sentence for the documentation.
        reads, writes: files, folders and tables for given settings, whether or not they exist.
        settings: names of those that decide its result: if one changes, the step runs again.
        also: in words, the settings that do so only in some cases; `run` has them among its inputs.
        parts: steps that it consists of, each skipped on its own.
        record: stem of its record's file, if that is not its name.
    """

    name: str
    does: str
    reads: Callable[[Settings], tuple[Path, ...]]
    writes: Callable[[Settings], tuple[Path | str, ...]]
    settings: tuple[str, ...]
    facts: type[FactsT]
    run: Callable[[Settings, Request], StepResult[FactsT]]
    parts: tuple["Step[Any]", ...] = ()
    record: str | None = None
    also: str = ""

    @property
    def deciding_settings(self) -> tuple[str, ...]:
        """Its settings' names and those of its parts, sorted."""
        return tuple(
            sorted({*self.settings, *(name for one in self.parts for name in one.deciding_settings)})
        )

    def settings_in(self, settings: HomeNeeds) -> dict[str, Any]:
        """The values of its settings, by name."""
        return settings.chosen(set(self.settings))

    def alone(self, settings: HomeNeeds) -> AbstractContextManager[None]:
        """Be the only step that changes this home. Raises BusyError if it does not become free in time."""
        return home_lock(settings.paths.state, self.name)

    def attempt(
        self,
        settings: HomeNeeds,
        files: Iterable[Path],
        *,
        force: bool,
        record: str | None = None,
        **more: Any,
    ) -> "Attempt[FactsT]":
        """Compare the step's last run with its present inputs.

        Args:
            files: its inputs.
            force: as if it had never run.
            record: stem of the record's file, for a step with several.
            more: JSON-able values that decide its result besides files and settings.
        """
        kept = self._record(settings, record)
        current = fingerprint(files=fingerprint_of_files(files), settings=self.settings_in(settings), **more)
        known = None if force or not kept.is_done(current) else self._facts_in(kept)
        return Attempt(self.name, kept, current, known)

    def last_facts(self, settings: HomeNeeds) -> FactsT | None:
        """The facts of its last run; None without one, or if an older nightreel wrote them."""
        return self._facts_in(self._record(settings))

    def skipped(
        self, read: tuple[Path, ...], wrote: tuple[Path | str, ...], facts: FactsT
    ) -> StepResult[FactsT]:
        """The result if there was nothing to do."""
        return StepResult(self.name, True, read, wrote, facts)

    def done(
        self, read: tuple[Path, ...], wrote: tuple[Path | str, ...], facts: FactsT
    ) -> StepResult[FactsT]:
        """The result of finished work, for a step that keeps no record in a file."""
        return StepResult(self.name, False, read, wrote, facts)

    def _record(self, settings: HomeNeeds, stem: str | None = None) -> StepRecord:
        return StepRecord(settings.paths.state / f"{stem or self.record or self.name}.json")

    def _facts_in(self, kept: StepRecord) -> FactsT | None:
        try:
            return self.facts.model_validate(kept.summary())
        except ValidationError:
            return None


@dataclass(frozen=True)
class Attempt(Generic[FactsT]):
    """A step about to run; `known` are the facts of a run on exactly the same inputs, if there was one."""

    step: str
    kept: StepRecord
    current: str
    known: FactsT | None

    def begin(self) -> Self:
        """Remove the record; call before any of the step's outputs is replaced."""
        self.kept.forget()
        return self

    def finished(
        self,
        read: tuple[Path, ...],
        wrote: tuple[Path | str, ...],
        facts: FactsT,
        *,
        outputs: Iterable[Path],
    ) -> StepResult[FactsT]:
        """Record that the step ended; call once every output is at its final path.

        Args:
            outputs: files that must stay unchanged for the step to count as done.
        """
        self.kept.finish(self.current, outputs, facts.model_dump())
        return StepResult(self.step, False, read, wrote, facts)
