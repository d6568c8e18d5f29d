"""The mean of several LightGBM models as one model, in LightGBM's own text format.

Its trees are those of all the models, each leaf's value divided by their number. So whatever reads one
model reads the mean: the compiled trees, the files of a version, what explains a list.
"""

import re
from collections.abc import Sequence

import lightgbm as lgb

_END = "\nend of trees"
# What each tree adds to a score: its leaves, and the means of its nodes, by which LightGBM explains scores.
_ADDED = re.compile(r"^(leaf_value|internal_value)=(.*)$", re.MULTILINE)


def averaged(models: Sequence[lgb.Booster]) -> lgb.Booster:
    """The model whose raw score is the mean of the raw scores of these, read back from its text.

    Args:
        models: at least one, all with the same features and objective.
    """
    texts = [model.model_to_string() for model in models]
    if len(texts) == 1:
        return lgb.Booster(model_str=texts[0])
    head = texts[0].partition("\nTree=")[0]
    # Sizes in bytes, which differ now; without them LightGBM looks for each tree's beginning.
    head = re.sub(r"^tree_sizes=.*\n?", "", head, flags=re.MULTILINE)
    trees: list[str] = []
    for text in texts:
        for tree in text.partition(_END)[0].split("\nTree=")[1:]:
            content = tree.partition("\n")[2]
            trees.append(f"Tree={len(trees)}\n{_divided(content, len(models))}")
    tail = _END.lstrip("\n") + texts[0].partition(_END)[2]
    return lgb.Booster(model_str="\n".join([head.rstrip("\n"), "", *trees, tail]))


def _divided(tree: str, by: int) -> str:
    def divided(line: re.Match[str]) -> str:
        values = " ".join(repr(float(value) / by) for value in line[2].split())
        return f"{line[1]}={values}"

    return _ADDED.sub(divided, tree)
