import pytest

from accounts import tasks
from common.ids import uuid7

pytestmark = pytest.mark.django_db


def test_a_link_for_an_account_that_is_gone_is_sent_to_nobody(mailoutbox):
    assert tasks.send_reset_link(str(uuid7())) is False
    assert not mailoutbox
