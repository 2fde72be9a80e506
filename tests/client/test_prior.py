"""Priors and leaf probabilities in the SDK: a fleet or a short list for a call, and what the network alone predicts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.client.fake_servers import collect

from planespotter_client import DecodeRule, InvalidRequestError, Prior

Paint = Callable[..., bytes]

FLEET = """\
airline,airport,model,share
Lufthansa,FRA,A320neo,30
Lufthansa,MUC,A380,8
Ryanair,STN,737-8AS,400
Ryanair,STN,unheard of,1
"""


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    table = tmp_path / "fleet.csv"
    table.write_text(FLEET, encoding="utf-8-sig")
    return table


async def test_a_prior_changes_the_prediction_of_every_method_and_keeps_the_path_of_the_network(
    spotter: Any, paint: Paint
) -> None:
    photo = paint("nothing known")
    network = await spotter.classify(photo)
    other = "A320" if network.constructor.name == "Boeing" else "737"
    prior = Prior.from_candidates([other], odds=1000)
    single = await spotter.classify(photo, prior=prior)
    [batch] = await spotter.classify_batch([photo], prior=prior)
    [streamed] = await collect(spotter.stream([photo], prior=prior))
    for prediction in (single, batch.result(), streamed.result()):
        assert prediction.constructor.name != network.constructor.name
        assert prediction.evidence == "network+candidates"
        assert prediction.network_path == network.path
    assert (network.evidence, network.network_path) == ("network", ())


async def test_leaf_probabilities_come_in_the_order_of_the_leaves_of_the_model(spotter: Any, paint: Paint) -> None:
    model = await spotter.get_model()
    assert model.decode_rule is DecodeRule.GREEDY
    assert model.leaves[:3] == (("Airbus", "A320", "A320-200"), ("Airbus", "A320", "A320neo"), ("Airbus", "A380"))
    prediction = await spotter.classify(paint("A380"), leaf_probabilities=True)
    assert prediction.leaf_probabilities[2] == max(prediction.leaf_probabilities)
    assert len(prediction.leaf_probabilities) == len(model.leaves)
    assert (await spotter.classify(paint("A380"))).leaf_probabilities is None


async def test_a_misspelled_keyword_is_a_type_error(spotter: Any) -> None:
    with pytest.raises(TypeError, match=r"priors is an unexpected keyword argument\. Did you mean prior"):
        await spotter.classify(b"photo", priors=None)
    with pytest.raises(TypeError, match="prior is invalid: 'A320'"):
        await spotter.classify(b"photo", prior="A320")


def test_a_fleet_is_read_for_an_airline_or_an_airport(fleet: Path) -> None:
    assert Prior.from_fleet(fleet, airline="lufthansa").weights == {
        ("Airbus", "A320", "A320neo"): 30,
        ("Airbus", "A380"): 8,
    }
    assert Prior.from_fleet(fleet, airport="MUC").weights == {("Airbus", "A380"): 8}
    everything = Prior.from_fleet(fleet)
    assert everything.weights[("Boeing", "737", "737-800")] == 400
    assert everything.unresolved == ("unheard of",)


def test_a_catalog_is_a_fleet_in_which_each_photo_counts_once(tmp_path: Path) -> None:
    catalog = tmp_path / "catalog.csv"
    catalog.write_text(
        "photo_id,airline,aircraft_type\n1,SAS,A320-251N\n2,SAS,A320neo\n3,SAS,737-683\n4,KLM,747\n5,SAS,\n"
    )
    assert Prior.from_fleet(catalog, airline="SAS").weights == {
        ("Airbus", "A320", "A320neo"): 2,
        ("Boeing", "737", "737-600"): 1,
    }


@pytest.mark.parametrize(
    ("table", "chosen", "message"),
    [
        (
            "airline,model\nRyanair,737-800\n",
            {"airline": "Rynair"},
            "no row of the airline 'Rynair'. Did you mean Ryan",
        ),
        ("airline,model\nKLM,747\n", {"airline": "Qantas"}, "no row of the airline 'Qantas'. It has KLM."),
        ("airline,airport,model\nKLM,AMS,747\nSAS,ARN,A320\n", {"airline": "KLM", "airport": "ARN"}, "'ARN' together"),
        ("model\n747\n", {"airline": "KLM"}, "has no column airline. Its header must name model"),
        ("plane\n747\n", {}, "has no column model. Its header must name model"),
        ("model,share\n747,many\n", {}, "Line 2 of .* has the share 'many'. Write a number of 0 or more"),
        ("model,share\n747,-1\n", {}, "the share '-1'"),
        ("model\n", {}, "has no rows"),
        ("model\nsomething\n", {}, "no row with an aircraft type and a share above 0"),
        ("model\n\xff\n", {}, "cannot be read as a CSV file in UTF-8"),
    ],
)
def test_a_fleet_that_cannot_be_used_is_a_sentence(
    tmp_path: Path, table: str, chosen: dict[str, Any], message: str
) -> None:
    path = tmp_path / "fleet.csv"
    path.write_bytes(table.encode("latin-1"))
    with pytest.raises(InvalidRequestError, match=message) as raised:
        Prior.from_fleet(path, **chosen)
    assert raised.value.reason == "PRIOR_INVALID"


def test_a_fleet_that_is_missing_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match="No such file or directory"):
        Prior.from_fleet(tmp_path / "fleet.csv")


@pytest.mark.parametrize(
    ("types", "message"),
    [
        (["A320", "A32O"], "A32O: no aircraft type is called that. Write types such as A320"),
        (["Airbus"], "Airbus: no aircraft type"),
        ([" "], "the list is empty"),
    ],
)
def test_a_candidate_that_is_not_a_type_is_a_sentence(types: list[str], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        Prior.from_candidates(types)
