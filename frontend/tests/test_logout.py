from django.test import Client


def test_logging_out_by_post_ends_the_session(ada: Client):
    response = ada.post("/app/logout/", follow=True)
    assert response.redirect_chain == [("/app/login/", 302)]
    assert b"You are logged out." in response.content
    assert ada.get("/app/").status_code == 302


def test_a_link_cannot_log_anybody_out(ada: Client):
    assert ada.get("/app/logout/").status_code == 405
    assert ada.get("/app/").status_code == 200
