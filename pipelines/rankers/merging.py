"""Joins two LightGBM models of which the second was fitted on top of the first one's predictions."""

import lightgbm as lgb


def merged(first: lgb.Booster | None, second: lgb.Booster) -> lgb.Booster:
    """One model with the trees of both, the first one's before: its raw prediction is the sum of theirs.

    Python's LightGBM merges only when training goes on from raw data that it can read as a whole, so this
    calls the C API that it calls then (LGBM_BoosterMerge).
    """
    model = lgb.Booster(model_str=second.model_to_string(num_iteration=-1))
    if first is not None:
        lgb.basic._safe_call(lgb.basic._LIB.LGBM_BoosterMerge(model._handle, first._handle))
    return lgb.Booster(model_str=model.model_to_string(num_iteration=-1))
