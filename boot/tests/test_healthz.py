import httpx
import pytest
from django.db import connection

from boot.tests.portal import Portal
from common.version import VERSION

pytestmark = pytest.mark.django_db


def test_a_working_portal_is_ok(client):
    answer = client.get("/healthz/")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "database": "ok", "version": VERSION}
    assert "no-store" in answer["Cache-Control"]


def test_it_costs_one_query_and_no_session(client, django_assert_num_queries):
    with django_assert_num_queries(1):
        answer = client.get("/healthz/")
    assert not answer.cookies


@pytest.mark.parametrize("path", ["/healthz/", "/healthz"])
def test_load_balancers_may_probe_by_address(client, settings, path):
    settings.ALLOWED_HOSTS = ["files.example.com"]
    assert client.get(path, headers={"host": "10.1.2.3:8000"}).status_code == 200
    assert client.get("/admin/", headers={"host": "10.1.2.3:8000"}).status_code == 400


def test_other_methods_are_refused(client):
    assert client.post("/healthz/").status_code == 405
    assert client.head("/healthz/").status_code == 200


def test_an_unreachable_database_is_503_and_no_detail_leaks(client, settings, caplog):
    connection.ensure_connection()
    connection.connection.close()
    answer = client.get("/healthz/")
    assert answer.status_code == 503
    assert answer.json()["database"] == "unreachable"
    assert "does not answer" in caplog.text


def test_production_answers_plain_http_probes():
    production = {
        "DJANGO_CONFIGURATION": "Production",
        "DJANGO_SECRET_KEY": "of the test, long enough to be taken for a secret key",
        "DJANGO_ALLOWED_HOSTS": "files.example.com",
    }
    with Portal(environment=production) as portal:
        portal.start()
        assert httpx.get(f"{portal.url}/healthz/").status_code == 200
        assert httpx.get(f"{portal.url}/admin/").status_code == 400
        ours = {"Host": "files.example.com"}
        assert httpx.get(f"{portal.url}/admin/", headers=ours).status_code == 301
        assert "Doorito is ready" in portal.logs()
        assert "Traceback" not in portal.logs()
        assert "Invalid HTTP_HOST" not in portal.logs()
