"""Permissions of staff: a workflow's configuration concerns all users, and tracebacks reveal
details of the server.
"""

CHANGE_WORKFLOWS = "uploads.change_workflow"
SEE_TRACEBACKS = "uploads.view_workflowattempt"
