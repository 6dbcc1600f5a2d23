import pytest
from django.db import connection

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
