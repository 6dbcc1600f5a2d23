"""Starting, cancelling and retrying runs, also all at once; what runs mean for their files."""

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import User
from accounts.tests.factories import make_user, principal_of
from common.errors import Conflict, DooritoError, Gone, NotFound, UnsupportedType
from common.models import OutboxEvent
from common.tests.threads import at_once, results_and_errors
from uploads import selectors
from uploads.files import batches, lifecycle, retention, states
from uploads.models import (
    AttemptOutcome,
    FileStatus,
    IngestFile,
    RunStatus,
    RunTrigger,
    WorkflowRun,
)
from uploads.tests.factories import make_expired, make_session, make_stored
from uploads.tests.workflow_factories import (
    claim_run,
    make_cancelled,
    make_completed,
    make_failed,
    make_handed_over,
    make_run,
    make_running,
    make_workflow,
)
from uploads.workflows import claims, leftovers, queue, runs
from uploads.workflows.claims import Failure
from uploads.workflows.starting import start

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_run_kicks")]


def reloaded(row):
    row.refresh_from_db()
    return row


def make_uploading(**values):
    return make_session(b"0123456789", **values).file


def start_on(file, workflow=None):
    workflow = workflow or make_workflow()
    return runs.start_run(
        principal=principal_of(file.uploaded_by), file_id=file.id, workflow=workflow
    )


def test_a_run_takes_the_workflows_configuration_and_limits_as_they_are_then():
    workflow = make_workflow(config={"language": "pl"}, max_attempts=5, consumes_file=True)
    run = start_on(make_stored(), workflow)
    assert (run.config, run.attempts_left, run.consumes_file) == ({"language": "pl"}, 5, True)
    assert (run.trigger, run.status) == (RunTrigger.USER, RunStatus.PENDING)
    assert run.owner == run.started_by == run.file.uploaded_by


def test_somebody_elses_file_does_not_exist():
    with pytest.raises(NotFound):
        runs.start_run(
            principal=principal_of(make_user()), file_id=make_stored().id, workflow=make_workflow()
        )


@pytest.mark.parametrize(("make", "error"), [(make_uploading, Conflict), (make_expired, Gone)])
def test_only_a_stored_file_is_worked_on(make, error):
    with pytest.raises(error):
        start_on(make())
    assert not WorkflowRun.objects.exists()


def test_a_type_that_is_not_accepted_is_refused():
    with pytest.raises(UnsupportedType, match="image/png"):
        start_on(make_stored(), make_workflow(accepted_types=["image/png"]))


def test_an_inactive_workflow_is_not_started():
    with pytest.raises(Conflict) as refused:
        start_on(make_stored(), make_workflow(is_active=False))
    assert refused.value.code == "workflow_inactive"


def test_of_many_starts_at_once_one_wins_and_the_others_learn_which():
    file, workflow = make_stored(), make_workflow()
    outcomes = results_and_errors([lambda: start_on(file, workflow)] * 6)
    errors = [outcome for outcome in outcomes if isinstance(outcome, DooritoError)]
    (run,) = WorkflowRun.objects.all()
    assert len(errors) == 5
    assert {error.code for error in errors} == {"run_active"}
    assert {error.extra["run_id"] for error in errors} == {str(run.id)}


def test_members_that_are_marked_so_can_be_changed_for_one_run():
    workflow, file = make_workflow(config={"address": "http://a/"}), make_stored()
    run = start(
        principal=principal_of(file.uploaded_by),
        file_id=file.id,
        slug=workflow.slug,
        changes={"language": "fr"},
    )
    assert run.config == {"language": "fr", "address": "http://a/"}


def test_other_members_are_administrators_alone():
    workflow, file = make_workflow(), make_stored()
    changes = {"address": "http://mine/"}
    with pytest.raises(DooritoError) as refused:
        start(
            principal=principal_of(file.uploaded_by),
            file_id=file.id,
            slug=workflow.slug,
            changes=changes,
        )
    assert refused.value.code == "config_fixed"
    admin = User.objects.create_superuser("root@example.org")
    own = make_stored(user=admin)
    run = start(
        principal=principal_of(own.uploaded_by), file_id=own.id, slug=workflow.slug, changes=changes
    )
    assert run.config == changes


def test_a_wrong_configuration_names_the_field():
    workflow, file = make_workflow(), make_stored()
    with pytest.raises(DooritoError) as refused:
        start(
            principal=principal_of(file.uploaded_by),
            file_id=file.id,
            slug=workflow.slug,
            changes={"langage": "x"},
        )
    assert refused.value.extra["errors"][0]["field"] == "langage"


# --- Rules ---------------------------------------------------------------------------------------


def test_a_rule_starts_a_run_in_the_transaction_that_stores_the_file():
    workflow = make_workflow(auto_start=True)
    make_workflow(auto_start=True, accepted_types=["image/*"])
    make_workflow(auto_start=True, is_active=False)
    make_workflow()
    file = make_stored()
    (run,) = WorkflowRun.objects.all()
    assert (run.workflow, run.file, run.trigger) == (workflow, file, RunTrigger.RULE)
    assert run.started_by is None


