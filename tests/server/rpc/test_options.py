"""Options of a request: minimum probability, leaf probabilities and priors, over a real connection."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from google.rpc import code_pb2
from tests.server.calls import reason, service, status_of

from planespotter.v1 import classifier_pb2 as pb

Serve = Callable[..., Awaitable[grpc.aio.Channel]]
Paint = Callable[..., bytes]

TREE_ORDER = ["A320-200", "A320neo", "A380", "737-800", "737 MAX 8", "747"]


def fleet(*path: str, **values: Any) -> pb.Prior:
    return pb.Prior(name="fleet", weights=[pb.PriorWeight(path=path, weight=1)], **values)


async def classify(channel: grpc.aio.Channel, photo: bytes, **options: Any) -> pb.Prediction:
    request = pb.ClassifyRequest(photo=pb.Photo(content=photo), options=pb.ClassifyOptions(**options))
    response = await service(channel).Classify(request)
    return response.prediction


async def test_leaf_probabilities_come_in_the_order_of_the_taxonomy(serve: Serve, paint: Paint) -> None:
    channel = await serve()
    prediction = await classify(channel, paint("A380"), leaf_probabilities=True)
    leaves = dict(zip(TREE_ORDER, prediction.leaf_probabilities, strict=True))
    assert max(leaves, key=leaves.__getitem__) == "A380"
    assert sum(leaves.values()) == pytest.approx(1)
    assert not (await classify(channel, paint("A380"))).leaf_probabilities
    model = (await service(channel).GetModel(pb.GetModelRequest())).model
    assert model.decode_rule == pb.DECODE_RULE_GREEDY


async def test_minimum_probability_of_a_request_replaces_the_thresholds_of_the_model(
    serve: Serve, paint: Paint
) -> None:
    channel = await serve()
    photo = paint("nothing known")
    assert (await classify(channel, photo)).level == pb.LEVEL_UNKNOWN
    assert (await classify(channel, photo, min_probability=0)).level > pb.LEVEL_CONSTRUCTOR
    assert (await classify(channel, paint("747"), min_probability=1)).level == pb.LEVEL_UNKNOWN


async def test_fleet_decides_where_the_photo_does_not_and_the_raw_path_stays(serve: Serve, paint: Paint) -> None:
    channel = await serve()
    photo = paint("nothing known")
    network = await classify(channel, photo)
    other = "Boeing" if network.path[0].name == "Airbus" else "Airbus"
    prediction = await classify(channel, photo, prior=fleet(other, odds=1000))
    assert prediction.path[0].name == other
    assert (network.evidence, prediction.evidence) == ("network", "network+fleet")
    assert list(prediction.network_path) == list(network.path)
    assert not network.network_path


async def test_a_stream_applies_its_prior_to_every_photo(serve: Serve, paint: Paint) -> None:
    channel = await serve()
    options = pb.ClassifyOptions(prior=fleet("Boeing", "747"))
    requests = [
        pb.StreamClassifyRequest(config=pb.StreamConfig(options=options)),
        *(pb.StreamClassifyRequest(photo=pb.Photo(content=paint("747"))) for _ in range(3)),
    ]
    results = [response.result async for response in service(channel).StreamClassify(iter(requests))]
    assert [result.prediction.evidence for result in results] == 3 * ["network+fleet"]


@pytest.mark.parametrize(
    ("options", "expected", "message"),
    [
        ({"min_probability": 1.5}, "MIN_PROBABILITY_OUT_OF_RANGE", "min_probability is out of range: 1.5"),
        ({"min_probability": float("nan")}, "MIN_PROBABILITY_OUT_OF_RANGE", "out of range: nan"),
        ({"prior": fleet("ATR", "72")}, "PRIOR_INVALID", "lists no type of the model"),
        ({"prior": fleet("Boeing", odds=0)}, "PRIOR_INVALID", "odds of the prior are out of range: 0"),
        ({"prior": pb.Prior(weights=[pb.PriorWeight(path=["Boeing"], weight=1)])}, "PRIOR_INVALID", "no valid name"),
        (
            {"prior": pb.Prior(name="fleet", weights=[pb.PriorWeight(path=["Boeing"], weight=-1)])},
            "PRIOR_INVALID",
            "A weight of the prior is invalid",
        ),
        (
            {"prior": pb.Prior(name="fleet", weights=10_001 * [pb.PriorWeight(path=["Boeing"], weight=1)])},
            "PRIOR_INVALID",
            "too many weights: 10,001; the limit is 10,000",
        ),
    ],
)
async def test_invalid_option_is_rejected_with_a_sentence(
    serve: Serve, paint: Paint, options: dict[str, Any], expected: str, message: str
) -> None:
    channel = await serve()
    status = await status_of(classify(channel, paint("747"), **options))
    assert status.code == code_pb2.INVALID_ARGUMENT
    assert reason(status) == expected
    assert message in status.message
