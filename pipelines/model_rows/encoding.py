"""How feature values become LightGBM's float32 matrix, in training and in scoring alike."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nightreel.core.errors import InputError


@dataclass(frozen=True)
class FeatureEncoding:
    """The features in the feature service's order, and the code of every category of the categorical ones.

    Attributes:
        names: all features.
        categories: for each categorical feature its known values, ascending; a value's code is its
            index there, so codes are dense, from 0.
    """

    names: tuple[str, ...]
    categories: Mapping[str, tuple[int | str, ...]]

    @classmethod
    def fit(cls, names: Sequence[str], values: Mapping[str, pa.Array | pa.ChunkedArray]) -> "FeatureEncoding":
        """Give a code to each value that a categorical feature takes in `values`.

        Nulls get no code.

        Args:
            names: features in service order.
            values: of every categorical feature among them, and of no other, the values seen in training.
        """
        categories = {
            name: tuple(sorted(pc.unique(values[name]).drop_null().to_pylist()))
            for name in names
            if name in values
        }
        return cls(tuple(names), categories)

    @property
    def categorical(self) -> tuple[str, ...]:
        """The categorical features, in order."""
        return tuple(name for name in self.names if name in self.categories)

    def encode(self, table: pa.Table, names: Sequence[str]) -> np.ndarray:
        """The named columns of `table` as float32 [rows, len(names)].

        Numbers stay numbers, categories become their code; null and a category not seen in training become
        NaN.

        Raises:
            InputError: if a column is missing from the table or is not a feature.
        """
        matrix = np.empty((table.num_rows, len(names)), dtype=np.float32)
        for position, name in enumerate(names):
            if name not in self.names or name not in table.column_names:
                raise InputError(
                    f"Feature {name}: not among the features of this model or of this table.",
                    "Run `nightreel features`, then `nightreel train`.",
                )
            matrix[:, position] = self.encode_column(name, table.column(name))
        return matrix

    def encode_column(self, name: str, column: pa.Array | pa.ChunkedArray) -> np.ndarray:
        """One feature's values as float32 [rows]: a number, a code, or NaN."""
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if name in self.categories:
            column = pc.index_in(column, value_set=pa.array(self.categories[name]).cast(column.type))
        encoded: np.ndarray = pc.cast(column, pa.float32(), safe=False).to_numpy(zero_copy_only=False)
        return encoded

    def require(self, names: Sequence[str]) -> None:
        """Raise InputError, naming the difference, unless `names` are these features in this order."""
        if tuple(names) == self.names:
            return
        missing = [name for name in self.names if name not in names]
        unknown = [name for name in names if name not in self.names]
        parts = [f"missing: {', '.join(missing)}"] if missing else []
        parts += [f"unknown to the model: {', '.join(unknown)}"] if unknown else []
        if not parts:
            position = next(i for i, name in enumerate(names) if name != self.names[i])
            parts = [
                f"order: feature {position + 1} is {names[position]}, the model has {self.names[position]}"
            ]
        raise InputError(
            f"The features differ from those that the model was trained on; {'; '.join(parts)}.",
            "Run `nightreel train` again.",
        )

    def to_json(self) -> str:
        """The encoding as JSON: names, and each categorical feature's values in the order of their codes."""
        content: dict[str, Any] = {"features": self.names, "categories": dict(self.categories)}
        return json.dumps(content, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "FeatureEncoding":
        """What `to_json` wrote."""
        content = json.loads(text)
        categories = {name: tuple(values) for name, values in content["categories"].items()}
        return cls(tuple(content["features"]), categories)
