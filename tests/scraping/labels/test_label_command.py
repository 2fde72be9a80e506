"""`planespotter label`: path and explanation, as text and as JSON."""

import json

from typer.testing import CliRunner

from planespotter_scraping.cli import app


def test_the_path_is_printed_with_its_explanation() -> None:
    result = CliRunner().invoke(app, ["label", "737-8AS", "A321-271NX"])
    assert result.exit_code == 0, result.output
    first, first_explanation, second, second_explanation = result.output.splitlines()
    assert first == "737-8AS: Boeing > 737 > 737-800 (B738)"
    assert "AS is the code of its first customer" in first_explanation
    assert second == "A321-271NX: Airbus > A321 > A321neo (A21N)"
    assert "Pratt & Whitney" in second_explanation


def test_json_has_one_object_per_line() -> None:
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


def test_a_given_constructor_overrides_the_inferred_one() -> None:
    result = CliRunner().invoke(app, ["label", "CS100", "CRJ900", "--constructor", "Bombardier"])
    assert "CS100: Airbus > A220 > A220-100 (BCS1)" in result.output
    assert "CRJ900: Bombardier\n    There are no rules for the constructor Bombardier." in result.output
    result = CliRunner().invoke(app, ["label", "737-8AS", "--constructor", "Airbus"])
    assert "737-8AS: Airbus\n" in result.output


def test_an_unknown_type_has_no_path() -> None:
    result = CliRunner().invoke(app, ["label", "holiday"])
    explanation = "No constructor is given, and the text is not a known type of Airbus, Boeing or ATR."
    assert result.output == f"holiday: unknown\n    {explanation}\n"
