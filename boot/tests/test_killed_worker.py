"""A worker that is killed again and again in the middle of its deliveries."""

import time
from collections import Counter

import pytest

from boot.tests.portal import Portal
from common.tests.receiver import Answer, Receiver

pytestmark = [pytest.mark.process, pytest.mark.long]

EVENTS = 150
KILLS = 3
SHARE = 8  # attempts under way at once

EMIT = f"""
from common.tests.factories import make_event
for _ in range({EVENTS}):
    make_event()
"""


def test_every_event_arrives_although_the_worker_is_killed():
    """What was under way comes once more, after the lease: with the same id, and no other."""
    environment = {
        "PORTAL_WEBHOOK_TIMEOUT_SECONDS": "1",
        "PORTAL_WEBHOOK_CONCURRENCY_PER_ENDPOINT": str(SHARE),
    }
    with Receiver(default=Answer(delay=0.4)) as receiver, Portal(environment=environment) as portal:
        portal.start()
        added = portal.run("webhook", "add", receiver.url)
        assert added.returncode == 0, added.stderr
        emitted = portal.manage("shell", "--no-imports", "-c", EMIT)
        assert emitted.returncode == 0, emitted.stderr
        for kill in range(KILLS):
            receiver.wait_for((kill + 1) * 2 * SHARE, timeout=60)
            portal.wait()  # it may just be starting after the last time
            portal.kill("worker")

        give_up = time.monotonic() + 150
        while len(seen := ids(receiver)) < EVENTS and time.monotonic() < give_up:
            time.sleep(0.2)

    assert len(seen) == EVENTS
    repeated = sum(count - 1 for count in seen.values())
    assert repeated <= KILLS * SHARE
    assert max(seen.values()) <= 1 + KILLS


def ids(receiver: Receiver) -> Counter[str]:
    return Counter(request.headers["webhook-id"] for request in list(receiver.received))
