from django.test import Client


def test_both_addresses_show_the_upload_page(ada: Client):
    for address in ("/app/upload/", "/app/uploads/new/"):
        response = ada.get(address)
        assert b'type="file"' in response.content
        assert "csrftoken" in response.cookies


def test_it_says_what_the_portal_takes(ada: Client, settings):
    settings.PORTAL_MAX_FILE_SIZE = 3 * 2**30
    settings.FILE_UPLOAD_ALLOWED_TYPES = ["image/*", "application/pdf"]
    content = ada.get("/app/upload/").content
    assert b"3.0 GiB" in content
    assert b"image/*, application/pdf" in content


def test_it_needs_a_log_in(client: Client, db):
    assert "/app/login/" in client.get("/app/upload/").headers["Location"]
