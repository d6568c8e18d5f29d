"""`[ranker.lightgbm]` and `[ranker.regressor]`: LightGBM's parameters, by LightGBM's own names.

Parameters beyond those with a default here are passed to LightGBM unchanged. nightreel fixes those that
determinism, the label and the cluster depend on.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

# Held by nightreel, with what to do instead.
_HELD: Mapping[str, str] = {
    "seed": "set `seed`, which is outside all tables",
    "num_threads": "set `threads`, which is outside all tables",
    **dict.fromkeys(
        ("data_random_seed", "feature_fraction_seed", "bagging_seed", "extra_seed", "drop_seed"),
        "set `seed`, from which it follows",
    ),
    **dict.fromkeys(
        ("deterministic", "force_col_wise", "force_row_wise", "device_type", "feature_pre_filter"),
        "nightreel holds it, so that the same data give the same model",
    ),
    **dict.fromkeys(
        ("objective", "metric", "boosting", "data_sample_strategy", "linear_tree", "num_class"),
        "nightreel holds it, as its rankers are fitted and read as they are",
    ),
    **dict.fromkeys(
        ("machines", "num_machines", "tree_learner", "local_listen_port"), "it follows from [cluster]"
    ),
    "max_bin": "nightreel holds it at 255, a byte for each value",
    "verbosity": "nightreel writes its own log",
}


class LightgbmTable(BaseModel):
    """A table of LightGBM's parameters; any that LightGBM knows is passed to it."""

    model_config = ConfigDict(extra="allow", frozen=True)
    held: ClassVar[Mapping[str, str]] = _HELD

    @model_validator(mode="before")
    @classmethod
    def _by_their_first_names(cls, values: Any) -> Any:
        """LightGBM's other names of a parameter as the one that it lists first."""
        others = [name for name in values if name not in cls.model_fields] if isinstance(values, dict) else []
        if not others:
            return values
        # Only where such a name is given: LightGBM takes a while to import.
        first_names = _first_names()
        named: dict[str, Any] = {}
        for name, value in values.items():
            first = first_names.get(name)
            if first is None:
                raise ValueError(f"{name}: LightGBM has no such parameter")
            if first in cls.held:
                raise ValueError(f"{name}: {cls.held[first]}")
            if first in named:
                raise ValueError(f"{name}: {first} is set twice, by two of its names")
            if not isinstance(value, str | int | float | bool | list):
                raise ValueError(f"{name}: write a number, a text, true, false, or a list")
            named[first] = value
        return named

    def parameters(self) -> dict[str, Any]:
        """All of them, in LightGBM's form."""
        return self.model_dump()


class LightgbmSettings(LightgbmTable):
    """Parameters of all rankers; the listed ones have nightreel's own defaults."""

    num_iterations: int = Field(default=120, description="Largest number of trees of each ranker.", ge=1)
    early_stopping_round: int = Field(
        default=40, description="Stop when the holdout has not improved for this many trees.", ge=1
    )
    learning_rate: float = Field(
        default=0.0935, description="How much of each tree's answer the classifier adds.", gt=0, le=1
    )
    # The compiled scorer represents a tree's leaves as 64 bits.
    num_leaves: int = Field(default=27, description="Leaves of a tree.", ge=2, le=64)
    min_data_in_leaf: int = Field(default=145, description="Fewest plays in a leaf.", ge=1)
    feature_fraction: float = Field(
        default=0.471, description="Share of the features, drawn for each tree, that it may use.", gt=0, le=1
    )
    lambda_l2: float = Field(
        default=24.1, description="Weight that pulls a leaf's answer towards zero.", ge=0
    )


class RegressorSettings(LightgbmTable):
    """The regressor's parameters that differ from [ranker.lightgbm]."""

    held: ClassVar[Mapping[str, str]] = {
        **_HELD,
        **dict.fromkeys(
            ("num_iterations", "early_stopping_round"), "set it in [ranker.lightgbm], for both rankers"
        ),
    }

    learning_rate: float = Field(
        default=0.109, description="The learning rate of the regressor, whose target is noisier.", gt=0, le=1
    )


def _first_names() -> dict[str, str]:
    from lightgbm.basic import _ConfigAliases

    # LightGBM has no public list of its parameters; this is the one by which it reads them itself.
    known: Mapping[str, list[str]] = _ConfigAliases._get_all_param_aliases()
    return {alias: first for first, aliases in known.items() for alias in (first, *aliases)}
