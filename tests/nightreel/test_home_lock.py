"""Two steps that change a home never work on it at once: the second waits, or says who is there."""

from pathlib import Path

from nightreel.core.locks import locked_file
from tests.fixtures.at_once import nightreel_at_once
from tests.fixtures.small_log import make_log, settings_for


def test_a_step_that_finds_another_at_work_says_who_and_ends_with_3(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    make_log(3).write(settings)
    with locked_file(settings.paths.state / "home.lock", "is at work on this home (ingest)"):
        code, said = nightreel_at_once("features", tmp_path, NIGHTREEL_HOME=str(tmp_path))
    assert code == 3
    assert "is at work on this home (ingest)" in said and "process" in said
    assert "Traceback" not in said
    code, said = nightreel_at_once("features", tmp_path, NIGHTREEL_HOME=str(tmp_path))
    assert code == 0, said
