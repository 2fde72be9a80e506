"""`planespotter decide`: other thresholds and other evidence for kept probabilities, without a server."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from tests.client.classify import command

from planespotter_client.classify.grouping import NEVER
from planespotter_client.commands.main import main
from planespotter_client.decide.redecide import expected_thresholds

Paint = Callable[..., bytes]


def run(*arguments: object) -> int:
    """Run `planespotter decide` in this process; return its exit code."""
    with pytest.raises(SystemExit) as done:
        main(["decide", *map(str, arguments)])
    assert isinstance(done.value.code, int)
    return done.value.code


@pytest.fixture
def results(tmp_path: Path, paint: Paint, address: str) -> Path:
    """Results of four photos: two clear ones, one that is not, and a file that is not a photo."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("A320neo", "747", "nothing known"):
        (photos / f"{name}.jpg").write_bytes(paint(name))
    (photos / "broken.jpg").write_bytes(b"not a photo")
    out = tmp_path / "results.parquet"
    assert command.run(photos, "--server", address, "--out", out, "--top-k", "2") == 3
    return out


def rows_of(file: Path) -> dict[str, dict[str, Any]]:
    return {Path(row["file"]).stem: row for row in pq.read_table(file).to_pylist()}


def test_classify_keeps_the_probability_of_every_type_in_parquet(results: Path) -> None:
    rows = rows_of(results)
    assert len(rows["747"]["leaf_probabilities"]) == 6
    assert rows["747"]["leaf_probabilities"][5] == pytest.approx(rows["747"]["best_guess_family_probability"], abs=1e-3)
    assert rows["broken"]["leaf_probabilities"] is None
    description = json.loads(pq.read_schema(results).metadata[b"planespotter"])
    assert description["model"] == "tiny 1"
    assert description["leaves"][:3] == [
        ["Airbus", "A320", "A320-200"],
        ["Airbus", "A320", "A320neo"],
        ["Airbus", "A380"],
    ]
    assert description["thresholds"] == [0.9, 0.8, 0.7]
    assert pq.read_schema(results).field("leaf_probabilities").type.value_type == "halffloat"


def test_deciding_with_the_thresholds_of_the_model_changes_nothing(results: Path, tmp_path: Path) -> None:
    assert run(results, "--out", tmp_path / "same.parquet") == 0
    for name, row in rows_of(results).items():
        again = rows_of(tmp_path / "same.parquet")[name]
        for column, value in row.items():
            if isinstance(value, float):
                assert again[column] == pytest.approx(value, abs=1e-3), (name, column)
            else:
                assert again[column] == value, (name, column)


def test_minimum_probability_redraws_levels_and_names(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rows_of(results)["nothing known"]["name"] == "unknown"
    assert run(results, "--min-probability", "0", "--out", tmp_path / "bold.csv") == 0
    rows = {Path(row["file"]).stem: row for row in command.csv_rows((tmp_path / "bold.csv").read_text())}
    bold = rows["nothing known"]
    assert (bold["level"], bold["model"]) == ("model", bold["best_guess_model"])
    assert bold["name"] == f"{bold['constructor']} {bold['model']}"
    assert (rows["747"]["level"], rows["747"]["model"]) == ("family", "")
    assert "JPEG, PNG or WebP" in rows["broken"]["error"]
    assert rows["broken"]["name"] == ""
    assert "3 photos with probabilities, and 1 failed one without a prediction" in capsys.readouterr().out


def test_a_fleet_decides_later_and_the_path_of_the_network_stays(results: Path, tmp_path: Path) -> None:
    network = rows_of(results)["nothing known"]
    other = "A320" if network["best_guess_constructor"] == "Boeing" else "737"
    arguments = ("--candidates", other, "--prior-odds", "1000", "--min-probability", "0.5")
    assert run(results, *arguments, "--out", tmp_path / "prior.parquet") == 0
    row = rows_of(tmp_path / "prior.parquet")["nothing known"]
    assert row["evidence"] == "network+candidates"
    assert row["constructor"] != network["best_guess_constructor"]
    assert row["unadjusted_constructor"] == network["best_guess_constructor"]
    assert row["leaf_probabilities"] == network["leaf_probabilities"]
    assert [leaf["constructor"] for leaf in row["candidates"]] == 2 * [row["constructor"]]
    assert run(tmp_path / "prior.parquet", "--out", tmp_path / "without.parquet") == 0
    without = rows_of(tmp_path / "without.parquet")["nothing known"]
    assert (without["evidence"], without["unadjusted_constructor"]) == ("network", None)
    assert without["candidates"][0]["name"] == network["candidates"][0]["name"]
    assert without["best_guess_model"] == network["best_guess_model"]


def test_each_photo_gets_the_fleet_of_its_airline(results: Path, tmp_path: Path) -> None:
    network = rows_of(results)["nothing known"]
    other = "A320" if network["best_guess_constructor"] == "Boeing" else "737"
    (tmp_path / "fleet.csv").write_text(f"airline,model\nKLM,{other}\nSAS,{other}\nNobody,Saab 340\n")
    (tmp_path / "catalog.csv").write_text(
        "file,airline\nphotos/nothing known.jpg,klm \nphotos/747.jpg,Qantas\nphotos/A320neo.jpg,\n"
    )
    arguments = ("--fleet", tmp_path / "fleet.csv", "--prior-odds", "1000")
    out = tmp_path / "decided.parquet"
    assert run(results, *arguments, "--airlines", tmp_path / "catalog.csv", "--out", out) == 0
    rows = rows_of(out)
    assert {name: row["evidence"] for name, row in rows.items()} == {
        "nothing known": "network+fleet",
        "747": "network",
        "A320neo": "network",
        "broken": None,
    }
    assert rows["nothing known"]["best_guess_constructor"] != network["best_guess_constructor"]
    assert rows["nothing known"]["unadjusted_constructor"] == network["best_guess_constructor"]
    assert rows["747"]["unadjusted_constructor"] is None


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("photo,airline\na.jpg,KLM\n", "has no column file. Its header must name file and airline"),
        ("file,airline\nphotos/747.jpg,Qantas\n", "has no photo of an airline whose fleet is known"),
    ],
)
def test_airlines_that_cannot_be_used_are_a_sentence(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], table: str, message: str
) -> None:
    (tmp_path / "fleet.csv").write_text("airline,model\nKLM,747\n")
    (tmp_path / "catalog.csv").write_text(table)
    assert run(results, "--fleet", tmp_path / "fleet.csv", "--airlines", tmp_path / "catalog.csv") == 1
    assert message in capsys.readouterr().err


