"""Texts: their encoding and length."""

from uploads.workflows.facts.base import Facts, Subject
from uploads.workflows.text.decoding import decoded

_BLOCK_CHARACTERS = 256 * 1024


def facts(subject: Subject) -> Facts:
    lines = words = characters = 0
    inside_word = ends_line = False
    with decoded(subject.source) as text:
        encoding = text.encoding
        while block := text.read(_BLOCK_CHARACTERS):
            subject.check()
            characters += len(block)
            lines += block.count("\n")
            words += len(block.split()) - (inside_word and not block[0].isspace())
            inside_word = not block[-1].isspace()
            ends_line = block[-1] == "\n"
    unfinished = characters > 0 and not ends_line
    return {
        "encoding": encoding,
        "lines": lines + unfinished,
        "words": words,
        "characters": characters,
    }
