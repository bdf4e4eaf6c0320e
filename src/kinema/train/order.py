"""Which clip comes when, and which noise: pure functions of the seed and of progress, so that a resume is exact."""

import hashlib

import numpy as np


def epoch_order(num_items: int, seed: int, epoch: int) -> np.ndarray:
    """Give the order in which epoch `epoch` visits the items: a pure function of its arguments."""
    return np.random.Generator(np.random.PCG64([seed, epoch])).permutation(num_items)


def batch_indices(num_items: int, seed: int, clips_seen: int, batch_size: int) -> list[int]:
    """Give the items of the batch that starts after `clips_seen`: every item comes once per epoch."""
    positions = range(clips_seen, clips_seen + batch_size)
    orders = {epoch: epoch_order(num_items, seed, epoch) for epoch in {position // num_items for position in positions}}
    return [int(orders[position // num_items][position % num_items]) for position in positions]


def step_seed(*parts: int | str) -> int:
    """Turn what identifies a step into a 63-bit seed, the same on every machine."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8]) >> 1
