"""LightGBM in several threads: its data sets are filled one at a time, and it is silent in each thread.

How many threads LightGBM uses is one variable of the whole process, which every data set sets. A data set
has a buffer for each thread; if another one raised the number meanwhile, it would write beyond them.
"""

from threading import Lock

import lightgbm as lgb
import numpy as np

from nightreel.core.memory import give_back_memory

_filling = Lock()


def filled(data: lgb.Dataset) -> lgb.Dataset:
    """The data set, once its rows are binned."""
    with _filling:
        made = data.construct()
    # The sample that LightGBM finds bins in takes some hundred megabytes, which stay resident otherwise.
    give_back_memory()
    return made


def silence_lightgbm() -> None:
    """Keep LightGBM from printing in this thread: its level of messages belongs to the thread, not the model.

    A thread gets the level of the parameters that it reads first, but one that grows a model which another
    thread has made reads none.
    """
    filled(lgb.Dataset(np.zeros((1, 1), dtype=np.float32), params={"verbose": -1}))
