"""Forms to find files, to choose among them, and to extend a file's expiry."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.utils import timezone

from accounts.models import User
from accounts.principals import Principal
from common import lengths
from uploads import selectors
from uploads.files.expiry import latest_expiry
from uploads.files.finding import FileFilters, Order, Uploader
from uploads.models import FileStatus, IngestFile
from uploads.models.searching import KINDS

_DAYS = (1, 3, 7, 14, 30, 90)
_MIB = 2**20
_SIZES: dict[str, tuple[str, int | None, int | None]] = {
    "small": ("Up to 1 MiB", None, _MIB),
    "medium": ("1 to 100 MiB", _MIB, 100 * _MIB),
    "large": ("100 MiB to 1 GiB", 100 * _MIB, 1024 * _MIB),
    "huge": ("Over 1 GiB", 1024 * _MIB, None),
}


def _day(label: str) -> forms.DateField:
    return forms.DateField(
        label=label,
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
    )


class FilterForm(forms.Form):
    search = forms.CharField(
        label="Search by name",
        max_length=lengths.FILE_NAME,
        required=False,
        widget=forms.TextInput(attrs={"type": "search", "placeholder": "Search by name"}),
    )
    status = forms.ChoiceField(
        label="Status",
        required=False,
        choices=[("", "All states"), *((state.value, state.label) for state in FileStatus)],
    )
    kind = forms.ChoiceField(
        label="Type", required=False, choices=[("", "All types"), *KINDS.items()]
    )
    size = forms.ChoiceField(
        label="Size",
        required=False,
        choices=[("", "All sizes"), *((name, words) for name, (words, *_) in _SIZES.items())],
    )
    since = _day("Received from")
    until = _day("Received until")
    order = forms.ChoiceField(
        label="Order",
        required=False,
        choices=[
            ("", "Newest first"),
            (Order.OLDEST.value, "Oldest first"),
            (Order.LARGEST.value, "Largest first"),
            (Order.NAME.value, "By name"),
        ],
    )
    uploader = forms.ChoiceField(label="Uploader", required=False)
    batch = forms.UUIDField(required=False, widget=forms.HiddenInput)
    grant = forms.UUIDField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, principal: Principal, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not selectors.reaches_all_files(principal):
            del self.fields["uploader"]
            return
        self.fields["uploader"].choices = [  # type: ignore[attr-defined]
            ("", "My files"),
            (Uploader.ANYBODY.value, "Files of everybody"),
            *self._named_uploader(),
        ]

    def filters(self) -> FileFilters:
        """The filters that are set; values that are not on offer are ignored."""
        self.is_valid()
        chosen = {name: value for name, value in self.cleaned_data.items() if value}
        _, least, most = _SIZES.get(chosen.pop("size", ""), ("", None, None))
        uploader = chosen.pop("uploader", None)
        if uploader:
            chosen["uploader"] = Uploader.ANYBODY if uploader == "anybody" else UUID(uploader)
        order = Order(chosen.pop("order", Order.NEWEST))
        return FileFilters(min_size=least, max_size=most, order=order, **chosen)

    @property
    def is_narrowed(self) -> bool:
        """Whether it leaves files out that a plain list has."""
        return any(value for name, value in self.cleaned_data.items() if name != "order")

    @property
    def more_are_set(self) -> bool:
        """Whether filters are set that are not always in view."""
        return any(self.cleaned_data.get(name) for name in ("size", "since", "until", "uploader"))

    def _named_uploader(self) -> list[tuple[str, str]]:
        """A list of one account's files was asked for: by a link in the list of all."""
        try:
            account = User.objects.get(id=UUID(self.data.get("uploader", "")))
        except (ValueError, User.DoesNotExist):
            return []
        return [(str(account.id), account.email)]


class ChoiceForm(forms.Form):
    """Files that were chosen in a list."""

    MOST = 500

    file = forms.TypedMultipleChoiceField(coerce=UUID)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["file"].valid_value = lambda _: True  # type: ignore[attr-defined]

    def clean_file(self) -> list[UUID]:
        chosen: list[UUID] = self.cleaned_data["file"]
        if len(chosen) > self.MOST:
            raise forms.ValidationError("too many", code="too_many")
        return chosen


class ExtendForm(forms.Form):
    """How long to keep a file: offers only times after its present expiry and within the limit."""

    until = forms.ChoiceField(label="Keep it")

    def __init__(self, *args: Any, file: IngestFile, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._file = file
        self.fields["until"].choices = self._choices()  # type: ignore[attr-defined]

    @property
    def is_useful(self) -> bool:
        return bool(self._choices())

    def expires_at(self) -> datetime:
        return datetime.fromisoformat(self.cleaned_data["until"])

    def _choices(self) -> list[tuple[str, str]]:
        """Choices with points in time (full hours) as values: a form sent later means the same."""
        file = self._file
        if file.stored_at is None or file.expires_at is None:
            return []
        latest = latest_expiry(file.stored_at)
        hour = timezone.now().replace(minute=0, second=0, microsecond=0)
        offers = {
            hour + timedelta(days=days): f"{days} day{'s' if days > 1 else ''} from now"
            for days in _DAYS
        }
        offers = {at: label for at, label in offers.items() if file.expires_at < at < latest}
        if file.expires_at < latest and latest > timezone.now():
            offers[latest] = "as long as possible"
        return [(at.isoformat(), label) for at, label in offers.items()]
