"""Sets what libraries read from the environment when they are first imported; import this before NumPy.

Variables that are set already stay as they are.
"""

import os

ENVIRONMENT = {
    # implicit's ALS is slowed tenfold by a threaded BLAS, which may also round otherwise.
    "OPENBLAS_NUM_THREADS": "1",
    # LightGBM's threads otherwise spin while they wait: on a busy machine training took 414 s, not 120.
    "OMP_WAIT_POLICY": "PASSIVE",
    # Polars' allocator otherwise keeps what it has freed until the machine is short of memory: a second
    # after `unique` of KuaiRec's plays 957 MiB instead of 381, in the same time.
    "_RJEM_MALLOC_CONF": "muzzy_decay_ms:0",
}

for name, value in ENVIRONMENT.items():
    os.environ.setdefault(name, value)
