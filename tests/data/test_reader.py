from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from kinema.data.reader import Reader, epoch_batches
from kinema.data.store import Store
from kinema.errors import DataError, SpecError

SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("latent_id", "clip_id", "bucket", "fingerprint", "lineage", "caption")]
    + [("latent", pa.large_binary()), ("latent_shape", pa.list_(pa.int32()))]
    + [("text", pa.large_binary()), ("text_shape", pa.list_(pa.int32()))]
)


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("encoded") / "d", create=True)
    store.ensure("latents", SCHEMA)
    rows = []
    for k in range(23):
        bucket = "wide" if k % 3 else "tall"
        shape = (2, 1, 2, 4) if bucket == "wide" else (2, 1, 4, 2)
        rows.append(
            {
                "latent_id": f"{k:02}", "clip_id": f"c{k}", "bucket": bucket, "fingerprint": "m", "lineage": str(k),
                "caption": f"caption {k}", "latent": np.full(shape, k, np.float16).tobytes(), "latent_shape": shape,
                "text": np.full((k % 4 + 1, 3), k, np.float16).tobytes(), "text_shape": (k % 4 + 1, 3),
            }
        )  # fmt: skip
    store.upsert("latents", rows, SCHEMA)
    return store


def ids(reader: Reader, epoch: int, start: int = 0) -> list[list[str]]:
    return [batch.clip_ids for batch in reader.batches(epoch, start)]


def test_each_clip_comes_once_per_epoch_in_batches_of_one_bucket(encoded: Store) -> None:
    reader = Reader(encoded, 4, seed=3)
    batches = list(reader.batches(0))
    assert sorted(name for batch in batches for name in batch.clip_ids) == sorted(f"c{k}" for k in range(23))
    for batch in batches:
        for name, caption, latent, text in zip(batch.clip_ids, batch.captions, batch.latents, batch.texts, strict=True):
            number = int(name[1:])
            assert batch.bucket == ("wide" if number % 3 else "tall")
            assert caption == f"caption {number}"
            assert np.all(latent == number)
            assert text.shape == (number % 4 + 1, 3)


@pytest.mark.parametrize("count", [2, 4])
def test_several_readers_read_what_one_does_in_the_same_order(encoded: Store, count: int) -> None:
    whole = ids(Reader(encoded, 4, seed=3), 5)
    parts = [ids(Reader(encoded, 4, seed=3, reader=k, num_readers=count), 5) for k in range(count)]
    assert [parts[k % count][k // count] for k in range(len(whole))] == whole


def test_a_resumed_reader_goes_on_where_it_stopped(encoded: Store) -> None:
    whole = ids(Reader(encoded, 4, seed=3), 1)
    for start in range(len(whole) + 1):
        assert ids(Reader(encoded, 4, seed=3), 1, start) == whole[start:]


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    buckets = {"a": [str(k) for k in range(40)], "b": [f"b{k}" for k in range(9)]}
    order = epoch_batches(buckets, 4, 0, 0)
    assert order == epoch_batches({"b": buckets["b"][::-1], "a": buckets["a"][::-1]}, 4, 0, 0)
    assert order != epoch_batches(buckets, 4, 0, 1)
    assert order != epoch_batches(buckets, 4, 1, 0)


def test_what_another_model_encoded_is_refused(encoded: Store, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="another model"):
        Reader(encoded, 4, fingerprint="n")
    with pytest.raises(DataError, match="run the stage `encode`"):
        Reader(Store(tmp_path / "d", create=True), 4)
    with pytest.raises(SpecError, match="0 to 1"):
        Reader(encoded, 4, reader=2, num_readers=2)
