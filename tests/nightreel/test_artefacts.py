"""Files written whole, and steps skipped only when nothing has changed."""

from pathlib import Path

import pytest

from nightreel.core.artefacts import StepRecord, atomic_write, fingerprint, fingerprint_of_files


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_write(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_rest_of_a_killed_write_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "models" / "v1"
    (path.parent / ".partial-v1").mkdir(parents=True)
    (path.parent / ".partial-v1" / "junk").write_text("half")
    with atomic_write(path) as temporary:
        temporary.mkdir()
        (temporary / "model.txt").write_text("whole")
    assert [file.name for file in path.iterdir()] == ["model.txt"]
    assert list(path.parent.iterdir()) == [path]


def test_a_step_is_done_only_while_inputs_settings_and_outputs_stand(tmp_path: Path) -> None:
    source, output = tmp_path / "source", tmp_path / "output"
    source.write_text("a")
    output.write_text("b")
    record = StepRecord(tmp_path / "state" / "step.json")
    current = fingerprint(inputs=fingerprint_of_files([source]), threshold=1.0)
    assert not record.is_done(current)
    record.finish(current, [output], {"rows": 1})
    assert record.is_done(current)
    assert record.summary() == {"rows": 1}
    assert not record.is_done(fingerprint(inputs=fingerprint_of_files([source]), threshold=2.0))
    source.write_text("changed")
    assert not record.is_done(fingerprint(inputs=fingerprint_of_files([source]), threshold=1.0))
    output.write_text("touched by somebody")
    assert not record.is_done(current)
    record.finish(current, [output], {})
    record.forget()
    assert not record.is_done(current)


def test_a_damaged_record_means_that_the_step_runs_again(tmp_path: Path) -> None:
    record = StepRecord(tmp_path / "step.json")
    record.path.write_text("[1, 2")
    assert not record.is_done("anything")
    assert record.summary() == {}
