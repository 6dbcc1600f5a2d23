import re
import time
from unittest.mock import patch

from django.test import Client

from accounts.models import ApiToken, TokenScope, User
from accounts.tests.factories import make_token

TOKENS = "/app/tokens/"
VALID = {"name": "nightly backup", "days": "30", "scopes": ["upload", "read"]}


def test_a_new_token_works_and_is_shown_once(ada: Client, user: User):
    assert ada.post(TOKENS, VALID).headers["Location"] == TOKENS
    ada.head(TOKENS)
    content = ada.get(TOKENS).content.decode()
    text = re.search(r"drt_\w{33}", content)[0]
    headers = {"authorization": f"Bearer {text}"}
    assert Client().get("/api/v1/files", headers=headers).status_code == 200
    token = ApiToken.objects.get(user=user)
    assert token.scopes == [TokenScope.UPLOAD, TokenScope.READ]
    assert token.expires_at is not None
    again = ada.get(TOKENS).content.decode()
    assert text not in again
    assert token.hint in again


def test_a_new_token_that_waits_to_be_shown_is_encrypted_and_does_not_wait_for_long(ada: Client):
    ada.post(TOKENS, VALID)
    assert "drt_" not in str(dict(ada.session))
    later = time.time() + 301
    with patch("time.time", return_value=later):
        assert not re.search(r"drt_\w{33}", ada.get(TOKENS).content.decode())


def test_a_token_can_be_without_end(ada: Client):
    ada.post(TOKENS, VALID | {"days": "0"})
    assert ApiToken.objects.get().expires_at is None


def test_a_token_needs_a_name_and_something_it_may_do(ada: Client):
    response = ada.post(TOKENS, {"name": "", "days": "30"})
    assert b"Choose at least one thing" in response.content
    assert response.context["form"].errors["name"]
    described = re.findall(r'name="scopes".*aria-describedby="(.*?)"', response.content.decode())
    assert set(described) == {"id_scopes_error"}
    assert b'id="id_scopes_error"' in response.content
    assert not ApiToken.objects.exists()


def test_a_revoked_token_no_longer_works(ada: Client, user: User):
    token, text = make_token(user=user)
    response = ada.post(f"{TOKENS}{token.id}/revoke/", follow=True)
    assert b"no longer works" in response.content
    headers = {"authorization": f"Bearer {text}"}
    assert Client().get("/api/v1/files", headers=headers).status_code == 401


def test_somebody_elses_token_does_not_exist(ada: Client):
    token, _ = make_token()
    assert ada.post(f"{TOKENS}{token.id}/revoke/").status_code == 404
    token.refresh_from_db()
    assert token.revoked_at is None
    assert token.hint not in ada.get(TOKENS).content.decode()
