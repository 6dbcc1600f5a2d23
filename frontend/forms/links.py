"""Forms for upload links and share links, and for the password that a link asks for."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django import forms

from accounts.link_passwords import SHORTEST
from common import lengths
from common.db import database_now
from uploads.files.new_grants import NewGrant
from uploads.models import UploadGrant, Workflow

_MIB = 2**20
_OFFICE = "application/vnd.openxmlformats-officedocument"
# What people call kinds of files, as content types.
_KINDS: dict[str, tuple[str, list[str]]] = {
    "images": ("Images", ["image/*"]),
    "pdf": ("PDF", ["application/pdf"]),
    "office": (
        "Office documents",
        [
            f"{_OFFICE}.wordprocessingml.document",
            f"{_OFFICE}.spreadsheetml.sheet",
            f"{_OFFICE}.presentationml.presentation",
            "application/msword",
            "application/vnd.ms-excel",
            "application/vnd.ms-powerpoint",
        ],
    ),
    "text": ("Text", ["text/*"]),
    "audio": ("Audio", ["audio/*"]),
    "video": ("Video", ["video/*"]),
    "zip": ("ZIP archives", ["application/zip"]),
}
_NO_END = "0"
_AS_IT_IS = "-1"


def kind_names(types: Iterable[str]) -> list[str]:
    """Content types as people call them, as far as they have such a name."""
    names = {kind: name for name, kinds in _KINDS.values() for kind in kinds}
    return list(dict.fromkeys(names.get(each, each) for each in types))


def _days(offers: dict[str, str], *, initial: str) -> forms.TypedChoiceField:
    return forms.TypedChoiceField(
        label="Good for", coerce=int, choices=list(offers.items()), initial=initial
    )


def _password() -> forms.CharField:
    return forms.CharField(
        label="Password",
        required=False,
        strip=False,
        min_length=SHORTEST,
        max_length=lengths.LINK_PASSWORD,
        help_text="Optional. Tell it in another way than the link.",
        # A form that comes back keeps it: without, the link would have none. Pages are not cached.
        widget=forms.PasswordInput(render_value=True, attrs={"autocomplete": "new-password"}),
    )


def _limit(label: str, *, unit: str, most: int) -> forms.IntegerField:
    return forms.IntegerField(
        label=label,
        required=False,
        min_value=1,
        max_value=most,
        widget=forms.NumberInput(attrs={"placeholder": "no limit", "data-unit": unit}),
    )


def _end(days: int) -> datetime | None:
    return database_now() + timedelta(days=days) if days else None


class UploadLinkForm(forms.Form):
    name = forms.CharField(
        label="What for",
        max_length=lengths.LINK_NAME,
        help_text="The guest sees it, for example “Invoices for March”.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    message = forms.CharField(
        label="Message to the guest",
        required=False,
        max_length=lengths.LINK_MESSAGE,
        widget=forms.Textarea(attrs={"rows": 3, "data-prose": True}),
    )
    days = _days(
        {"1": "a day", "7": "7 days", "30": "30 days", "90": "90 days", _NO_END: "no end"},
        initial="7",
    )
    password = _password()
    max_files = _limit("Number of files", unit="files", most=2**31 - 1)
    max_file_mib = _limit("Largest file (MiB)", unit="MiB", most=2**40)
    max_mib = _limit("All files together (MiB)", unit="MiB", most=2**40)
    kinds = forms.MultipleChoiceField(
        label="Accepted types",
        required=False,
        choices=[(key, name) for key, (name, _) in _KINDS.items()],
    )
    other_types = forms.CharField(
        label="Other types",
        required=False,
        max_length=1000,
        help_text="Content types with commas between them, such as <code>application/json</code>.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    workflow = forms.ChoiceField(
        label="Start a workflow on each file",
        required=False,
        help_text="If it takes files of that type.",
    )
    mails_owner = forms.BooleanField(
        label="Mail me when files have come", required=False, initial=True
    )

    def __init__(
        self,
        *args: Any,
        workflows: list[Workflow],
        grant: UploadGrant | None = None,
        **kwargs: Any,
    ) -> None:
        """`grant`: one to be changed."""
        super().__init__(*args, **kwargs)
        self.initial = _initial(grant) if grant else {}
        choices = {"": "None"} | {workflow.slug: workflow.name for workflow in workflows}
        if grant and grant.workflow:
            choices.setdefault(grant.workflow.slug, f"{grant.workflow.name} (switched off)")
        self.fields["workflow"].choices = list(choices.items())  # type: ignore[attr-defined]
        if grant:
            days = self.fields["days"]
            days.choices = [(_AS_IT_IS, "as it is"), *days.choices]  # type: ignore[attr-defined]
            days.label = "Good from now for"
            self.fields["password"].help_text = "Empty: as it is."

    def new_grant(self) -> NewGrant:
        return NewGrant(**self._values(self.fields))

    def changes(self) -> dict[str, Any]:
        """What is another than before, as a NewGrant names it."""
        return self._values(self.changed_data)

    def _values(self, names: Iterable[str]) -> dict[str, Any]:
        chosen = self.cleaned_data
        made = {
            "name": ("name", chosen["name"]),
            "message": ("message", chosen["message"]),
            "password": ("password", chosen["password"]),
            "days": ("expires_at", _end(chosen["days"])),
            "max_files": ("max_files", chosen["max_files"]),
            "max_file_mib": ("max_file_size", _bytes(chosen["max_file_mib"])),
            "max_mib": ("max_bytes", _bytes(chosen["max_mib"])),
            "kinds": ("allowed_types", self._types()),
            "other_types": ("allowed_types", self._types()),
            "workflow": ("workflow", chosen["workflow"]),
            "mails_owner": ("mails_owner", chosen["mails_owner"]),
        }
        return dict(made[name] for name in names)

    def _types(self) -> list[str]:
        typed = (each.strip() for each in self.cleaned_data["other_types"].split(","))
        known = (each for kind in self.cleaned_data["kinds"] for each in _KINDS[kind][1])
        return [*known, *filter(None, typed)]


class ShareForm(forms.Form):
    days = _days(
        {"1": "a day", "7": "7 days", "30": "30 days", _NO_END: "as long as the file"},
        initial=_NO_END,
    )
    password = _password()

    def expires_at(self) -> datetime | None:
        return _end(self.cleaned_data["days"])


class LinkPasswordForm(forms.Form):
    """What a link's page asks a stranger for."""

    password = forms.CharField(
        label="Password",
        strip=False,
        max_length=1024,
        widget=forms.PasswordInput(attrs={"autocomplete": "off", "autofocus": True}),
    )


def _initial(grant: UploadGrant) -> dict[str, Any]:
    """Sizes in whole MiB: what is not changed in the form is not changed at all."""
    types = set(grant.allowed_types)
    kinds = [key for key, (_, kinds) in _KINDS.items() if types.issuperset(kinds)]
    named = {each for key in kinds for each in _KINDS[key][1]}
    return {
        "name": grant.name,
        "message": grant.message,
        "days": _AS_IT_IS,
        "max_files": grant.max_files,
        "max_file_mib": _mib(grant.max_file_size),
        "max_mib": _mib(grant.max_bytes),
        "kinds": kinds,
        "other_types": ", ".join(each for each in grant.allowed_types if each not in named),
        "workflow": grant.workflow.slug if grant.workflow else "",
        "mails_owner": grant.mails_owner,
    }


def _mib(size: int | None) -> int | None:
    return None if size is None else max(size // _MIB, 1)


def _bytes(mib: int | None) -> int | None:
    return mib * _MIB if mib else None
