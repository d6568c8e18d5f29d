"""Sorts by floating-point scores in linear time, by the bytes of a whole number that is in the same order.

Equal scores stay in the order given, which NumPy's fastest sorts do not promise.
"""

import numpy as np

from nightreel.core.compiled import compiled

_SIGN, _BYTE, _BITS = np.uint64(1 << 63), np.uint64(0xFF), np.uint64(8)
_BYTES, _VALUES = 8, 256
_LOWEST = np.float64(-np.inf).view(np.uint64)


@compiled
def _falling(score: float, bits: np.uint64) -> np.uint64:
    """A number that is the smaller the higher the score is; the largest for NaN.

    Args:
        bits: the same score's.
    """
    if np.isnan(score):
        return ~np.uint64(0)
    if score == 0.0:  # with either sign
        bits = np.uint64(0)
    return bits if bits & _SIGN else ~(bits | _SIGN)


@compiled
def rows_by_score(rows: np.ndarray, starts: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Each user's rows by falling score, NaN last: int64 [rows].

    Args:
        rows: int64, user after user; `starts`, int64 [users + 1], says where each begins.
        score: float64, of each row by its number.
    """
    bits, found = score.view(np.uint64), rows.copy()
    longest = 0
    for user in range(len(starts) - 1):
        longest = max(longest, starts[user + 1] - starts[user])
    keys, other_keys = np.empty(longest, dtype=np.uint64), np.empty(longest, dtype=np.uint64)
    others = np.empty(longest, dtype=np.int64)
    counts = np.empty((_BYTES, _VALUES), dtype=np.int64)
    for user in range(len(starts) - 1):
        own = found[starts[user] : starts[user + 1]]
        for index in range(len(own)):
            keys[index] = _falling(score[own[index]], bits[own[index]])
        _sort(keys[: len(own)], own, other_keys, others, counts)
    return found


@compiled
def rising(score: np.ndarray, marks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of rising scores, the same where two scores are, and what each one is marked with.

    Args:
        score: float64; NaN counts as the lowest.
        marks: uint8, one for each score.

    Returns:
        uint64 and uint8, in the order of the scores.
    """
    bits = score.view(np.uint64)
    keys, found = np.empty(len(score), dtype=np.uint64), marks.copy()
    for index in range(len(score)):
        value = score[index]
        keys[index] = ~_falling(value, bits[index]) if not np.isnan(value) else ~_falling(-np.inf, _LOWEST)
    counts = np.empty((_BYTES, _VALUES), dtype=np.int64)
    _sort(keys, found, np.empty_like(keys), np.empty_like(found), counts)
    return keys, found


@compiled
def _sort(
    keys: np.ndarray, values: np.ndarray, other_keys: np.ndarray, others: np.ndarray, counts: np.ndarray
) -> None:
    """Sort keys, and values with them: both are changed. The others are room for as many, and for counts."""
    size = len(keys)
    counts[:] = 0
    for index in range(size):
        key = keys[index]
        for byte in range(_BYTES):
            counts[byte, key & _BYTE] += 1
            key >>= _BITS
    is_here = True
    for byte in range(_BYTES):
        own, shift = counts[byte], np.uint64(8 * byte)
        if not size or own[(keys[0] >> shift) & _BYTE] == size:
            continue  # all are equal in this byte
        total = 0
        for value in range(_VALUES):
            count = own[value]
            own[value] = total
            total += count
        if is_here:
            _move(keys, values, other_keys, others, shift, own, size)
        else:
            _move(other_keys, others, keys, values, shift, own, size)
        is_here = not is_here
    if not is_here:
        keys[:] = other_keys[:size]
        values[:] = others[:size]


@compiled
def _move(
    keys: np.ndarray,
    values: np.ndarray,
    to_keys: np.ndarray,
    to: np.ndarray,
    shift: np.uint64,
    positions: np.ndarray,
    size: int,
) -> None:
    """Move keys and values to where the byte at `shift` bits says, those of equal bytes in turn."""
    for index in range(size):
        key = keys[index]
        byte = (key >> shift) & _BYTE
        to_keys[positions[byte]], to[positions[byte]] = key, values[index]
        positions[byte] += 1