def test_a_rule_may_be_for_one_uploader_or_batch():
    ada = make_user()
    batch = batches.create_batch(principal=principal_of(ada))
    for_ada = make_workflow(auto_start=True, auto_start_user_id=ada.id)
    for_batch = make_workflow(auto_start=True, auto_start_batch_id=batch.id)
    make_stored()
    plain = make_stored(user=ada)
    in_batch = make_stored(user=ada, batch_id=batch.id)
    assert set(WorkflowRun.objects.values_list("workflow_id", "file_id")) == {
        (for_ada.id, plain.id),
        (for_ada.id, in_batch.id),
        (for_batch.id, in_batch.id),
    }


# --- Batches -------------------------------------------------------------------------------------


def test_a_batch_is_started_file_by_file_and_once(monkeypatch):
    monkeypatch.setattr(runs, "_CHUNK", 2)
    user = make_user()
    batch = batches.create_batch(principal=principal_of(user))
    workflow = make_workflow()
    for number in range(5):
        make_stored(b"text %d" % number, user=user, batch_id=batch.id)
    make_expired(user=user, batch_id=batch.id)
    make_uploading(user=user, batch_id=batch.id)

    def start_all():
        return runs.start_on_batch(
            principal=principal_of(user), batch_id=batch.id, workflow=workflow
        )

    outcomes = at_once([start_all, start_all, start_all])
    assert sum(outcome.started for outcome in outcomes) == 5
    assert {outcome.started + outcome.skipped for outcome in outcomes} == {7}
    assert WorkflowRun.objects.count() == 5


# --- Cancel and retry ----------------------------------------------------------------------------


def test_cancelling_many_times_at_once_is_one_cancellation():
    run = make_run()
    at_once([lambda: runs.cancel_run(principal=principal_of(run.owner), run_id=run.id)] * 4)
    assert reloaded(run).status == RunStatus.CANCELLED


def test_a_run_that_ended_is_not_cancelled():
    run = make_completed()
    with pytest.raises(Conflict) as refused:
        runs.cancel_run(principal=principal_of(run.owner), run_id=run.id)
    assert refused.value.code == "run_ended"


def test_cancelling_and_claiming_at_once_leaves_no_run_behind():
    for _ in range(10):
        run = make_run()
        at_once(
            [
                lambda run=run: runs.cancel_run(principal=principal_of(run.owner), run_id=run.id),
                lambda: claims.claim(worker="w"),
            ]
        )
        run.refresh_from_db()
        if run.status == RunStatus.RUNNING:
            assert claims.renew(run, claims.Progress())
            claims.fail(run, Failure("cancelled", "Cancelled."))
            run.refresh_from_db()
        assert run.status == RunStatus.CANCELLED


def test_a_cancel_that_crosses_the_hand_over_counts():
    run = make_running()
    claims.cancel(run_id=run.id)
    claims.hand_over(run, seconds=600)
    assert reloaded(run).status == RunStatus.CANCELLED


def test_a_cancelled_run_is_not_taken_up_again_when_its_worker_stops():
    run = make_running()
    claims.cancel(run_id=run.id)
    claims.release(run)
    assert reloaded(run).status == RunStatus.CANCELLED


@pytest.mark.parametrize("make", [make_failed, make_cancelled])
def test_a_run_that_failed_or_was_cancelled_is_tried_again_with_all_its_attempts(make):
    run = make(workflow=make_workflow(max_attempts=2))
    again = runs.retry_run(principal=principal_of(run.owner), run_id=run.id)
    assert (again.status, again.attempts_left, again.error_code) == (RunStatus.PENDING, 2, "")
    number = again.attempt
    assert claim_run(again).attempt == number + 1


def test_a_failure_after_a_retry_is_an_event_of_its_own():
    run = make_failed()
    runs.retry_run(principal=principal_of(run.owner), run_id=run.id)
    claims.fail(claim_run(run), Failure("again", "Again."))
    assert OutboxEvent.objects.filter(event_type="workflow_run.failed").count() == 2


def test_of_many_retries_at_once_one_wins():
    run = make_failed()
    outcomes = results_and_errors(
        [lambda: runs.retry_run(principal=principal_of(run.owner), run_id=run.id)] * 5
    )
    refused = [outcome.code for outcome in outcomes if isinstance(outcome, DooritoError)]
    assert refused == ["run_active"] * 4


def test_a_run_whose_file_is_gone_is_not_retried():
    run = make_failed()
    lifecycle.delete_file(principal=principal_of(run.owner), file_id=run.file_id)
    with pytest.raises(Gone):
        runs.retry_run(principal=principal_of(run.owner), run_id=run.id)


# --- Files ---------------------------------------------------------------------------------------


def expire(file):
    IngestFile.objects.filter(id=file.id).update(expires_at=timezone.now() - timedelta(hours=1))
    return retention.expire_files()


