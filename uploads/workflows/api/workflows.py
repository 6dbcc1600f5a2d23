"""/api/v1/workflows: the workflows that can be started on stored files."""

from uuid import UUID

from ninja import Router

from accounts.authentication import AuthenticatedRequest, Authenticator
from accounts.models import TokenScope
from uploads import selectors
from uploads.workflows import selectors as run_selectors
from uploads.workflows.api.schemas import WorkflowList, WorkflowOut

router = Router(tags=["Workflows"], auth=Authenticator(TokenScope.WORKFLOWS))


@router.get("", response={200: WorkflowList})
def list_workflows(request: AuthenticatedRequest, file_id: UUID | None = None) -> WorkflowList:
    """All active workflows by name; with `file_id`, those that accept this file."""
    if file_id is None:
        return WorkflowList.of(run_selectors.active_workflows(), principal=request.principal)
    file = selectors.get_file(principal=request.principal, file_id=file_id)
    return WorkflowList.of(run_selectors.workflows_for(file), principal=request.principal)


@router.get("/{slug:slug}", response={200: WorkflowOut})
def get_workflow(request: AuthenticatedRequest, slug: str) -> WorkflowOut:
    """One active workflow."""
    return WorkflowOut.of(run_selectors.get_workflow(slug), principal=request.principal)
