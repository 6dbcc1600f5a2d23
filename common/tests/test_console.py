import json

from common.console import CELL_MAX, print_rows

LONG = "x" * 500


def test_one_long_cell_does_not_push_the_columns_apart(capsys):
    print_rows([{"url": LONG, "error": LONG}, {"url": "a", "error": "b"}], as_json=False)

    _, first, second = capsys.readouterr().out.splitlines()
    assert first == f"{'x' * (CELL_MAX - 1)}…  {LONG}"
    assert second == f"{'a'.ljust(CELL_MAX)}  b"


def test_json_is_whole(capsys):
    print_rows([{"url": LONG, "error": LONG}], as_json=True)

    assert json.loads(capsys.readouterr().out) == [{"url": LONG, "error": LONG}]
