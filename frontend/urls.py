"""The addresses of the pages."""

from collections.abc import Callable

from django.http.response import HttpResponseBase
from django.urls import URLPattern
from django.urls import path as django_path
from django.views.generic import RedirectView

from frontend.views import (
    accounts,
    batches,
    bulk,
    deliveries,
    errors,
    events,
    files,
    links,
    manual,
    pages,
    runs,
    schemas,
    session,
    shares,
    strangers,
    tokens,
    webhooks,
)

app_name = "frontend"


def path(route: str, view: Callable[..., HttpResponseBase], *, name: str) -> URLPattern:
    return django_path(route, errors.explained(view), name=name)


urlpatterns = [
    path("", RedirectView.as_view(pattern_name="frontend:dashboard"), name="root"),
    path("app/login/", accounts.LoginView.as_view(), name="login"),
    path("app/logout/", accounts.LogoutView.as_view(), name="logout"),
    path("app/register/", accounts.register, name="register"),
    path("app/password/change/", accounts.PasswordChangeView.as_view(), name="password_change"),
    path("app/password/reset/", accounts.PasswordResetView.as_view(), name="password_reset"),
    path(
        "app/password/reset/sent/",
        accounts.PasswordResetSentView.as_view(),
        name="password_reset_sent",
    ),
    path(
        "app/password/reset/<uidb64>/<token>/",
        accounts.PasswordResetConfirmView.as_view(),
        name="password_reset_confirm",
    ),
    path("app/session/renew/", session.renew, name="session_renew"),
    path("app/", pages.dashboard, name="dashboard"),
    path("app/upload/", pages.upload, name="upload"),
    path("app/uploads/new/", pages.upload, name="upload_new"),
    path("app/uploads/", files.uploads, name="uploads"),
    path("app/uploads/chosen/delete/", bulk.delete, name="bulk_delete"),
    path("app/uploads/chosen/extend/", bulk.extend, name="bulk_extend"),
    path("app/uploads/chosen/run/", bulk.run, name="bulk_run"),
    path("app/uploads/chosen/download/", bulk.download, name="bulk_download"),
    path("app/uploads/<uuid:file_id>/", files.file, name="file"),
    path("app/uploads/<uuid:file_id>/events/", files.events, name="file_events"),
    path("app/uploads/<uuid:file_id>/extend/", files.extend, name="file_extend"),
    path("app/uploads/<uuid:file_id>/delete/", files.delete, name="file_delete"),
    path("app/uploads/<uuid:file_id>/shares/", shares.create, name="file_shares"),
    path(
        "app/uploads/<uuid:file_id>/shares/<uuid:share_id>/revoke/",
        shares.revoke,
        name="share_revoke",
    ),
    path("app/uploads/<uuid:file_id>/runs/", runs.of_file, name="file_runs"),
    path("app/uploads/<uuid:file_id>/runs/new/<slug:slug>/", runs.configure, name="run_new"),
    path("app/uploads/<uuid:file_id>/runs/<uuid:run_id>/", runs.run, name="run"),
    path("app/uploads/<uuid:file_id>/runs/<uuid:run_id>/cancel/", runs.cancel, name="run_cancel"),
    path("app/uploads/<uuid:file_id>/runs/<uuid:run_id>/retry/", runs.retry, name="run_retry"),
    path("app/batches/", batches.batches, name="batches"),
    path("app/batches/<uuid:batch_id>/", batches.batch, name="batch"),
    path("app/batches/<uuid:batch_id>/runs/", batches.run, name="batch_runs"),
    path("app/links/", links.links, name="upload_links"),
    path("app/links/new/", links.new, name="upload_link_new"),
    path("app/links/<uuid:grant_id>/", links.link, name="upload_link"),
    path("app/links/<uuid:grant_id>/edit/", links.edit, name="upload_link_edit"),
    path("app/links/<uuid:grant_id>/renew/", links.renew, name="upload_link_renew"),
    path("app/links/<uuid:grant_id>/revoke/", links.revoke, name="upload_link_revoke"),
    path("app/help/", pages.help_page, name="help"),
    path("app/runs/", runs.runs, name="runs"),
    path("app/tokens/", tokens.tokens, name="tokens"),
    path("app/tokens/<uuid:token_id>/revoke/", tokens.revoke, name="token_revoke"),
    path("app/webhooks/", webhooks.webhooks, name="webhooks"),
    path("app/webhooks/new/", webhooks.new, name="webhook_new"),
    path("app/webhooks/<uuid:endpoint_id>/", webhooks.webhook, name="webhook"),
    path("app/webhooks/<uuid:endpoint_id>/state/", webhooks.state, name="webhook_state"),
    path("app/webhooks/<uuid:endpoint_id>/edit/", webhooks.edit, name="webhook_edit"),
    path("app/webhooks/<uuid:endpoint_id>/test/", webhooks.test, name="webhook_test"),
    path("app/webhooks/<uuid:endpoint_id>/secret/", webhooks.secret, name="webhook_secret"),
    path("app/webhooks/<uuid:endpoint_id>/secret/rotate/", webhooks.rotate, name="webhook_rotate"),
    path(
        "app/webhooks/<uuid:endpoint_id>/secret/replace/", webhooks.replace, name="webhook_replace"
    ),
    path("app/webhooks/<uuid:endpoint_id>/secret/revoke/", webhooks.revoke, name="webhook_revoke"),
    path("app/webhooks/<uuid:endpoint_id>/enable/", webhooks.enable, name="webhook_enable"),
    path("app/webhooks/<uuid:endpoint_id>/disable/", webhooks.disable, name="webhook_disable"),
    path("app/webhooks/<uuid:endpoint_id>/remove/", webhooks.remove, name="webhook_remove"),
    path("app/webhooks/<uuid:endpoint_id>/recover/", webhooks.recover, name="webhook_recover"),
    path("app/webhooks/deliveries/<uuid:delivery_id>/", deliveries.delivery, name="delivery"),
    path(
        "app/webhooks/deliveries/<uuid:delivery_id>/resend/",
        deliveries.resend,
        name="delivery_resend",
    ),
    path("docs/", manual.page, name="manual"),
    path("docs/<slug:name>/", manual.page, name="manual_page"),
    path("send/<str:token>/", strangers.send, name="send"),
    path("send/<str:token>/pass/", strangers.renew, name="send_pass"),
    path("share/<str:token>/", strangers.share, name="share"),
    path("share/<str:token>/content", strangers.share_content, name="share_content"),
    path("schemas/", schemas.schemas, name="schemas"),
    path("app/events/", events.events, name="events"),
    path("app/events/<uuid:event_id>/", events.event, name="event"),
    path("app/events/<uuid:event_id>/resend/", events.resend, name="event_resend"),
]
