"""Forms to filter the list of files and to extend a file's expiry."""

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.utils import timezone

from common import lengths
from uploads.files.expiry import latest_expiry
from uploads.models import FileStatus, IngestFile

_DAYS = (1, 3, 7, 14, 30, 90)


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
