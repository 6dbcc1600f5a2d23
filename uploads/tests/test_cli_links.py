"""`doorito grant` and `doorito share`."""

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from accounts.tests.factories import make_user
from common.errors import DooritoError
from uploads import cli
from uploads.files import grants, sharing, visits
from uploads.tests.factories import make_stored
from uploads.tests.workflow_factories import make_workflow

pytestmark = pytest.mark.django_db


def run(group: Any, *arguments: object, **options: Any) -> Result:
    result = CliRunner().invoke(group, [str(each) for each in arguments], **options)
    assert result.exception is None, result.output
    return result


def token_in(result: Result) -> str:
    return result.stdout.strip().rstrip("/").rpartition("/")[2]


def test_an_upload_link_is_made_listed_renewed_and_revoked():
    user = make_user()
    limits = ["--max-files", 3, "--max-bytes", 100, "--max-file-size", 50, "--type", "image/*"]
    told = ["--message", "Please.", "--workflow", make_workflow().slug, "--mail"]
    account = ["--email", user.email]

    made = run(cli.grant, "create", *account, "--name", "Photos", "--expires", "7d", *limits, *told)

    grant = visits.opened(token_in(made))
    assert made.stdout.strip() == grants.link_of(token_in(made))
    assert (grant.max_files, grant.max_bytes, grant.max_file_size) == (3, 100, 50)
    assert (grant.allowed_types, grant.mails_owner) == (["image/*"], True)
    [row] = json.loads(run(cli.grant, "list", *account, "--json").stdout)
    assert (row["id"], row["name"], row["files"]) == (str(grant.id), "Photos", 0)
    renewed = run(cli.grant, "renew", *account, grant.id)
    assert visits.opened(token_in(renewed)) == grant
    run(cli.grant, "revoke", *account, grant.id)
    with pytest.raises(DooritoError, match="revoked"):
        visits.opened(token_in(renewed))


def test_a_password_is_asked_for_and_never_an_argument():
    user = make_user()
    options = ["--email", user.email, "--name", "n", "--ask-password"]
    made = run(cli.grant, "create", *options, input="let me in\n")
    assert visits.opened(made.stdout.split("/")[-2]).password_hash
    assert "let me in" not in made.stdout


def test_a_share_link_is_made_listed_and_revoked():
    file = make_stored()

    made = run(cli.share, "create", file.id, "--expires", "12h")

    share = sharing.opened(token_in(made))
    assert share.expires_at is not None
    [row] = json.loads(run(cli.share, "list", file.id, "--json").stdout)
    assert (row["id"], row["downloads"]) == (str(share.id), 0)
    run(cli.share, "revoke", file.id, share.id)
    with pytest.raises(DooritoError, match="revoked"):
        sharing.opened(token_in(made))
