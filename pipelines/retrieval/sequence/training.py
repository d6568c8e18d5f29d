"""Trains the transformer by Adam on one loss, and keeps the parameters that were best on the stop day.

The loss is the cross-entropy of the next liked play among all videos or, in a large catalogue, among a
sample whose logits are corrected for the probability of each draw (sampled softmax: Bengio and Senécal,
2008). Runs on a GPU if JAX finds one; on a CPU, the same plays and seed give the same parameters.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import partial
from itertools import chain, islice
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from nightreel.core.logs import get_logger
from pipelines.retrieval.sequence.batches import Batch, Batches
from pipelines.retrieval.sequence.items import ItemFacts
from pipelines.retrieval.sequence.model import SIZE, Params, encode, video_vectors
from pipelines.retrieval.sequence.scoring import Scorer
from pipelines.retrieval.sequence.stop_day import StopDay
from pipelines.retrieval.sequence.timelines import Timelines

_RATE, _DROPOUT = 2e-3, 0.3
_CLIP, _AVERAGED = 1.0, 0.98
# Takes two thirds of the compile time, with steps as fast as before.
_COMPILER = {"xla_backend_optimization_level": 1}
# Videos and groups are padded to a few sizes, so that a later night need not compile again.
_PADDED_MIN = 4_096

_log = get_logger(__name__)


@dataclass(frozen=True)
class Budget:
    """How long training lasts at most.

    Attributes:
        steps: of Adam. epochs: passes through all windows, which may be fewer steps for a small log.
        warm_up: steps until the learning rate is reached.
        every: steps between two looks at the stop day. patience: looks without a gain, after which it ends.
    """

    steps: int
    epochs: int
    warm_up: int
    every: int
    patience: int


@dataclass(frozen=True)
class Trained:
    """The best parameters, and steps, mean loss since the last look and NDCG@10: float32 [looks, 3]."""

    params: Mapping[str, np.ndarray]
    curve: np.ndarray


def train(
    params: Mapping[str, np.ndarray],
    plays: Timelines,
    items: ItemFacts,
    *,
    batches: Batches,
    stop: StopDay,
    log_popular: np.ndarray,
    budget: Budget,
    seed: int,
) -> Trained:
    """Train until the stop day's NDCG@10 no longer rises, or the budget is spent.

    Args:
        log_popular: float32 [videos], how popular each is on the stop day.
    """
    sizes = {"video": len(items.video_id), "bias": len(items.video_id), "group": len(items.group_key)}
    # The number of known groups grows each night, that of a catalogue's videos hardly.
    padded = _padded(params, sizes, {"group": _padded_size(len(items.video_id)) // 2})
    facts = {name: _rows(getattr(items, name), len(padded["video"])) for name in ("groups", "text")}
    state, mean = _beginning(padded)
    best, best_params, waited = ndcg_of(params, plays, items, stop, log_popular), params, 0
    curve, steps = [(0.0, np.nan, best)], 0
    losses: list[Any] = []

    def look() -> None:
        nonlocal best, best_params, waited
        now = _unpadded(mean, sizes)
        ndcg = ndcg_of(now, plays, items, stop, log_popular)
        curve.append((float(steps), float(np.mean([float(one) for one in losses])), ndcg))
        _log.debug("sequence: a look at the stop day", steps=steps, loss=curve[-1][1], ndcg=ndcg)
        losses.clear()
        waited += 1
        if ndcg > best:
            best, best_params, waited = ndcg, now, 0

    epochs = (batches.epoch() for _ in range(budget.epochs if batches else 0))
    for batch in islice(chain.from_iterable(epochs), budget.steps):
        parts = {field.name: getattr(batch, field.name) for field in fields(Batch)}
        rate = np.float32(_RATE * min(1.0, steps / budget.warm_up))
        padded, mean, state, loss = _step(padded, mean, state, (rate, seed, steps), facts | parts)
        losses.append(loss)
        steps += 1
        if steps % budget.every == 0:
            look()
            if waited >= budget.patience:
                break
    # A small log's passes may be fewer steps than there are between two looks.
    if steps % budget.every:
        look()
    return Trained(best_params, np.array(curve, dtype=np.float32))


def _optimizer() -> optax.GradientTransformation:
    return optax.chain(optax.clip_by_global_norm(_CLIP), optax.scale_by_adam(b2=0.98))


@jax.jit
def _beginning(params: Any) -> Any:
    """The state of Adam, and the running mean, before the first step."""
    return _optimizer().init(params), jax.tree.map(jnp.copy, params)


@partial(jax.jit, donate_argnums=(0, 1, 2), compiler_options=_COMPILER)
def _step(params: Any, mean: Any, state: Any, given: Any, batch: Any) -> Any:
    """A step of Adam, and the running mean of parameters, which is what the stop day judges.

    Args:
        given: the learning rate; the seed and the number of the step, from which dropout is drawn.
    """
    rate, seed, number = given
    key = jax.random.fold_in(jax.random.key(seed), number)
    loss, gradient = jax.value_and_grad(_loss)(params, key, batch)
    change, state = _optimizer().update(gradient, state, params)
    params = jax.tree.map(lambda one, by: one - rate * by, params, change)
    mean = jax.tree.map(lambda old, new: _AVERAGED * old + (1 - _AVERAGED) * new, mean, params)
    return params, mean, state, loss


def _loss(params: Params, key: Any, batch: Any) -> Any:
    keys = iter(jax.random.split(key, 8))

    def dropped(values: Any) -> Any:
        return values * jax.random.bernoulli(next(keys), 1 - _DROPOUT, values.shape) / (1 - _DROPOUT)

    # Only of these videos: on a CPU the gradient of a large table costs more than all else.
    vectors_of = partial(video_vectors, params, batch["groups"], batch["text"])
    video, compared, target = batch["plays"][0], batch["compared"], batch["target"]
    played = vectors_of(video.ravel()).reshape(*video.shape, SIZE)
    states = encode(jnp, params, played, batch["plays"][1:], wait=batch["wait"], dropped=dropped)
    states = states.reshape(-1, SIZE)[batch["at"]]
    others = states @ vectors_of(compared).T + params["bias"][compared] - batch["expected"]
    others = others + params["of_popularity"] * batch["popular"][batch["period"]]
    others = jnp.where(compared[None, :] == target[:, None], -jnp.inf, others)
    own = (states * vectors_of(target)).sum(axis=-1) + params["bias"][target]
    own = own + params["of_popularity"] * batch["of_target"]
    total = jnp.logaddexp(jax.nn.logsumexp(others, axis=-1), own)
    return ((total - own) * batch["weight"]).sum() / jnp.maximum(batch["weight"].sum(), 1)


def ndcg_of(
    params: Params, plays: Timelines, items: ItemFacts, stop: StopDay, log_popular: np.ndarray
) -> float:
    """NDCG@10 on the stop day."""
    scorer = Scorer.of(params, items, log_popular)

    def scores(block: slice) -> np.ndarray:
        stops = stop.borders[stop.users[block]]
        return scorer.of_several(plays, stops, stop.instant_us[block] - plays.at_us[stops - 1])

    return stop.ndcg(plays, scores)


def _padded(
    params: Mapping[str, np.ndarray], sizes: Mapping[str, int], least: Mapping[str, int]
) -> dict[str, Any]:
    """Parameters for JAX; those of sizes, rows by name, with rows of zeros after their own."""
    return {
        name: jnp.asarray(
            _rows(value, max(_padded_size(sizes[name]), least.get(name, 0))) if name in sizes else value
        )
        for name, value in params.items()
    }


def _unpadded(params: Mapping[str, Any], sizes: Mapping[str, int]) -> dict[str, np.ndarray]:
    return {
        name: np.array(value)[: sizes[name]] if name in sizes else np.array(value)
        for name, value in params.items()
    }


def _padded_size(rows: int) -> int:
    size = _PADDED_MIN
    while size < rows:
        size *= 2
    return size


def _rows(values: np.ndarray, rows: int) -> np.ndarray:
    found = np.zeros((rows, *values.shape[1:]), dtype=values.dtype)
    found[: len(values)] = values
    return found
