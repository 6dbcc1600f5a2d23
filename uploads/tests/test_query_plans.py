"""The queries of lists, claims and sweeps use their indexes, with many rows about."""

from datetime import date, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.tests.factories import make_user, principal_of
from boot.tests.database import empty_filled_tables
from uploads import selectors
from uploads.files import grants, notices, retention
from uploads.files.batches import idle_batches
from uploads.files.finding import FileFilters, Order, find_files
from uploads.models import FileStatus, IngestFile, UploadBatch, UploadGrant, UploadSession
from uploads.receiving import abandoned
from uploads.tests.factories import make_grant, make_rows


@pytest.fixture(scope="module")
def crowd(django_db_setup, django_db_blocker):
    """A user with many files among many others, gone after the module."""
    with django_db_blocker.unblock():
        user, others = make_user(), [make_user() for _ in range(10)]
        batch = UploadBatch.objects.create(created_by=user)
        now = timezone.now()
        for other in others:
            make_rows(20, user=other)
            make_rows(20, user=other, status=FileStatus.DELETED, purge_at=now, purged_at=now)
        multiply_files(50)
        make_guests_rows(others[0])
        make_rows(1000, user=user, status=FileStatus.DELETED, purge_at=now, purged_at=now)
        make_rows(200, user=user)
        make_rows(50, user=user, batch=batch)
        make_rows(20, user=user, expires_at=now - timedelta(hours=1))
        make_rows(20, user=user, expires_at=now + timedelta(minutes=5))
        make_rows(20, user=user, status=FileStatus.DELETED, purge_at=now)
        make_sessions(others[0], now)
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE ingest_file, upload_session, upload_batch, upload_grant")
        yield user, batch
        empty_filled_tables()


def multiply_files(times: int) -> None:
    """So many copies of every row, by the database itself: older than all that come later."""
    names = [field.column for field in IngestFile._meta.concrete_fields]
    older = "overlay(gen_random_uuid()::text placing '00' from 1 for 2)::uuid"
    values = [older if name == "id" else name for name in names]
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO ingest_file ({', '.join(names)}) "  # noqa: S608
            f"SELECT {', '.join(values)} FROM ingest_file, generate_series(1, {times})"
        )


def make_guests_rows(user) -> UploadGrant:
    """A grant with many files among those of as many other grants."""
    grants = [make_grant(user=user)[0] for _ in range(5)]
    for grant in grants:
        make_rows(300, user=user, grant=grant)
    return grants[0]


def make_sessions(user, now) -> None:
    files = IngestFile.objects.filter(uploaded_by=user).values_list("id", flat=True)[:2000]
    UploadSession.objects.bulk_create(
        [
            UploadSession(
                file_id=file_id,
                created_by=user,
                status="in_progress" if number % 100 == 0 else "complete",
                length_bytes=1,
                received_bytes=1,
                chunk_size_bytes=1,
                total_parts=1,
                received_parts_count=1,
                parts_purged_at=None if number % 100 == 1 else now,
                spool_key=f"{number}",
                request_digest="",
                idempotency_key=f"{number}",
                last_activity_at=now - timedelta(days=10 * (number % 200 == 0)),
            )
            for number, file_id in enumerate(files)
        ],
        batch_size=2000,
    )


def plans(call) -> str:
    """The plans of every query that `call` makes on the tables of uploads."""
    with CaptureQueriesContext(
        connection,
    ) as captured:
        call()
    queries = [q["sql"] for q in captured if q["sql"].startswith("SELECT") and '"' in q["sql"]]
    lines = []
    with connection.cursor() as cursor:
        for query in queries:
            if "ingest_file" in query or "upload_" in query:
                cursor.execute("EXPLAIN " + query)
                lines += [row[0] for row in cursor.fetchall()]
    return "\n".join(lines)


def assert_uses(plan: str, index: str) -> None:
    assert index in plan, plan
    assert_no_scan(plan)


def assert_no_scan(plan: str) -> None:
    assert "Seq Scan on ingest_file" not in plan, plan
    assert "Seq Scan on upload_session" not in plan, plan


def test_the_list_of_a_users_files(db, crowd):
    user, _ = crowd
    page = selectors.files_page(principal=principal_of(user), limit=50)
    assert_uses(
        plans(lambda: selectors.files_page(principal=principal_of(user), limit=50)),
        "ingest_file_of_user",
    )
    plan = plans(
        lambda: selectors.files_page(
            principal=principal_of(user), limit=50, cursor=page.next_cursor
        )
    )
    assert_uses(plan, "ingest_file_of_user")
    assert "Sort" not in plan


def test_the_list_of_one_status(db, crowd):
    user, _ = crowd
    plan = plans(lambda: selectors.files_page(principal=principal_of(user), status="stored"))
    assert_uses(plan, "ingest_file_by_status")
    assert "Sort" not in plan


