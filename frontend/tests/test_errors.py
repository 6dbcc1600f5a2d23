"""The pages for what went wrong."""

from uuid import uuid4

from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.test import Client, override_settings
from django.urls import include, path


def forbidden(_request: HttpRequest) -> HttpResponse:
    raise PermissionDenied


def suspicious(_request: HttpRequest) -> HttpResponse:
    raise SuspiciousOperation


def broken(_request: HttpRequest) -> HttpResponse:
    raise RuntimeError("secret detail")


urlpatterns = [
    path("forbidden/", forbidden),
    path("suspicious/", suspicious),
    path("broken/", broken),
    path("", include("boot.urls")),
]


@override_settings(ROOT_URLCONF=__name__)
def test_each_status_has_its_own_page(db):
    client = Client(raise_request_exception=False)
    for address, status, words in (
        ("/suspicious/", 400, "This request makes no sense here"),
        ("/forbidden/", 403, "This is not yours to open"),
        ("/missing/", 404, "Nothing behind this door"),
        ("/broken/", 500, "Something broke on our side"),
    ):
        response = client.get(address)
        assert response.status_code == status
        assert words in response.content.decode()
        assert "secret detail" not in response.content.decode()


def test_an_address_that_only_takes_forms_says_so(db):
    for address in ("/app/logout/", f"/app/uploads/{uuid4()}/delete/"):
        response = Client().get(address)
        assert response.status_code == 405
        assert "POST" in response.headers["Allow"]
        assert "This address is not a page" in response.content.decode()


def test_the_page_for_a_fault_needs_no_database_and_no_context():
    assert "Something broke on our side" in render_to_string("500.html")


def test_a_host_that_is_not_served_is_named_with_the_setting_that_admits_it(settings):
    settings.ALLOWED_HOSTS = ["localhost"]
    response = Client(headers={"Host": "files.example.com"}).get("/app/login/")
    assert response.status_code == 400
    assert "files.example.com" in response.content.decode()
    assert "DJANGO_ALLOWED_HOSTS" in response.content.decode()


def test_a_form_that_comes_by_a_proxy_with_another_host_names_the_setting_that_admits_it(db):
    client = Client(enforce_csrf_checks=True)
    client.get("/app/login/")
    token = client.cookies["csrftoken"].value
    response = client.post(
        "/app/login/",
        {"csrfmiddlewaretoken": token, "username": "ada@example.org", "password": "x"},
        headers={"Origin": "https://files.example.com"},
    )
    assert response.status_code == 403
    page = response.content.decode()
    assert "https://files.example.com" in page
    assert "http://testserver" in page
    assert "DJANGO_CSRF_TRUSTED_ORIGINS" in page


def test_a_browser_that_hides_its_origin_is_told_of_no_setting(db):
    client = Client(enforce_csrf_checks=True)
    client.get("/app/login/")
    response = client.post("/app/login/", headers={"Origin": "null"})
    assert "This form is out of date" in response.content.decode()
