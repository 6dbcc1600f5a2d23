"""The portal looks at itself: a walk through every store each day, in slices, changing nothing."""

import logging
from collections.abc import Iterable
from datetime import timedelta
from itertools import islice

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from uploads.checking.findings import Finding
from uploads.checking.walking import Walk
from uploads.models import StorageCheck
from uploads.storage import configured, named
from uploads.storage.base import ListsObjects

logger = logging.getLogger(__name__)

SLICE = 20_000  # keys
KEPT = 30  # checks of a backend


def check_slice() -> int:
    """Go on with the check of each store, or begin one that is due; how many keys were compared."""
    return sum(_slice_of(check) for backend in configured() if (check := _under_way(backend)))


def latest() -> list[StorageCheck]:
    """The last finished check of each backend."""
    finished = StorageCheck.objects.filter(finished_at__isnull=False)
    return list(finished.order_by("backend", "-id").distinct("backend"))


def _under_way(backend: str) -> StorageCheck | None:
    """The check to go on with; None: none is due."""
    if not isinstance(named(backend).objects, ListsObjects):
        return None
    checks = StorageCheck.objects.filter(backend=backend)
    if check := checks.filter(finished_at__isnull=True).first():
        return check
    every = timedelta(hours=settings.PORTAL_STORAGE_CHECK_HOURS)
    if not every or checks.filter(created_at__gt=Now() - every).exists():
        return None
    try:
        with transaction.atomic():
            return StorageCheck.objects.create(backend=backend)
    except IntegrityError:  # another worker has just begun it
        return None


def _slice_of(check: StorageCheck) -> int:
    walk = Walk(named(check.backend), position=check.position)
    found = _logged(walk.files(most=SLICE))
    if not walk.position:
        found += _logged(walk.uploads())
    counts = {
        kind: check.findings.get(kind, 0) + walk.tally.findings.get(kind, 0)
        for kind in check.findings.keys() | walk.tally.findings.keys()
    }
    # Another worker may have done the same slice: one of them counts.
    went_on = StorageCheck.objects.filter(
        id=check.id, position=check.position, finished_at__isnull=True
    ).change(
        position=walk.position,
        objects_seen=check.objects_seen + walk.tally.objects,
        size_bytes=check.size_bytes + walk.tally.size_bytes,
        rows_seen=check.rows_seen + walk.tally.rows,
        findings=counts,
        examples=[*check.examples, *map(str, found)][: StorageCheck.MOST_EXAMPLES],
        finished_at=None if walk.position else Now(),
    )
    if went_on and not walk.position:
        _report(check.backend, counts)
    return walk.tally.objects + walk.tally.rows


def _logged(findings: Iterable[Finding]) -> list[Finding]:
    """The first findings of a slice; all of them are counted, and these are logged."""
    findings = iter(findings)
    first = list(islice(findings, StorageCheck.MOST_EXAMPLES))
    for finding in first:
        logger.warning("Storage check: %s", finding)
    for _ in findings:
        pass
    return first


def _report(backend: str, counts: dict[str, int]) -> None:
    if counts:
        told = ", ".join(f"{number} {kind}" for kind, number in sorted(counts.items()))
        logger.error(
            "Storage check of %s: %s. See them with: ./doorito storage check", backend, told
        )
    else:
        logger.info("Storage check of %s: rows and bytes agree.", backend)
    old = StorageCheck.objects.filter(backend=backend).order_by("-id")[KEPT:]
    StorageCheck.objects.filter(id__in=list(old.values_list("id", flat=True))).delete()
