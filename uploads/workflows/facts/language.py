"""Which language a text is in."""

import os
from functools import cache

from uploads.workflows.facts.base import Facts

# NumPy's OpenBLAS reserves memory for every core; a product of two small arrays needs one.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# isort: split
from py3langid.langid import MODEL_FILE, LanguageIdentifier

_CHARACTERS_MIN = 20
NO_LANGUAGE = "zxx"  # ISO 639-2: no linguistic content


def language(text: str) -> Facts | None:
    """A guess: ISO 639 code and probability (0 to 1); None for too little text."""
    words = " ".join(word for word in text.split() if any(map(str.isalpha, word)))
    if len(words) < _CHARACTERS_MIN:
        return None
    code, probability = _identifier().classify(words)
    return None if code == NO_LANGUAGE else {"code": code, "probability": round(probability, 3)}


@cache
def _identifier() -> LanguageIdentifier:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
