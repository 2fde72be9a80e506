"""`planespotter label`: path and explanation, as text and as JSON."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
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
    nothing: dict[str, object] = {"icao": None, "roles": [], "suggestions": []}
    result = CliRunner().invoke(app, ["label", "--json", "747-409(LCF)", "A321", "what is this"])
    assert [json.loads(line) for line in result.output.splitlines()] == [
        {
            "text": "747-409(LCF)",
            "constructor": "Boeing",
            "family": "747",
            "model": "747-400LCF",
            "icao": "BLCF",
            "roles": ["freighter", "special"],
            "suggestions": [],
        },
        {"text": "A321", "constructor": "Airbus", "family": "A321", "model": None, **nothing},
        {"text": "what is this", "constructor": None, "family": None, "model": None, **nothing},
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


def test_a_registry_is_labelled_from_a_file_as_csv(tmp_path: Path) -> None:
    registry = tmp_path / "registry.txt"
    registry.write_bytes("\ufeffBOEING 737-7CT\r\n\r\nAIRBUS SAS, A321-271N\r\n".encode())
    result = CliRunner().invoke(app, ["label", "--file", str(registry), "--csv"])
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(io.StringIO(result.output)))
    assert [(row["text"], row["family"], row["model"]) for row in rows] == [
        ("BOEING 737-7CT", "737", "737-700"),
        ("AIRBUS SAS, A321-271N", "A321", "A321neo"),
    ]
    assert (rows[0]["icao"], rows[0]["roles"], rows[0]["suggestions"]) == ("B737", "", "")


@pytest.mark.parametrize("arguments", [["-"], ["--file", "-"]])
def test_types_are_read_from_standard_input(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, ["label", *arguments, "--json"], input="737-8AS\nA320\n")
    assert [json.loads(line)["family"] for line in result.output.splitlines()] == ["737", "A320"]


def test_each_label_is_printed_before_the_next_line_is_read() -> None:
    command = [sys.executable, "-c", "from planespotter_scraping.cli import app; app()", "label", "-", "--csv"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline().startswith("text,constructor")
        for text, model in [("737-8AS", "737-800"), ("A320neo", "A320neo")]:
            process.stdin.write(f"{text}\n")
            process.stdin.flush()
            assert model in process.stdout.readline()
        process.stdin.close()
        assert process.wait(timeout=60) == 0


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    latin = tmp_path / "latin.txt"
    latin.write_bytes(b"737-8AS\nA330 Ph\xe9nix\n")
    result = CliRunner().invoke(app, ["label", "--file", str(latin)])
    assert "latin.txt is not UTF-8 text (line 2). Save it in UTF-8." in str(result.exception)
    result = CliRunner().invoke(app, ["label", "--file", str(tmp_path / "none.txt")])
    assert "none.txt cannot be read: No such file or directory." in str(result.exception)


def test_a_call_without_types_says_what_to_pass() -> None:
    result = CliRunner().invoke(app, ["label"])
    assert result.exit_code == 2
    assert "standard input" in result.output
    assert CliRunner().invoke(app, ["label", "737", "--json", "--csv"]).exit_code == 2


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        ("Dremliner", "Dreamliner"),
        ("A32O-2I4", "A320-200"),
        ("B73B", "737-800"),
        ("320", "Airbus A320"),
        ("333", "Airbus A330-300"),
    ],
)
def test_a_near_miss_gets_a_suggestion(text: str, suggestion: str) -> None:
    result = CliRunner().invoke(app, ["label", text])
    assert f"{text}: unknown" in result.output
    assert f"Did you mean {suggestion}" in result.output


@pytest.mark.parametrize("text", ["holiday", "737-8AS", "Boeing 314 Clipper", "KC-46A", "Embraer"])
def test_other_texts_get_no_suggestion(text: str) -> None:
    assert "Did you mean" not in CliRunner().invoke(app, ["label", text]).output
