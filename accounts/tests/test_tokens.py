import re

from hypothesis import given
from hypothesis import strategies as st

from accounts import tokens


def test_a_token_has_a_fixed_shape_and_is_never_the_same():
    made = {tokens.generate() for _ in range(200)}

    assert len(made) == 200
    assert all(re.fullmatch(r"drt_[0-9A-Za-z]{33}", text) for text in made)
    assert all(tokens.looks_valid(text) for text in made)


@given(position=st.integers(4, 36), replacement=st.sampled_from("0aZ9k"))
def test_one_wrong_character_is_noticed(position, replacement):
    text = tokens.generate()
    typo = text[:position] + replacement + text[position + 1 :]

    assert tokens.looks_valid(typo) == (typo == text)


@given(st.text(max_size=60))
def test_other_text_is_no_token(text):
    assert not tokens.looks_valid(text)
    assert not tokens.looks_valid("drt_" + text)


def test_what_follows_a_token_counts():
    text = tokens.generate()

    assert not tokens.looks_valid(text + "\n")
    assert not tokens.looks_valid(" " + text)


def test_each_kind_of_token_has_its_prefix():
    text = tokens.generate(prefix="drg_")

    assert re.fullmatch(r"drg_[0-9A-Za-z]{33}", text)
    assert tokens.looks_valid(text, prefix="drg_")
    assert not tokens.looks_valid(text)
    assert not tokens.looks_valid(tokens.generate(), prefix="drg_")


def test_the_format_is_frozen():
    # Tokens in use must stay valid: this one was made when the format was fixed.
    assert tokens.looks_valid("drt_aWgEPTl1tmebfsQzFP4bxwgy80V0pL5X7")