@pytest.mark.parametrize(
    ("filters", "index"),
    [
        (FileFilters(kind="video"), "ingest_file_by_kind"),
        (FileFilters(order=Order.LARGEST), "ingest_file_by_size"),
        (FileFilters(min_size=2**40), "ingest_file_by_size"),
        (FileFilters(order=Order.NAME), "ingest_file_by_name"),
        (FileFilters(order=Order.OLDEST), "ingest_file_of_user"),
        (FileFilters(since=date(2100, 1, 1)), "ingest_file_pkey"),
    ],
)
def test_each_filter_and_order_of_a_users_files(db, crowd, filters: FileFilters, index: str):
    user, _ = crowd
    plan = plans(lambda: find_files(principal=principal_of(user), filters=filters))
    assert_uses(plan, index)


def test_the_search_for_words_of_names(db, crowd):
    user, _ = crowd
    filters = FileFilters(search="nothing 0417")
    plan = plans(lambda: find_files(principal=principal_of(user), filters=filters))
    assert_uses(plan, "ingest_file_words")


def test_unfinished_uploads(db, crowd):
    user, _ = crowd
    plan = plans(lambda: selectors.unfinished_page(principal=principal_of(user)))
    assert_uses(plan, "upload_session_unfinished")


def test_the_files_of_a_batch(db, crowd):
    user, batch = crowd
    plan = plans(
        lambda: selectors.batch_files_page(principal=principal_of(user), batch_id=batch.id)
    )
    assert_no_scan(plan)


def test_a_search(db, crowd):
    user, _ = crowd
    plan = plans(lambda: selectors.files_page(principal=principal_of(user), search="row 7"))
    assert_no_scan(plan)


def test_the_dashboard(db, crowd):
    user, _ = crowd
    plan = plans(lambda: selectors.dashboard(principal=principal_of(user)))
    assert_uses(plan, "ingest_file_by_status")


def test_one_file(db, crowd):
    user, _ = crowd
    file = IngestFile.objects.filter(uploaded_by=user).first()
    assert_no_scan(plans(lambda: selectors.get_file(principal=principal_of(user), file_id=file.id)))


def test_the_list_of_a_guests_files(db, crowd):
    grant = UploadGrant.objects.select_related("owner").first()
    plan = plans(lambda: selectors.files_page(principal=grants.principal_of(grant)))
    assert_uses(plan, "ingest_file_of_grant")
    assert "Sort" not in plan


def test_what_came_by_an_upload_link(db, crowd):
    grant = UploadGrant.objects.select_related("owner").first()
    owner = principal_of(grant.owner)
    plan = plans(lambda: selectors.grant_files_page(principal=owner, grant_id=grant.id))
    assert_uses(plan, "ingest_file_of_grant")
    assert_uses(plans(lambda: notices.news_of(grant)), "ingest_file_came")
    filters = FileFilters(grant=grant.id, order=Order.LARGEST)
    assert_no_scan(plans(lambda: find_files(principal=owner, filters=filters)))


def test_a_session_by_its_idempotency_key(db, crowd):
    owner = UploadSession.objects.values_list("created_by", flat=True)[0]
    plan = plans(
        lambda: UploadSession.objects.filter(
            created_by=owner, grant_id=None, idempotency_key="7"
        ).first()
    )
    assert_uses(plan, "upload_session_idempotency")


def test_the_sweep_of_expiring_files(db, crowd):
    assert_uses(plans(retention.notify_expiring_files), "ingest_file_expiry_unnotified")


def test_the_sweep_of_expired_files(db, crowd):
    plan = plans(expired_ids)
    assert_uses(plan, "ingest_file_expiry")


def expired_ids():
    """As `expire_files` asks; the marking itself goes by primary key."""
    with CaptureQueriesContext(connection) as captured:
        retention.expire_files()
    sql = next(query["sql"] for query in captured if query["sql"].startswith("SELECT"))
    with connection.cursor() as cursor:
        cursor.execute(sql)


def test_the_sweep_of_bytes_to_remove(db, crowd):
    assert_uses(plans(retention.purge_files), "ingest_file_purge")


def test_the_sweep_of_idle_sessions(db, crowd):
    plan = plans(lambda: list(abandoned._idle_sessions().order_by("last_activity_at")[:200]))
    assert_uses(plan, "upload_session_idle")


def test_the_sweep_of_leftover_spools(db, crowd):
    assert_uses(plans(abandoned.remove_leftover_spools), "upload_session_spool_left")


def test_the_sweep_of_the_parts_of_ended_sessions(db, crowd):
    assert_uses(plans(abandoned.purge_parts), "upload_session_parts_left")


def test_the_sweep_of_idle_batches(db, crowd):
    user, _ = crowd
    now = timezone.now()
    UploadBatch.objects.bulk_create(
        UploadBatch(created_by=user, closed_at=now if number % 100 else None)
        for number in range(5000)
    )
    UploadBatch.objects.update(updated_at=now - timedelta(days=10))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE upload_batch")
    plan = plans(lambda: list(idle_batches().order_by("updated_at")[:200]))
    assert_uses(plan, "upload_batch_idle")
    assert "Seq Scan on upload_batch" not in plan