@pytest.mark.parametrize("make", [make_run, make_running])
def test_a_file_does_not_expire_while_a_run_is_active(make):
    run = make()
    assert expire(run.file) == 0
    assert not states.expire(run.file_id)
    if run.status == RunStatus.PENDING:
        runs.cancel_run(principal=principal_of(run.owner), run_id=run.id)
    else:
        claims.fail(run, Failure("x", "X."))
    assert retention.expire_files() == 1
    assert reloaded(run.file).status == FileStatus.DELETED


def test_a_run_and_the_expiry_of_its_file_at_once_do_not_both_happen():
    for _ in range(10):
        file = make_stored()
        workflow = make_workflow()
        soon = timezone.now() + timedelta(milliseconds=30)
        IngestFile.objects.filter(id=file.id).update(expires_at=soon)

        def expire_until_done(file=file):
            while timezone.now() < file.expires_at:
                if states.expire(file.id):
                    return

        file.refresh_from_db()
        results_and_errors(
            [
                lambda file=file, workflow=workflow: start_on(file, workflow),
                lambda file=file: states.expire(file.id),
                expire_until_done,
            ]
        )
        file.refresh_from_db()
        has_run = WorkflowRun.objects.filter(file=file).exists()
        assert not (has_run and file.status == FileStatus.DELETED)


def test_deleting_a_file_takes_back_what_waits_and_stops_what_runs():
    file = make_stored()
    waiting, running = make_run(file=file), make_running(file=file)
    lifecycle.delete_file(principal=principal_of(file.uploaded_by), file_id=file.id)
    assert reloaded(waiting).status == RunStatus.CANCELLED
    assert reloaded(running).cancel_requested_at is not None
    assert retention.purge_files() == 0  # it is being read
    claims.fail(running, Failure("cancelled", "Cancelled."))
    assert retention.purge_files() == 1


def test_deleting_a_file_ends_what_an_external_runner_does_with_it():
    run = make_handed_over(seconds=7 * 86_400)
    lifecycle.delete_file(principal=principal_of(run.owner), file_id=run.file_id)
    assert reloaded(run).status == RunStatus.CANCELLED
    assert run.attempts.get().outcome == AttemptOutcome.CANCELLED
    assert retention.purge_files() == 1


def test_no_workflow_follows_on_a_file_that_is_gone():
    following = make_workflow()
    run = make_running(workflow=make_workflow(on_success=following))
    lifecycle.delete_file(principal=principal_of(run.owner), file_id=run.file_id)
    claims.complete(run, output_text="", is_cut=False, result=None)
    assert not WorkflowRun.objects.filter(workflow=following).exists()
    assert "the file is gone" in run.log_lines.get().message


def test_a_file_is_consumed_when_its_last_run_ends_however_that_ends():
    file = make_stored()
    consuming = make_workflow(consumes_file=True)
    other = make_run(file=file)
    make_completed(file=file, workflow=consuming)
    assert reloaded(file).status == FileStatus.STORED
    runs.cancel_run(principal=principal_of(file.uploaded_by), run_id=other.id)
    assert reloaded(file).status == FileStatus.PROCESSED
    assert OutboxEvent.objects.filter(event_type="file.processed").count() == 1


def test_a_run_that_fails_consumes_nothing():
    run = make_failed(workflow=make_workflow(consumes_file=True))
    assert reloaded(run.file).status == FileStatus.STORED


def test_results_are_not_listed_with_uploads_and_expire_as_they_do():
    run = make_completed(result=b"# Report", filename="r.md")
    listed = selectors.files_page(principal=principal_of(run.owner)).items
    assert [file.id for file in listed] == [run.file_id]
    assert selectors.dashboard(principal=principal_of(run.owner)).stored == 1
    assert expire(run.result_file) == 1
    assert reloaded(run.result_file).status == FileStatus.DELETED
    assert not OutboxEvent.objects.filter(aggregate_id=run.result_file_id).exists()


def test_a_loop_of_workflows_ends():
    first, second = make_workflow(), make_workflow()
    first.on_success, second.on_success = second, first
    first.save()
    second.save()
    run = make_run(workflow=first)
    made = 0
    while run is not None:
        claimed = claims.claim(worker="w")
        if claimed is None:
            break
        claims.complete(claimed, output_text="", is_cut=False, result=None)
        made += 1
    assert made == queue.MAX_CHAIN + 1
    last = WorkflowRun.objects.order_by("-id").first()
    assert "20 workflows long" in last.log_lines.get().message


def test_records_of_runs_are_kept_for_a_while(settings):
    old, new, active = make_completed(result=b"r"), make_completed(), make_run()
    days = settings.PORTAL_WORKFLOW_RETENTION_DAYS
    WorkflowRun.objects.filter(id=old.id).update(
        completed_at=timezone.now() - timedelta(days=days, minutes=1)
    )
    assert leftovers.purge_runs() == 1
    assert set(WorkflowRun.objects.values_list("id", flat=True)) == {new.id, active.id}
    assert IngestFile.objects.filter(id=old.result_file_id).exists()
