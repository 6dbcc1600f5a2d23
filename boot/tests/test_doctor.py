"""`doorito doctor`, of a portal and of the way to it."""

import json
import os
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from boot import doctor, public_path, reflection
from boot.remedies import REMEDIES, remedy
from boot.tests.portal import call, free_port
from uploads.tests import scanner

PATIENCE = 3.0  # seconds; the hostile time limits below are of one

_SERVER = """
daemon off; pid {folder}/pid; error_log {folder}/error.log;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/a; uwsgi_temp_path {folder}/b; scgi_temp_path {folder}/c;
    server {{
        listen 127.0.0.1:{port};
        {server}
        location / {{
            proxy_pass {portal};
            proxy_http_version 1.1;
            {location}
        }}
    }}
}}
"""
# As docs/deploy.md has it, line by line, so that each can be missing.
_GOOD = {
    "host": "proxy_set_header Host $http_host;",
    "scheme": "proxy_set_header X-Forwarded-Proto $scheme;",
    "client": "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;",
    "request buffering": "proxy_request_buffering off;",
    "answer buffering": "proxy_buffering off;",
    "size": "client_max_body_size 0;",
    "wait": "proxy_read_timeout 300s;",
}
# What is wrong, by what an operator may have done: lines that replace good ones, or come on top.
HOSTILE = {
    "the default limit of bodies": ({"size": ""}, {"body limit"}),
    "a limit below that of files": ({"size": "client_max_body_size 10m;"}, {"body limit"}),
    "requests collected": (
        {"request buffering": "proxy_request_buffering on;"},
        {"request buffering"},
    ),
    "another host": ({"host": ""}, {"host"}),
    "another scheme": ({"scheme": "proxy_set_header X-Forwarded-Proto https;"}, {"scheme"}),
    "forged addresses": ({"client": ""}, {"client address"}),
    "no addresses": ({"client": 'proxy_set_header X-Forwarded-For "";'}, {"client address"}),
    "few methods": ({"more": "limit_except GET POST { deny all; }"}, {"methods"}),
    "short patience with the portal": ({"wait": "proxy_read_timeout 1s;"}, {"answer timeout"}),
    "short patience with clients": ({"more": "client_body_timeout 1s;"}, {"body timeout"}),
    "no ranges": ({"more": 'proxy_set_header Range "";'}, {"ranges"}),
    "tokens removed": ({"more": 'proxy_set_header Authorization "";'}, {"headers"}),
}


@contextmanager
def nginx(portal, **lines):
    """nginx in front of the portal, configured well but for these lines; its address."""
    with tempfile.TemporaryDirectory(prefix="doorito-nginx-") as name:
        folder, port = Path(name), free_port()
        folder.chmod(0o777)  # as root, its workers are somebody else
        config = folder / "nginx.conf"
        text = _SERVER.format(
            folder=folder,
            port=port,
            portal=portal.url,
            server="",
            location=" ".join((_GOOD | lines).values()),
        )
        config.write_text(text)
        command = ["nginx", "-p", name, "-e", f"{name}/error.log", "-c", str(config)]
        process = subprocess.Popen(
            command, env=os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin"}
        )
        try:
            _wait_until_it_answers(process, port)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(timeout=10)


def _wait_until_it_answers(process, port):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        assert process.poll() is None, "nginx did not start"
        try:
            call("GET", f"http://127.0.0.1:{port}/healthz/", timeout=30)
        except httpx.ConnectError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("nginx does not answer")


@pytest.fixture
def signed(portal, settings):
    """With the secret key of the portal, as its operator has it."""
    settings.SECRET_KEY = (portal.data_dir / "secret_key").read_text()


def wrong(url):
    return {
        seen.subject: seen.said
        for seen in public_path.probe(url, patience=PATIENCE)
        if seen.is_wrong
    }


@pytest.mark.long
@pytest.mark.parametrize("name", HOSTILE)
def test_what_a_proxy_does_wrong_is_named_with_the_line_to_change(portal, signed, name):
    lines, expected = HOSTILE[name]
    with nginx(portal, **lines) as url:
        found = wrong(url)
    assert set(found) == expected, found
    for subject, said in found.items():
        assert f"nginx: {REMEDIES[subject]['nginx']}" in said


@pytest.mark.long
def test_a_proxy_that_is_configured_as_documented_is_well(portal, signed):
    with nginx(portal) as url:
        assert wrong(url) == {}


@pytest.mark.long
def test_another_path_is_told(portal, signed):
    with nginx(portal, more="rewrite ^/(.*)$ /elsewhere/$1 break;") as url:
        assert "another path" in wrong(url)["address"]


def test_without_a_proxy_the_way_is_well(portal):
    done = portal.run("doctor", "--url", portal.url, "--patience", "0.5", "--json")
    found = {each["subject"]: each for each in json.loads(done.stdout)}
    assert found["proxy"]["said"] == "There is none between here and the portal."
    assert {subject for subject, each in found.items() if each["state"] == "problem"} == set()
    assert {"settings", "database", "storage", "broker", "disk", "processes"} < found.keys()
    assert done.returncode == 0


def test_an_address_where_nothing_answers_is_told(settings):
    (seen,) = public_path.probe(f"http://127.0.0.1:{free_port()}")
    assert seen.is_wrong
    assert "does not answer" in seen.said


def test_a_stranger_is_shown_nothing_of_the_way(client, settings):
    assert client.get(reflection.PATH).status_code == 404
    assert client.get(f"{reflection.PATH}?key=forged:of:it").status_code == 404
    assert client.get(reflection.PATH, {"key": reflection.key()}).status_code == 200


@pytest.mark.parametrize(
    ("server", "named"),
    [
        ("nginx/1.22.1", ["nginx"]),
        ("Caddy", ["Caddy"]),
        ("Apache/2.4", ["Apache"]),
        ("", ["nginx", "Caddy", "Traefik", "Apache"]),
    ],
)
def test_the_remedy_is_for_the_proxy_that_answers(server, named):
    for fault in REMEDIES:
        said = remedy(fault, server=server)
        assert [name for name in REMEDIES[fault] if f"{name}: " in said] == named


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({}, "finds a test virus (Eicar-Test-Signature)"),
        ({"most_bytes": 1000}, "raise its StreamMaxLength"),
        ({"reply": b"stream: OK"}, "does not know the EICAR test file"),
        ({"fault": "error"}, "Can't allocate memory"),
    ],
)
def test_a_scanner_is_tried_with_a_virus_and_a_long_stream(settings, values, told):
    settings.PORTAL_SCANNER_MAX_SIZE = 2**20
    with scanner.running() as running:
        settings.PORTAL_SCANNER = running.address
        for name, value in values.items():
            setattr(running, name, value)
        finding = doctor._scanner()
        assert told in finding.said
        assert (finding.state == doctor.State.PROBLEM) == bool(values)
        assert len(running.scanned[-1] if running.scanned else b"") in {0, 2**20, 68}


def test_a_scanner_that_is_not_there_is_told(settings):
    settings.PORTAL_SCANNER = f"clamd://127.0.0.1:{free_port()}"
    assert "does not answer" in doctor._scanner().said
