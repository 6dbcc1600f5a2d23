"""Workflows that administrators define, and their runs on files."""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models

from common import lengths
from common.fields import EncryptedTextField, MoneyField
from common.models import TimeStampedModel
from uploads.models.files import IngestFile

MAX_TIME_LIMIT = 24 * 3600  # seconds
MAX_ATTEMPTS = 20


class WorkflowSecret(TimeStampedModel):
    """A key or token that configurations name instead of holding it."""

    name = models.CharField(
        max_length=lengths.SECRET_NAME,
        unique=True,
        validators=[
            RegexValidator(
                r"^[A-Za-z][A-Za-z0-9_.-]*\Z",
                "A name begins with a letter and has letters, digits, dots, dashes, underscores.",
            )
        ],
    )
    description = models.CharField(max_length=lengths.DESCRIPTION, blank=True)
    value = EncryptedTextField()

    class Meta:
        db_table = "workflow_secret"

    def __str__(self) -> str:
        return self.name


class Workflow(TimeStampedModel):
    """A task with its configuration: what is done to which files, when, and within which limits."""

    name = models.CharField(max_length=lengths.WORKFLOW_NAME)
    slug = models.SlugField(max_length=lengths.WORKFLOW_NAME, unique=True)
    description = models.TextField(blank=True)
    task_name = models.CharField(max_length=100)
    config = models.JSONField(default=dict, blank=True)
    # Patterns for the detected type, such as image/*; the task's own unless chosen otherwise.
    accepted_types = ArrayField(
        models.CharField(max_length=lengths.CONTENT_TYPE), default=list, blank=True
    )
    is_active = models.BooleanField("active", default=True)

    # Auto-start on every stored file that is accepted, of one uploader or batch if they are set.
    # Ids without a foreign key: once that user or batch is gone, nothing matches, not everything.
    auto_start = models.BooleanField(default=False)
    auto_start_user_id = models.UUIDField(null=True, blank=True)
    auto_start_batch_id = models.UUIDField(null=True, blank=True)

    time_limit_seconds = models.PositiveIntegerField(
        default=600, validators=[MinValueValidator(1), MaxValueValidator(MAX_TIME_LIMIT)]
    )
    max_attempts = models.PositiveSmallIntegerField(
        default=3, validators=[MinValueValidator(1), MaxValueValidator(MAX_ATTEMPTS)]
    )
    # Runs of this workflow that may be under way at once, on all workers. Null: no limit.
    max_concurrent = models.PositiveSmallIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1)]
    )
    consumes_file = models.BooleanField(default=False)
    on_success = models.ForeignKey(
        "self", on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )

    class Meta:
        db_table = "workflow"
        indexes = [
            # Rules that every stored file is held against.
            models.Index(
                fields=["id"],
                condition=models.Q(is_active=True, auto_start=True),
                name="workflow_auto_start",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class RunStatus(models.TextChoices):
    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class RunTrigger(models.TextChoices):
    """What started a run."""

    USER = "user", "somebody"
    RULE = "rule", "an auto-start rule"
    CHAIN = "chain", "another workflow's success"


class WorkflowRun(TimeStampedModel):
    """One execution of a workflow on one file: the row that workers claim.

    `due_at` is when a pending run may be tried next. `lease_id` names a running attempt, and
    `lease_expires_at` is when it is taken for dead unless its worker, by then, has said otherwise;
    of one that was handed over to an external runner it is the runner's deadline.

    `attempt` numbers the attempts and only grows; `attempts_left` are those still to be made.
    """

    ACTIVE = (RunStatus.PENDING, RunStatus.RUNNING)
    ENDED = (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED)

    workflow = models.ForeignKey(
        Workflow, on_delete=models.PROTECT, related_name="runs", db_index=False
    )
    file = models.ForeignKey(
        IngestFile, on_delete=models.CASCADE, related_name="runs", db_index=False
    )
    owner = models.ForeignKey(  # of the file, whose run it is
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        related_name="+",
        db_index=False,
    )
    trigger = models.CharField(max_length=16, choices=RunTrigger)
    started_by = models.ForeignKey(  # null: a rule, or an account that is gone
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    previous = models.ForeignKey(  # whose success started this one
        "self", on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    chain_depth = models.PositiveSmallIntegerField(default=0)
    config = models.JSONField(default=dict, blank=True)  # as it was when the run was started
    consumes_file = models.BooleanField(default=False)

    status = models.CharField(max_length=16, choices=RunStatus, default=RunStatus.PENDING)
    due_at = models.DateTimeField()
    lease_id = models.UUIDField(null=True, blank=True)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    is_handed_over = models.BooleanField(default=False)
    attempt = models.PositiveIntegerField(default=0)
    attempts_left = models.PositiveSmallIntegerField()
    cancel_requested_at = models.DateTimeField(null=True, blank=True)

    progress_percent = models.FloatField(null=True, blank=True)
    progress_message = models.CharField(max_length=lengths.PROGRESS, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)  # of the first attempt
    completed_at = models.DateTimeField(null=True, blank=True)  # whatever the end was
    output_text = models.TextField(blank=True)
    output_is_cut = models.BooleanField(default=False)
    # What of the file could not be read although the run completed, for people.
    warnings = ArrayField(
        models.CharField(max_length=lengths.RUN_WARNING), default=list, db_default=[], blank=True
    )
    # Where a result lies that is being written; its row comes with the run's end.
    result_key = models.CharField(max_length=255, blank=True)
    result_backend = models.CharField(max_length=16, default="local", db_default="local")
    result_file = models.ForeignKey(
        IngestFile, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    error_code = models.CharField(max_length=lengths.ERROR_CODE, blank=True)
    error_message = models.CharField(max_length=lengths.ERROR_MESSAGE, blank=True)
    cost = MoneyField(null=True, blank=True)

    class Meta:
        db_table = "workflow_run"
        constraints = [
            # Also the index that says what keeps a file from expiring.
            models.UniqueConstraint(
                fields=["file", "workflow"],
                condition=models.Q(status__in=["pending", "running"]),
                name="workflow_run_active_once",
            ),
            models.CheckConstraint(
                condition=~models.Q(status="running")
                | models.Q(lease_id__isnull=False, lease_expires_at__isnull=False),
                name="workflow_run_running_is_leased",
            ),
        ]
        indexes = [
            # The claim: what is due of a workflow, oldest first.
            models.Index(
                fields=["workflow", "due_at", "id"],
                condition=models.Q(status="pending"),
                name="workflow_run_due",
            ),
            # How many of a workflow are under way.
            models.Index(
                fields=["workflow"],
                condition=models.Q(status="running"),
                name="workflow_run_under_way",
            ),
            # The sweep: attempts whose worker, or runner, was not heard of in time.
            models.Index(
                fields=["lease_expires_at"],
                condition=models.Q(status="running"),
                name="workflow_run_lease",
            ),
            # A user's runs, newest first: all, of one status, of one workflow.
            models.Index(fields=["owner", "-id"], name="workflow_run_of_owner"),
            models.Index(fields=["owner", "status", "-id"], name="workflow_run_by_status"),
            models.Index(fields=["owner", "workflow", "-id"], name="workflow_run_by_workflow"),
            # A file's runs, newest first.
            models.Index(fields=["file", "-id"], name="workflow_run_of_file"),
            # The clean-up: bytes of results that a kill left.
            models.Index(
                fields=["id"],
                condition=~models.Q(result_key="") & models.Q(completed_at__isnull=False),
                name="workflow_run_result_left",
            ),
            # Retention, and the admin's list.
            models.Index(
                fields=["completed_at"],
                condition=models.Q(completed_at__isnull=False),
                name="workflow_run_ended",
            ),
        ]

    def __str__(self) -> str:
        return f"run {self.id}"


class AttemptOutcome(models.TextChoices):
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost", "lost with its worker"
    RELEASED = "released", "given back by a worker that stopped"


class WorkflowAttempt(TimeStampedModel):
    """One attempt of a run."""

    run = models.ForeignKey(
        WorkflowRun, on_delete=models.CASCADE, related_name="attempts", db_index=False
    )
    number = models.PositiveIntegerField()
    worker = models.CharField(max_length=lengths.WORKER)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(
        max_length=16, choices=AttemptOutcome, default=AttemptOutcome.RUNNING
    )
    error_code = models.CharField(max_length=lengths.ERROR_CODE, blank=True)
    error_message = models.CharField(max_length=lengths.ERROR_MESSAGE, blank=True)
    traceback = models.TextField(blank=True)  # for staff

    class Meta:
        db_table = "workflow_attempt"
        constraints = [
            # Also the index that lists a run's attempts in order.
            models.UniqueConstraint(fields=["run", "number"], name="workflow_attempt_once"),
        ]

    def __str__(self) -> str:
        return f"attempt {self.number} of {self.run_id}"


class WorkflowLogLine(TimeStampedModel):
    """A line of a run's log. Its id keeps the order."""

    run = models.ForeignKey(
        WorkflowRun, on_delete=models.CASCADE, related_name="log_lines", db_index=False
    )
    attempt = models.PositiveIntegerField()
    at = models.DateTimeField()
    level = models.CharField(max_length=lengths.LOG_LEVEL)
    message = models.CharField(max_length=lengths.LOG_LINE)

    class Meta:
        db_table = "workflow_log_line"
        indexes = [
            models.Index(fields=["run", "id"], name="workflow_log_line_of_run"),
        ]

    def __str__(self) -> str:
        return self.message
