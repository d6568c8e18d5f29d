"""Ids are shown as they are typed; amounts have separators."""

from pathlib import Path

import pytest

from nightreel.core.printing import print_result, print_table
from nightreel.core.steps import Facts, StepResult
from tests.conftest import Nightreel

LARGE = 9_007_199_254_741_279


def test_ids_are_shown_without_separators(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([{"video_id": LARGE, "author_id": 123_456, "rows": 12_345}])
    assert capsys.readouterr().out.split("\n")[1].split() == [str(LARGE), "123456", "12,345"]


def test_ids_among_the_facts_of_a_step_are_shown_without_separators(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Some(Facts):
        user_id: int = LARGE
        video_ids: tuple[int, ...] = (LARGE, 20_000)
        rows: int = 12_345

    print_result(StepResult("score", False, (), (), Some()), 1.0)
    shown = capsys.readouterr().out
    assert f"user id: {LARGE}\n" in shown
    assert f"video ids: {LARGE}, 20000\n" in shown
    assert "rows: 12,345\n" in shown


def test_each_of_several_remarks_has_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    result = StepResult("score", False, (), (), Facts(remarks=("One day is missing.", "So is another.")))
    print_result(result, 1.0)
    assert "remarks:\n    One day is missing.\n    So is another.\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "99999999999999999999"),
        ("show", "--", "-99999999999999999999"),
        ("show", "14", "--run", "99999999999999999999"),
        ("rollback", "99999999999999999999"),
        ("compare", "1", "99999999999999999999"),
        ("score", "--as-of", "0001-01-01T00:00:00+14:00"),
    ],
)
def test_what_no_database_can_hold_is_refused_at_the_prompt(
    arguments: tuple[str, ...], nightreel: Nightreel, tmp_path: Path
) -> None:
    done = nightreel(*arguments, home=tmp_path)
    assert done.returncode == 2
    assert "Invalid value for" in done.stderr or arguments[-1] in done.stderr
    assert "unexpected" not in done.stderr
    assert "Traceback" not in done.stderr
