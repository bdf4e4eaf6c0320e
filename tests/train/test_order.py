from kinema.train.order import batch_indices, epoch_order, step_seed


def test_every_clip_comes_once_per_epoch_whatever_the_batch_size():
    for size in (1, 3, 7, 10):
        seen = [index for start in range(0, 20 * size, size) for index in batch_indices(10, 0, start, size)]
        for epoch in range(len(seen) // 10):
            assert sorted(seen[10 * epoch : 10 * epoch + 10]) == list(range(10))


def test_the_order_does_not_depend_on_how_the_run_was_cut():
    whole = batch_indices(10, 7, 4, 12)
    assert whole == batch_indices(10, 7, 4, 5) + batch_indices(10, 7, 9, 7)


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = {tuple(epoch_order(32, seed, epoch)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9


def test_step_seeds_are_the_same_everywhere_and_differ_by_step():
    assert step_seed(0, "step", 48) == 100662235580563060
    assert len({step_seed(0, "step", clips) for clips in range(1000)}) == 1000
