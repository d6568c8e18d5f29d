"""A step is data: from it follow when it is skipped, what `--force` does, and its place in a run."""

from pathlib import Path

import pytest

from nightreel.core.settings import Settings
from nightreel.core.steps import Facts, Request, Step, StepResult
from nightreel.operations.jobs import NIGHT, RETRAIN
from nightreel.operations.night import night_stages, retrain_stages
from nightreel.operations.sequence import JUDGEMENT, RUN, SEQUENCE, turns_of


class _Copied(Facts):
    bytes: int


def _copy(settings: Settings, request: Request) -> StepResult[_Copied]:
    (source,), (target,) = COPY.reads(settings), (settings.home / "copy",)
    attempt = COPY.attempt(settings, [source], force=request.force)
    if attempt.known is not None:
        return COPY.skipped((source,), (target,), attempt.known)
    attempt.begin()
    target.write_bytes(source.read_bytes())
    return attempt.finished((source,), (target,), _Copied(bytes=target.stat().st_size), outputs=(target,))


COPY = Step(
    name="copy",
    does="Copy a file.",
    reads=lambda settings: (settings.home / "source",),
    writes=lambda settings: (settings.home / "copy",),
    settings=("seed", "data.time_zone"),
    facts=_Copied,
    run=_copy,
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "source").write_text("abc", encoding="utf-8")
    return Settings(home=tmp_path)


def _is_skipped(settings: Settings, *, force: bool = False) -> bool:
    result = COPY.run(settings, Request(force=force))
    assert result.facts.bytes == (settings.home / "copy").stat().st_size
    return result.skipped


def test_a_step_is_done_once_for_the_same_inputs_and_settings(settings: Settings) -> None:
    assert not _is_skipped(settings)
    assert _is_skipped(settings)
    assert _is_skipped(settings.changed({"lists.top_k": 7}))
    assert not _is_skipped(settings.changed({"seed": 7}))
    assert not _is_skipped(settings, force=True)
    (settings.home / "source").write_text("abcd", encoding="utf-8")
    assert not _is_skipped(settings)
    (settings.home / "copy").write_text("other", encoding="utf-8")
    assert not _is_skipped(settings)


def test_a_step_whose_record_an_older_nightreel_wrote_otherwise_is_done_again(settings: Settings) -> None:
    assert not _is_skipped(settings)
    record = settings.paths.state / "copy.json"
    record.write_text(record.read_text(encoding="utf-8").replace('"bytes"', '"octets"'), encoding="utf-8")
    assert COPY.last_facts(settings) is None
    assert not _is_skipped(settings)


def test_the_jobs_take_their_steps_from_one_sequence(settings: Settings) -> None:
    names = [turn.step.name for turn in SEQUENCE]
    assert len(set(names)) == len(names)
    for job, stages in ((NIGHT, night_stages(settings)), (RETRAIN, retrain_stages(settings))):
        assert [stage.name for stage in stages] == [turn.step.name for turn in turns_of(job, settings)]
    of_run = [turn.step.name for turn in turns_of(RUN, settings)]
    assert of_run == ["ingest", "features", "feast apply", "train", "backtest", "evaluate", "score"]
    assert [turn.step.name for turn in turns_of(JUDGEMENT, settings)] == ["backtest", "evaluate"]
    with_lists = settings.changed({"lists.in_feast": True})
    more = {stage.name for stage in night_stages(with_lists)} - {
        stage.name for stage in night_stages(settings)
    }
    assert more == {"lists to feast"}


@pytest.mark.parametrize("turn", SEQUENCE, ids=lambda turn: turn.step.name)
def test_a_step_names_settings_that_there_are(turn, settings: Settings) -> None:  # type: ignore[no-untyped-def]
    for step in (turn.step, *turn.step.parts):
        assert set(step.settings_in(settings)) == set(step.settings)
        assert step.does.endswith(".")
