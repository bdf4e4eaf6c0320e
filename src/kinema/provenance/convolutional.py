"""A convolutional code: a few bits become many signs, and come back out of noisy ones.

Constraint length 9, rate 1/6, ended by zeros. Decoding is maximum likelihood (Viterbi 1967), on all 256 states of a
step at once; a second pass from the end gives how much each bit is better than its opposite.
"""

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Signs = NDArray[np.float32]

GENERATORS = (0o463, 0o535, 0o733, 0o745, 0o557, 0o663)
"""The taps of each of the signs that a bit makes: the best codes of rates 1/4 and 1/3 at this length, together."""

_MEMORY = 8
_STATES = 1 << _MEMORY


@dataclass(frozen=True)
class Decoded:
    """The likeliest message: its bits, its signs, its correlation with what came, and the lead of each of its bits."""

    bits: NDArray[np.int64]
    signs: Signs
    correlation: float
    leads: NDArray[np.float64]
    """For each bit, how much the correlation would fall if that bit had to be the other way round."""


def length(num_bits: int) -> int:
    """How many signs a message of that many bits becomes."""
    return (num_bits + _MEMORY) * len(GENERATORS)


def encode(bits: NDArray[np.int64]) -> Signs:
    """Turn bits (0 or 1; any number of messages, the last axis their bits) into signs of -1 and 1."""
    _, signs = _trellis()
    steps = []
    state = np.zeros(bits.shape[:-1], dtype=np.int64)
    for bit in np.moveaxis(_ended(bits), -1, 0):
        steps.append(signs[state, bit])
        state = _next(state, bit)
    return np.concatenate(steps, axis=-1)


def decode(received: NDArray[np.float64], num_bits: int) -> Decoded:
    """Find the message whose signs correlate best with what was received: one number per sign, of any size."""
    before, signs = _trellis()
    gains = received.reshape(-1, len(GENERATORS)) @ signs.reshape(-1, len(GENERATORS)).T.astype(np.float64)
    gains = gains.reshape(-1, _STATES, 2)  # of each state and bit
    num_steps = len(gains)
    forward = np.full((num_steps + 1, _STATES), -np.inf)
    forward[0, 0] = 0
    chosen = np.zeros((num_steps, _STATES), dtype=np.int64)
    arrives = np.arange(_STATES) & 1  # the bit that led here is the lowest of the state
    for step, gain in enumerate(gains):
        ways = forward[step, before] + gain[before, arrives[:, None]]
        if step >= num_bits:
            ways[arrives == 1] = -np.inf
        chosen[step] = np.argmax(ways, axis=1)
        forward[step + 1] = ways[np.arange(_STATES), chosen[step]]
    bits = np.zeros(num_steps, dtype=np.int64)
    state = 0
    for step in range(num_steps - 1, -1, -1):
        bits[step] = state & 1
        state = before[state, chosen[step, state]]
    leads = _leads(forward, gains, num_bits)
    return Decoded(bits[:num_bits], encode(bits[:num_bits]), float(forward[-1, 0]), leads)


def _leads(forward: NDArray[np.float64], gains: NDArray[np.float64], num_bits: int) -> NDArray[np.float64]:
    states = np.arange(_STATES)
    backward = np.full(_STATES, -np.inf)
    backward[0] = 0
    best = np.zeros((num_bits, 2))
    for step in range(len(gains) - 1, -1, -1):
        ways = np.stack([gains[step, :, bit] + backward[_next(states, np.int64(bit))] for bit in (0, 1)], axis=1)
        if step >= num_bits:
            backward = ways[:, 0]
            continue
        best[step] = (forward[step][:, None] + ways).max(axis=0)
        backward = ways.max(axis=1)
    leads: NDArray[np.float64] = np.abs(best[:, 1] - best[:, 0])
    return leads


def _ended(bits: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([bits, np.zeros((*bits.shape[:-1], _MEMORY), dtype=np.int64)], axis=-1)


def _next(state: NDArray[np.int64], bit: NDArray[np.int64] | np.int64) -> NDArray[np.int64]:
    following: NDArray[np.int64] = ((state << 1) | bit) & (_STATES - 1)
    return following


@functools.cache
def _trellis() -> tuple[NDArray[np.int64], Signs]:
    """The two states before each state, and the signs "states bits generators" of each step."""
    states = np.arange(_STATES)
    before = np.stack([states >> 1, (states >> 1) | (_STATES >> 1)], axis=1)
    window = (states[:, None] << 1) | np.arange(2)  # the last nine bits, the new one lowest
    taps = np.array(GENERATORS)
    parity = np.bitwise_count((window[..., None] & taps).astype(np.uint64)) & 1
    return before, (1 - 2 * parity.astype(np.int64)).astype(np.float32)