def test_the_same_prior_gives_the_same_prediction_on_the_server_and_later(
    results: Path, tmp_path: Path, address: str
) -> None:
    prior = ("--candidates", "A380,737-800", "--prior-odds", "30")
    online, later = tmp_path / "online.parquet", tmp_path / "later.parquet"
    command.run(tmp_path / "photos", "--server", address, "--out", online, *prior)
    assert run(results, *prior, "--out", later) == 0
    expected, actual = rows_of(online), rows_of(later)
    for name in ("A320neo", "747", "nothing known"):
        for column in ("name", "level", "evidence", "best_guess_model", "unadjusted_family"):
            assert actual[name][column] == expected[name][column], (name, column)
        assert actual[name]["probability"] == pytest.approx(expected[name]["probability"], abs=2e-3)


def test_without_out_nothing_is_written_and_the_change_is_shown(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    size = results.stat().st_size
    assert run(results, "--target-precision", "0.6") == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0].split() == ["level", "earlier", "now", "threshold", "expected", "precision"]
    assert "Nothing is written without --out." in out
    assert results.stat().st_size == size


def test_a_target_precision_is_the_mean_probability_of_each_level() -> None:
    random = np.random.default_rng(0)
    model = random.uniform(0, 1, 10_000)
    family = model + (1 - model) * random.uniform(0, 1, 10_000)
    constructor = family + (1 - family) * random.uniform(0, 1, 10_000)
    probabilities = np.stack([constructor, family, model], axis=1)
    thresholds = expected_thresholds(probabilities, 0.9)
    confident = model >= thresholds.model
    assert model[confident].mean() == pytest.approx(0.9, abs=0.001)
    only_family = ~confident & (family >= thresholds.family)
    assert family[only_family].mean() == pytest.approx(0.9, abs=0.001)
    assert expected_thresholds(probabilities[:0], 0.9).model == NEVER
    assert expected_thresholds(probabilities, 0).model >= 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--min-probability", "0.5", "--target-precision", "0.9"), "give only one"),
        (("--overwrite",), "--overwrite needs --out"),
        (("--out", "results.parquet"), "is the file that is read"),
        (("--out", "results.xlsx"), "ends neither in .parquet nor in .csv"),
        (("--airline", "KLM"), "--airline and --airport need --fleet"),
        (("--airlines", "photos.csv"), "--airlines needs --fleet"),
        (("--prior-odds", "3"), "--prior-odds needs --fleet or --candidates"),
        (("--candidates", "A320", "--fleet", "photos.csv"), "give only one of them"),
    ],
)
def test_wrong_usage_is_a_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("results.parquet", "photos.csv"):
        Path(name).touch()
    assert run("results.parquet", *arguments) == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_a_file_without_probabilities_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import pyarrow as pa

    (tmp_path / "text.parquet").write_text("file,name\n")
    assert run(tmp_path / "text.parquet") == 1
    assert "cannot be read as a Parquet file" in capsys.readouterr().err
    pq.write_table(pa.table({"file": ["a.jpg"]}), tmp_path / "other.parquet")
    assert run(tmp_path / "other.parquet") == 1
    assert "does not have the probabilities of all types. Make one that has with" in capsys.readouterr().err


def test_a_prior_of_types_that_the_model_lacks_is_a_sentence(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(results, "--candidates", "ATR 72") == 1
    assert "lists no type of the model" in capsys.readouterr().err
