import numpy as np

from kinema.provenance.convolutional import decode, encode, length


def _message(seed: int, num_bits: int = 40) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, num_bits)


def test_what_was_encoded_is_decoded() -> None:
    for seed in range(5):
        bits = _message(seed)
        signs = encode(bits)
        assert signs.shape == (length(40),)
        assert set(np.unique(signs)) == {-1, 1}
        found = decode(signs.astype(np.float64), 40)
        assert (found.bits == bits).all()
        assert (found.signs == signs).all()
        assert found.correlation == length(40)


def test_many_messages_are_encoded_as_each_alone() -> None:
    bits = np.stack([_message(seed) for seed in range(4)])
    assert (encode(bits) == np.stack([encode(each) for each in bits])).all()


def test_noise_more_than_twice_as_strong_as_the_signs_is_mended() -> None:
    """At 288 signs for 40 bits and a noise of variance 2.25, each sign alone is wrong in one case of four."""
    noise = np.random.default_rng(0)
    right = 0
    for seed in range(40):
        bits = _message(seed)
        found = decode(encode(bits) + noise.normal(0, 1.5, length(40)), 40)
        right += bool((found.bits == bits).all())
    assert right >= 36


def test_the_decoded_message_correlates_best_of_all() -> None:
    """Against every message of 10 bits."""
    everything = (np.arange(1 << 10)[:, None] >> np.arange(10)) & 1
    codes = encode(everything)
    for seed in range(5):
        received = np.random.default_rng(seed).normal(size=length(10))
        correlations = codes @ received
        found = decode(received, 10)
        assert np.isclose(found.correlation, correlations.max())
        assert (found.bits == everything[np.argmax(correlations)]).all()
        for place in range(10):
            other = everything[:, place] != found.bits[place]
            assert np.isclose(found.leads[place], correlations.max() - correlations[other].max())
