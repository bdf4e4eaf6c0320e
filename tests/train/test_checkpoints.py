import torch

from kinema.train import checkpoints


def _save(folder, clips):
    return checkpoints.save(folder, clips, {"clips_seen": clips, "weights": {"a": torch.full((3,), float(clips))}})


def test_the_newest_checkpoint_is_loaded_and_older_ones_are_pruned(tmp_path):
    for clips in (10, 20, 30):
        _save(tmp_path, clips)
    state = checkpoints.load_latest(tmp_path)
    assert state is not None
    assert state["clips_seen"] == 30
    assert torch.equal(state["weights"]["a"], torch.full((3,), 30.0))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clips_000000020", "clips_000000030"]


def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, caplog):
    _save(tmp_path, 10)
    newest = _save(tmp_path, 20) / "state.pt"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    state = checkpoints.load_latest(tmp_path)
    assert state is not None
    assert state["clips_seen"] == 10
    assert "damaged" in caplog.text


def test_a_checkpoint_without_its_marker_does_not_count(tmp_path):
    (_save(tmp_path, 10) / "committed.json").unlink()
    assert checkpoints.load_latest(tmp_path) is None


def test_what_an_interrupted_write_leaves_is_ignored(tmp_path):
    _save(tmp_path, 10)
    (tmp_path / "clips_000000020.partial").mkdir()
    state = checkpoints.load_latest(tmp_path)
    assert state is not None
    assert state["clips_seen"] == 10


def test_an_empty_folder_has_no_checkpoint(tmp_path):
    assert checkpoints.load_latest(tmp_path) is None
