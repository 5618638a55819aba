"""The fair line against what it promises, under any order of arrivals and departures."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from slidekin_server.admission.line import FairLine, Place
from slidekin_server.admission.ticket import Ticket
from slidekin_server.callers import Caller, Urgency

IDENTITIES = "abc"
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("join"), st.sampled_from(IDENTITIES), st.sampled_from(Urgency)),
        st.tuples(st.just("leave"), st.integers(0, 100), st.none()),
        st.tuples(st.just("next"), st.none(), st.none()),
    ),
    max_size=120,
)


@settings(max_examples=200, deadline=None)
@given(steps=STEPS, bulk_every=st.integers(2, 5))
def test_nobody_is_lost_forgotten_or_passed_over(steps: list, bulk_every: int):  # noqa: C901
    line: FairLine[int] = FairLine(bulk_every=bulk_every)
    waiting: dict[int, Place[int]] = {}
    skipped: Counter[tuple[str, Urgency]] = Counter()
    bulk_passed_over = 0
    for number, (step, first, urgency) in enumerate(steps):
        if step == "join":
            waiting[number] = line.join(Ticket(Caller(first, urgency)), number)
        elif step == "leave" and waiting:
            line.leave(waiting.pop(sorted(waiting)[first % len(waiting)]))
        elif step == "next":
            callers = {place.ticket.caller for place in waiting.values()}
            place = line.next()
            if not waiting:
                assert place is None
                continue
            # What was taken out waited; of its caller, nothing waits that came before it.
            assert waiting.pop(place.what) is place
            caller = place.ticket.caller
            earlier = [one for one in waiting.values() if one.ticket.caller == caller]
            assert all(one.ticket.number > place.ticket.number for one in earlier)
            # No identity is served a second time while another of its urgency waits all along.
            skipped[caller.identity, caller.urgency] = 0
            for other in callers - {caller}:
                if other.urgency is caller.urgency:
                    skipped[other.identity, other.urgency] += 1
                    assert skipped[other.identity, other.urgency] < len(IDENTITIES)
            # Bulk waits for at most so many turns; what is interactive is passed over by one alone.
            waits = {one.urgency for one in callers}
            if caller.urgency is Urgency.BULK and Urgency.INTERACTIVE in waits:
                assert bulk_passed_over == bulk_every - 1
            both = waits == set(Urgency) and caller.urgency is Urgency.INTERACTIVE
            bulk_passed_over = bulk_passed_over + 1 if both else 0
            assert bulk_passed_over < bulk_every
        held = {(p.ticket.caller.identity, p.ticket.caller.urgency) for p in waiting.values()}
        for key in set(skipped) - held:
            del skipped[key]
        assert len(line) == len(waiting)
    left = set()
    while (place := line.next()) is not None:
        left.add(place.what)
    assert left == set(waiting)
