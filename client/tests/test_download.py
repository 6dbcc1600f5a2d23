import pytest

from doorito_client import DigestDiffers, DooritoError
from doorito_client.downloading import _safe_name

MIB = 2**20


def ranges(proxy):
    return [each.headers.get("Range", "") for each in proxy.seen if each.path.endswith("/content")]


def test_a_download_goes_on_where_it_broke(place, proxy):
    path = place.file("broken.bin", 5 * MIB)
    file = place.client().upload(path)
    proxy.cut_after = 2 * MIB

    target = place.client(proxy.url).download(file.id, place.folder / "copy")

    assert target.read_bytes() == path.read_bytes()
    assert ranges(proxy) == ["", f"bytes={2 * MIB}-"]


def test_a_download_goes_on_where_a_killed_one_was(place, proxy):
    path = place.file("download-killed.bin", 5 * MIB)
    file = place.client().upload(path)
    (place.folder / f".copy.{file.id}.part").write_bytes(path.read_bytes()[:MIB])

    target = place.client(proxy.url).download(file.id, place.folder / "copy")

    assert target.read_bytes() == path.read_bytes()
    assert ranges(proxy) == [f"bytes={MIB}-"]
    assert list(place.folder.glob(".copy*")) == []


def test_what_is_wrong_gets_no_name_and_is_not_gone_on_with(place):
    path = place.file("wrong.bin", MIB)
    file = place.client().upload(path)
    (place.folder / f".copy.{file.id}.part").write_bytes(b"something else")

    with pytest.raises(DigestDiffers):
        place.client().download(file.id, place.folder / "copy")
    assert not (place.folder / "copy").exists()
    assert place.client().download(file.id, place.folder / "copy").read_bytes() == path.read_bytes()


def test_a_file_that_is_there_is_not_replaced_unasked(place):
    file = place.client().upload(place.file("there", 10))
    copy = place.folder / "copy"
    copy.write_text("precious")
    with pytest.raises(DooritoError, match="exists already"):
        place.client().download(file.id, copy)
    assert copy.read_text() == "precious"
    place.client().download(file.id, copy, is_replacing=True)
    assert copy.read_bytes() == (place.folder / "there").read_bytes()


def test_a_name_that_somebody_chose_stays_in_the_folder(place):
    file = place.client().upload(place.file("there", 10), filename="..hidden")
    assert _safe_name(file) == "..hidden"
    target = place.client().download(file.id, place.folder)
    assert target.parent == place.folder


def test_a_consumed_file_comes_by_its_private_link(place):
    path = place.file("taken.bin", MIB)
    client = place.client()
    file = client.upload(path)
    taken = client.consume(file.id)
    assert taken.status == "processed"
    target = client.download(taken, place.folder / "copy", url=taken.claim_url)
    assert target.read_bytes() == path.read_bytes()
