"""Fills LightGBM's data sets one at a time, whichever threads ask for them.

How many threads LightGBM uses is one variable of the whole process, which every data set sets. A data set
has a buffer for each thread; if another one raised the number meanwhile, it would write beyond them.
"""

from threading import Lock

import lightgbm as lgb

from nightreel.core.memory import give_back_memory

_filling = Lock()


def filled(data: lgb.Dataset) -> lgb.Dataset:
    """The data set, once its rows are binned."""
    with _filling:
        made = data.construct()
    # The sample that LightGBM finds bins in takes some hundred megabytes, which stay resident otherwise.
    give_back_memory()
    return made
