"""Dockerfile and compose files: what they name exists, and every setting can be set."""

import re

import pytest
import yaml
from django.conf import settings

from boot import secret_files
from boot.tests.portal import ROOT
from boot.tests.test_readme import make_targets
from common.version import VERSION

DOCKERFILE = (ROOT / "Dockerfile").read_text()
ENTRYPOINT = (ROOT / "docker-entrypoint.sh").read_text()
EXAMPLE = (ROOT / ".env.example").read_text()
MAIN, DEV = (
    yaml.safe_load((ROOT / name).read_text())
    for name in ("docker-compose.yml", "docker-compose.dev.yml")
)
# Said by the image, or by docker-compose.dev.yml, and the same for everybody.
FIXED = {
    *("DOORITO_DATA_DIR", "DOORITO_TEST_DATA_DIR", "DOORITO_STATIC_DIR", "WEB_HOST"),
    "CELERY_TASK_ALWAYS_EAGER",
}
PORTAL = [name for name, service in MAIN["services"].items() if "build" in service]


def known(names):
    return set(names) <= {"DJANGO_CONFIGURATION", *settings.KNOWN_NAMES}


def test_every_setting_reaches_every_container_of_the_portal_and_empty_means_its_default():
    environment = MAIN["x-environment"]
    listed = set(re.findall(r"^# ([A-Z][A-Z0-9_]*)=", EXAMPLE, re.MULTILINE))
    own = {"DJANGO_CONFIGURATION", "DATABASE_URL_FILE", "DJANGO_SECRET_KEY_FILE", "WAIT_SECONDS"}
    assert set(environment) == listed - FIXED | own
    assert {"DATABASE_URL_FILE", "DJANGO_SECRET_KEY_FILE"} <= set(secret_files.NAMES)
    passed_on = listed - FIXED - {"WEB_PORT"}
    assert [name for name in passed_on if environment[name] != f"${{{name}:-}}"] == []
    assert [name for name in PORTAL if MAIN["services"][name]["environment"] != environment] == []


def test_the_image_and_the_development_containers_set_settings_that_exist():
    in_image = re.search(r"^ENV (PATH=(?:.*\\\n)+.*)$", DOCKERFILE, re.MULTILINE)[1]
    names = set(re.findall(r"([A-Z_]+)=", in_image)) - {"PATH", "PYTHONUNBUFFERED"}
    assert "DOORITO_STATIC_DIR" in names
    assert known(names)
    assert all(known(service["environment"]) for service in DEV["services"].values())


def test_the_services_have_roles_of_the_entrypoint_and_look_after_themselves():
    roles = set(re.findall(r"^([a-z-]+)\) exec|^([a-z]+)\)$", ENTRYPOINT, re.MULTILINE))
    roles = {name for pair in roles for name in pair if name}
    assert {"web", "celery-worker", "celery-beat", "dev", "manage", "doorito"} <= roles
    for service in (MAIN["services"][name] for name in PORTAL):
        assert service["command"][0] in roles
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]
    assert set(DEV["services"]) == set(PORTAL)
    assert DEV["services"]["web"]["command"] == ["dev"]


def test_only_chosen_profiles_start_more_than_the_portal():
    services = MAIN["services"]
    always = {name for name, service in services.items() if "profiles" not in service}
    assert always == {*PORTAL, "db"}
    in_dev = {name for name, service in DEV["services"].items() if "profiles" not in service}
    assert in_dev == {"web"}


def test_the_image_bears_the_version():
    assert f'image.version="{VERSION}"' in DOCKERFILE


def test_secrets_data_and_history_of_the_checkout_stay_out_of_the_image():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ".*" in ignored  # .env, .doorito, .git, .venv
    # The manual shows it.
    assert [line for line in ignored if line.startswith("!")] == ["!.env.example"]


@pytest.mark.parametrize("target", ["docker-up", "docker-down", "docker-logs", "docker-shell"])
def test_make_has_the_target(target):
    assert target in make_targets()
