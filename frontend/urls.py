"""The addresses of the pages."""

from django.urls import path
from django.views.generic import RedirectView

from frontend.views import accounts, files, pages, tokens

app_name = "frontend"

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
    path("app/", pages.dashboard, name="dashboard"),
    path("app/upload/", pages.upload, name="upload"),
    path("app/uploads/new/", pages.upload, name="upload_new"),
    path("app/uploads/", files.uploads, name="uploads"),
    path("app/uploads/<uuid:file_id>/", files.file, name="file"),
    path("app/uploads/<uuid:file_id>/events/", files.events, name="file_events"),
    path("app/uploads/<uuid:file_id>/extend/", files.extend, name="file_extend"),
    path("app/uploads/<uuid:file_id>/delete/", files.delete, name="file_delete"),
    path("app/tokens/", tokens.tokens, name="tokens"),
    path("app/tokens/<uuid:token_id>/revoke/", tokens.revoke, name="token_revoke"),
]
