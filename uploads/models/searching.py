"""What lists of files are searched and filtered by, as the database computes it for its indexes."""

import re
import unicodedata

from django.contrib.postgres.search import SearchVectorField
from django.db.models import Case, CharField, Func, Value, When

# Names are parted where they have no letter and no digit, and between letters and digits. Only
# ASCII is told apart here: PostgreSQL's classes of characters depend on the database's locale.
_SEPARATORS = r"[ -/:-@\[-`{-~\x01-\x1f]+"
_LETTERS_DIGITS = r"([^ 0-9])([0-9])"
_DIGITS_LETTERS = r"([0-9])([^ 0-9])"


class NameWords(Func):
    """The words of a name: `IMG0417.jpg` has `img`, `0417` and `jpg`."""

    output_field = SearchVectorField()
    template = (
        "to_tsvector('simple'::regconfig, regexp_replace(regexp_replace(regexp_replace("
        f"normalize(%(expressions)s), '{_SEPARATORS}', ' ', 'g'), "
        rf"'{_LETTERS_DIGITS}', '\1 \2', 'g'), '{_DIGITS_LETTERS}', '\1 \2', 'g'))"
    )


def words_of(text: str) -> list[str]:
    """The words that a person searches for, parted as those of names are."""
    parted = re.sub(_SEPARATORS, " ", unicodedata.normalize("NFC", text.replace("\x00", " ")))
    parted = re.sub(_LETTERS_DIGITS, r"\1 \2", parted)
    return re.sub(_DIGITS_LETTERS, r"\1 \2", parted).split()


KINDS = {
    "image": "Images",
    "audio": "Audio",
    "video": "Video",
    "text": "Text",
    "pdf": "PDF",
    "other": "Other",
}

# The kind of a file's content, by its detected type.
FILE_KIND = Case(
    When(detected_type="application/pdf", then=Value("pdf")),
    *(
        When(detected_type__startswith=f"{kind}/", then=Value(kind))
        for kind in ("image", "audio", "video", "text")
    ),
    default=Value("other"),
    output_field=CharField(),
)
