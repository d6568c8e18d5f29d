"""Work beside the caller's gives what it would give alone, and fails as it would."""

import threading

import pytest

from nightreel.core.beside import work_beside


def _thread() -> int:
    return threading.get_ident()


def test_work_runs_in_another_thread_where_there_are_two() -> None:
    with work_beside(2) as start:
        found = start(_thread)
        assert found.result() != _thread()


def test_work_is_done_at_once_where_there_is_one_thread() -> None:
    with work_beside(1) as start:
        found = start(_thread)
        assert found.done()
        assert found.result() == _thread()


@pytest.mark.parametrize("threads", [1, 2])
def test_what_goes_wrong_is_raised_where_the_result_is_asked_for(threads: int) -> None:
    with pytest.raises(ZeroDivisionError), work_beside(threads) as start:
        start(divmod, 1, 0).result()
