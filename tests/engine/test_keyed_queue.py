"""The keyed queue against a model: whatever the order of calls, no key runs twice at a time and no wish is lost."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from contrail_vsphere.engine.queue import KeyedQueue

KEYS = st.sampled_from("abcd")
TIMES = st.integers(0, 20).map(float)


class QueueMachine(RuleBasedStateMachine):
    """Model: the earliest wish per key, and the running set."""

    def __init__(self):
        super().__init__()
        self.queue = KeyedQueue[str]()
        self.wishes = {}
        self.running = set()
        self.now = 0.0

    @rule(key=KEYS, at=TIMES)
    def mark(self, key, at):
        covered = key in self.wishes and self.wishes[key] <= at
        assert self.queue.mark(key, at) is not covered
        self.wishes[key] = min(at, self.wishes.get(key, at))

    @rule(step=TIMES)
    def take(self, step):
        self.now += step
        ready = {key: at for key, at in self.wishes.items() if at <= self.now and key not in self.running}
        key = self.queue.take(self.now)
        if not ready:
            assert key is None
            return
        assert key in ready
        assert ready[key] == min(ready.values())
        del self.wishes[key]
        self.running.add(key)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def done(self, data):
        key = data.draw(st.sampled_from(sorted(self.running)))
        self.queue.done(key)
        self.running.remove(key)

    @rule(key=KEYS)
    def forget(self, key):
        self.queue.forget(key)
        self.wishes.pop(key, None)

    @invariant()
    def agrees(self):
        waiting = [at for key, at in self.wishes.items() if key not in self.running]
        assert self.queue.next_due() == (min(waiting) if waiting else None)
        assert self.queue.running == self.running
        assert self.queue.waiting == len(self.wishes)
        assert all((key in self.queue) is (key in self.wishes) for key in "abcd")


TestKeyedQueue = QueueMachine.TestCase


@given(st.lists(KEYS, min_size=1, max_size=50))
def test_any_number_of_marks_is_one_pass_per_key(keys):
    queue = KeyedQueue[str]()
    for key in keys:
        queue.mark(key, 0.0)
    taken = []
    while (key := queue.take(0.0)) is not None:
        taken.append(key)
    assert taken == list(dict.fromkeys(keys))
