"""How long a lane was held back, and how old its oldest event is."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sendoff._ages import MOST_MARKS, Downtime, Marks

QUICK = settings(derandomize=True, deadline=None, max_examples=150)


def test_downtimes_add_up():
    """From the first word that it is down to the first that it is not; the present one counts."""
    downtime = Downtime()
    seen = []
    for now, down in ((1.0, False), (2.0, True), (3.0, True), (5.0, False), (6.0, False)):
        downtime.note(now, down=down)
        seen.append(downtime.seconds(now))
    downtime.note(10.0, down=True)
    assert [*seen, downtime.seconds(12.5)] == [0.0, 0.0, 1.0, 3.0, 3.0, 5.5]


def test_a_downtime_goes_on_with_another_clock():
    """A loop whose clock begins at 0 again neither adds nor takes away."""
    downtime = Downtime()
    downtime.note(100.0, down=True)
    downtime.resume(3.0)
    assert downtime.seconds(3.0) == 0.0
    downtime.note(5.0, down=False)
    assert downtime.seconds(9.0) == 2.0


@QUICK
@given(
    steps=st.lists(
        st.tuples(st.floats(0.01, 100.0), st.integers(0, 5), st.integers(0, 5), st.booleans()),
        max_size=200,
    )
)
def test_the_age_is_never_overstated(steps):
    """
    Events come and go in order; asked now and then, the age is at most the true one, and short of
    it by no more than the time between two questions, as long as few enough are remembered.
    """
    marks = Marks()
    came: list[float] = []
    now, oldest, asked_at, widest = 0.0, 0, 0.0, 0.0
    for gap, coming, going, asks in steps:
        now += gap
        came += [now] * coming
        oldest = min(len(came), oldest + going)
        if asks:
            widest = max(widest, now - asked_at)
            asked_at = now
            age = marks.age(oldest, len(came), now)
            true = now - came[oldest] if oldest < len(came) else 0.0
            assert age <= true + 1e-9
            if len(marks._marks) < MOST_MARKS // 2:
                assert true - age <= widest + 1e-9
    assert len(marks._marks) <= MOST_MARKS


def test_many_questions_take_no_memory():
    """In an outage of a day somebody asks every second, and the age stays right."""
    marks = Marks()
    for second in range(86_400):
        age = marks.age(0, second + 1, float(second))
    assert age == 86_399.0
    assert len(marks._marks) <= MOST_MARKS
