"""The start of training: a matrix factorisation of liked plays, which the transformer then improves.

The mean of the videos liked so far, the newest most, is compared with videos by the factors of users' liked
plays (PureSVD, Cremonesi et al., RecSys 2010), and the blocks say little yet. So what a small log tells about
videos need not be learnt by gradient steps. Measured in docs/decisions/sequence.md.
"""

import numpy as np
from scipy.sparse import csr_matrix, diags
from sklearn.utils.extmath import randomized_svd

from pipelines.retrieval.sequence.items import ItemFacts
from pipelines.retrieval.sequence.model import BLOCKS, COUNTS, HEADS, LENGTH, SIZE
from pipelines.retrieval.sequence.timelines import GAPS, HOURS, OUTCOMES

_DAMPING, _FADING, _UNLIKED = 0.25, 0.95, -3.0
# One head of each block starts by attending to the previous play, so that it can find what follows two plays.
_NOT_BEFORE = -4.0
# The weight of the blocks at the start of training, besides the mean of liked videos.
_BLOCKS_SAY = 0.1
# Small enough that the first probabilities are not too certain.
_LENGTH = 0.4
# After this many liked plays a user's taste has half of its full weight; the weight of what other plays tell.
_SURE_LIKES, _UNLIKED_TELL = 2.0, 0.2
_SHRINK_VIDEOS, _RIDGE = 5.0, 10.0


def initial(items: ItemFacts, liked: csr_matrix, seed: int) -> dict[str, np.ndarray]:
    """The parameters of a transformer that has not been trained, and knows nothing of popularity.

    Args:
        liked: float32 [users, videos], 1 where the user liked the video.
    """
    random = np.random.default_rng(seed)

    def normal(*shape: int, scale: float) -> np.ndarray:
        return (scale * random.standard_normal(shape)).astype(np.float32)

    thin = SIZE**-0.5
    heed = np.where(np.arange(OUTCOMES) % 2 == 1, 0.0, _UNLIKED).astype(np.float32)
    fading = (np.log(_FADING) * np.arange(LENGTH)).astype(np.float32)
    ago = np.tile(fading, (BLOCKS, HEADS, 1))
    ago[:, 0] = np.where(np.arange(LENGTH) == 1, 0.0, _NOT_BEFORE)
    likes = np.ldexp(0.75, np.arange(COUNTS))
    likes[0] = _UNLIKED_TELL
    sure = (likes / (likes + _SURE_LIKES)).astype(np.float32)
    video, group, text = _explained(_factors(liked, seed), items)
    return {
        "video": video,
        "group": group,
        "text": text,
        "bias": np.zeros(len(video), dtype=np.float32),
        "outcome": normal(OUTCOMES, SIZE, scale=0.02),
        "gap": normal(GAPS, SIZE, scale=0.02),
        "hour": normal(HOURS, SIZE, scale=0.02),
        "wait": np.zeros((GAPS, SIZE), dtype=np.float32),
        "taste_ago": fading,
        "taste_heed": heed,
        "taste_sure": sure,
        "ago": ago,
        "heed": np.zeros((BLOCKS, HEADS, OUTCOMES), dtype=np.float32),
        "norm_attention": np.ones((BLOCKS, SIZE), dtype=np.float32),
        "norm_wide": np.ones((BLOCKS, SIZE), dtype=np.float32),
        "norm_last": np.full(SIZE, _BLOCKS_SAY, dtype=np.float32),
        "norm_taste": np.ones(SIZE, dtype=np.float32),
        "attention_in": normal(BLOCKS, SIZE, 3 * SIZE, scale=thin),
        "attention_out": normal(BLOCKS, SIZE, SIZE, scale=0.5 * thin),
        "wide_in": normal(BLOCKS, SIZE, 2 * SIZE, scale=thin),
        "wide_out": normal(BLOCKS, 2 * SIZE, SIZE, scale=0.5 * thin),
    }


def _factors(liked: csr_matrix, seed: int) -> np.ndarray:
    """Factors of videos, of one mean length: float32 [videos, SIZE]."""
    users, videos = (np.asarray(liked.sum(axis=axis)).ravel() for axis in (1, 0))
    damped = diags((users + 1) ** -_DAMPING) @ liked @ diags((videos + 1) ** -_DAMPING)
    found = np.random.default_rng(seed).normal(0, 0.01, (len(videos), SIZE)).astype(np.float32)
    found[videos == 0] = 0.0
    rank = min(SIZE, *liked.shape)
    if liked.nnz and rank:
        _, strength, axes = randomized_svd(damped.tocsr(), rank, random_state=seed)
        found[:, :rank] += axes.T * np.sqrt(strength)
    known = found[videos > 0]
    return found * np.float32(_LENGTH / max(np.sqrt((known**2).sum() / max(len(known), 1)), 1e-6))


def _explained(factors: np.ndarray, items: ItemFacts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Factors split into parts of groups and text, and the video's own rest, which unliked ones lack."""
    is_known = (factors != 0).any(axis=1)
    rest = factors.copy()
    group = np.zeros((len(items.group_key), SIZE), dtype=np.float32)
    for codes in items.groups.T:
        count = np.bincount(codes[is_known], minlength=len(group))
        sums = np.column_stack(
            [np.bincount(codes[is_known], column, minlength=len(group)) for column in rest[is_known].T]
        )
        found = (sums / (count + _SHRINK_VIDEOS)[:, None]).astype(np.float32)
        found[0] = 0.0  # unknown
        group += found
        rest[is_known] -= found[codes[is_known]]
    known = items.text[is_known]
    ridge = known.T @ known + _RIDGE * np.eye(known.shape[1], dtype=np.float32)
    text = np.linalg.solve(ridge, known.T @ rest[is_known]).astype(np.float32)
    rest[is_known] -= known @ text
    return rest, group, text
