"""What staff need: a workflow's configuration binds everybody, tracebacks tell of the machine."""

CHANGE_WORKFLOWS = "uploads.change_workflow"
SEE_TRACEBACKS = "uploads.view_workflowattempt"
