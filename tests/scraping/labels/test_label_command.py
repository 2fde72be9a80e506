"""`planespotter label`: the path and why, for people and for programs."""

import json

from typer.testing import CliRunner

from planespotter_scraping.cli import app


def test_the_path_is_printed_with_the_reason() -> None:
    result = CliRunner().invoke(app, ["label", "737-8AS", "A321-271NX"])
    assert result.exit_code == 0, result.output
    first, first_why, second, second_why = result.output.splitlines()
    assert first == "737-8AS: Boeing > 737 > 737-800 (B738)"
    assert "AS is its first customer" in first_why
    assert second == "A321-271NX: Airbus > A321 > A321neo (A21N)"
    assert "Pratt & Whitney" in second_why


def test_json_has_one_object_a_line() -> None:
    result = CliRunner().invoke(app, ["label", "--json", "747-409(LCF)", "A321", "what is this"])
    assert [json.loads(line) for line in result.output.splitlines()] == [
        {
            "text": "747-409(LCF)",
            "constructor": "Boeing",
            "family": "747",
            "model": "747-400LCF",
            "icao": "BLCF",
            "roles": ["freighter", "special"],
        },
        {"text": "A321", "constructor": "Airbus", "family": "A321", "model": None, "icao": None, "roles": []},
        {"text": "what is this", "constructor": None, "family": None, "model": None, "icao": None, "roles": []},
    ]


def test_the_constructor_that_is_named_counts() -> None:
    result = CliRunner().invoke(app, ["label", "CS100", "CRJ900", "--constructor", "Bombardier"])
    assert "CS100: Airbus > A220 > A220-100 (BCS1)" in result.output
    assert "CRJ900: Bombardier\n    There are no rules for the constructor Bombardier." in result.output
    result = CliRunner().invoke(app, ["label", "737-8AS", "--constructor", "Airbus"])
    assert "737-8AS: Airbus\n" in result.output


def test_a_type_that_nobody_makes_is_not_known() -> None:
    result = CliRunner().invoke(app, ["label", "holiday"])
    why = "No constructor is named, and it is no type that the rules know of Airbus, Boeing or ATR."
    assert result.output == f"holiday: not known\n    {why}\n"
