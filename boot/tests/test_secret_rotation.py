"""A new DJANGO_SECRET_KEY, and what becomes of all that the old one signed and encrypted."""

import re
from uuid import uuid4

import pytest
from django.core import mail

from accounts.tests.factories import make_user
from boot.errors import CannotRunError
from boot.reencryption import reencrypt_all
from common.errors import NotFound
from common.models import WebhookEndpoint
from common.tests.factories import make_endpoint
from uploads.files.links import LinkKind, file_id_of, link
from uploads.models import WorkflowSecret
from uploads.workflows.links import attempt_of, callback_link

pytestmark = pytest.mark.django_db

OLD, NEW = "the old key, " * 5, "the new key, " * 5


@pytest.fixture(autouse=True)
def _old_key(settings):
    settings.SECRET_KEY = OLD


def rotate(settings):
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = NEW, [OLD]


def forget(settings):
    settings.SECRET_KEY_FALLBACKS = []


def test_who_is_logged_in_stays_so_also_after_the_old_key_is_forgotten(client, settings):
    client.force_login(make_user())
    rotate(settings)
    assert client.get("/app/uploads/").status_code == 200
    forget(settings)
    assert client.get("/app/uploads/").status_code == 200


def test_who_did_not_come_back_meanwhile_logs_in_again(client, settings):
    client.force_login(make_user())
    rotate(settings)
    forget(settings)
    assert client.get("/app/uploads/").status_code == 302


def test_signed_links_stay_good_until_the_old_key_is_forgotten(settings):
    file_id, run_id, lease_id = uuid4(), uuid4(), uuid4()
    file_token = link(LinkKind.FILE, file_id).rsplit("/", 1)[1]
    callback_token = callback_link(run_id, lease_id).rsplit("/", 1)[1]
    rotate(settings)
    assert file_id_of(LinkKind.FILE, file_token) == file_id
    assert attempt_of(callback_token) == (run_id, lease_id)
    assert link(LinkKind.FILE, file_id).rsplit("/", 1)[1] != file_token
    forget(settings)
    with pytest.raises(NotFound):
        file_id_of(LinkKind.FILE, file_token)


def test_a_link_to_reset_a_password_stays_good(client, settings):
    client.post("/app/password/reset/", {"email": make_user().email})
    (address,) = re.findall(r"http://[^/]+(/app/password/reset/\S+)", mail.outbox[0].body)
    rotate(settings)
    assert client.get(address, follow=True).context["form"] is not None


def test_secrets_can_be_read_and_once_encrypted_anew_need_the_old_key_no_longer(settings):
    endpoint = make_endpoint(headers={"X-Key": "of theirs"})
    WorkflowSecret.objects.create(name="model", value="sk-1")
    rotate(settings)
    assert secrets() == (endpoint.secret, {"X-Key": "of theirs"}, "sk-1")
    assert reencrypt_all() == 3
    forget(settings)
    assert secrets() == (endpoint.secret, {"X-Key": "of theirs"}, "sk-1")


def secrets():
    endpoint = WebhookEndpoint.objects.get()
    return endpoint.secret, endpoint.headers, WorkflowSecret.objects.get().value


def test_those_whose_key_is_lost_are_counted_and_hinder_no_others(settings):
    make_endpoint()
    settings.SECRET_KEY = "lost " * 10
    WorkflowSecret.objects.create(name="model", value="sk-1")
    rotate(settings)
    with pytest.raises(CannotRunError, match="1 of 3 stored secrets cannot be decrypted"):
        reencrypt_all()
    forget(settings)
    assert WebhookEndpoint.objects.get().secret
