"""Where this user's login is kept: a file that nobody else can read, or the system's keyring."""

import json
import os
import sys
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

from doorito_client.errors import DooritoError

_KEYRING = "doorito-client"


def config_file() -> Path:
    home = Path.home()
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "doorito" / "client.json"
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA", home)) / "doorito" / "client.json"
    return Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "doorito/client.json"


@dataclass(frozen=True)
class Login:
    """Tokens by server. An empty one is in the keyring."""

    current: str
    tokens: dict[str, str]


def read() -> Login:
    """Raises DooritoError for a file that is none of ours."""
    try:
        document = json.loads(config_file().read_bytes())
        return Login(str(document["current"]), dict(document["tokens"]))
    except FileNotFoundError:
        return Login("", {})
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise DooritoError(
            f"{config_file()} cannot be read: {exc}.", advice="Remove it and log in again."
        ) from exc


def token_of(login: Login, server: str) -> str:
    """The server's token, "" for none."""
    kept = login.tokens.get(server)
    if kept == "" and (keyring := _keyring()):
        return str(keyring.get_password(_KEYRING, server) or "")
    return kept or ""


def remember(server: str, token: str) -> str:
    """Keep a token and make its server the current one; where it is kept, in words."""
    login = read()
    if keyring := _keyring():
        keyring.set_password(_KEYRING, server, token)
        _write(Login(server, login.tokens | {server: ""}))
        return "the keyring"
    _write(Login(server, login.tokens | {server: token}))
    return str(config_file())


def forget(server: str) -> bool:
    """Whether there was a token."""
    login = read()
    if server not in login.tokens:
        return False
    if login.tokens[server] == "" and (keyring := _keyring()):
        keyring.delete_password(_KEYRING, server)
    left = {name: token for name, token in login.tokens.items() if name != server}
    current = next(iter(left), "") if login.current == server else login.current
    _write(Login(current, left))
    return True


def _write(login: Login) -> None:
    path = config_file()
    unfinished = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
    document = json.dumps({"current": login.current, "tokens": login.tokens}, indent=2)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(
            os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w"
        ) as out:
            out.write(f"{document}\n")
        unfinished.replace(path)
    except OSError as exc:
        raise DooritoError(f"{path} cannot be written: {exc.strerror}.") from exc


def _keyring() -> Any:
    """The package, if it is installed and has a place to keep things in."""
    if find_spec("keyring") is None:
        return None
    keyring = import_module("keyring")
    return keyring if keyring.get_keyring().priority > 0 else None
