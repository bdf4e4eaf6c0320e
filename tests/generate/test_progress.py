import pytest

from kinema.errors import JobCancelled
from kinema.generate.progress import Tracker


def test_every_step_is_reported_with_the_time_left():
    reports = []
    tracker = Tracker(reports.append)
    tracker.begin("denoise", 3)
    for _ in range(3):
        tracker.advance()
    assert [(report.stage, report.step, report.total) for report in reports] == [("denoise", i, 3) for i in range(4)]
    assert reports[0].eta_s is None
    assert reports[-1].eta_s == 0


def test_a_run_stops_at_the_step_at_which_it_is_cancelled():
    asked = iter([False, False, True])
    tracker = Tracker(is_cancelled=lambda: next(asked))
    tracker.begin("denoise", 5)
    tracker.advance()
    with pytest.raises(JobCancelled, match="step 2 of 5"):
        tracker.advance()
