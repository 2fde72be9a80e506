"""Both clients have the same methods and documentation."""

import inspect
import re
from collections.abc import Callable
from typing import Any

from planespotter_client import (
    AsyncPlaneSpotter,
    PlaneSpotter,
)

Paint = Callable[..., bytes]


def test_both_clients_have_the_same_methods() -> None:
    def shape(client: type) -> dict[str, list[tuple[Any, ...]]]:
        """Return the methods; the type of `photos` alone may differ between the clients."""
        return {
            name.replace("__a", "__"): [
                (
                    parameter.name,
                    parameter.kind,
                    parameter.default,
                    None if parameter.name == "photos" else parameter.annotation,
                )
                for parameter in inspect.signature(member).parameters.values()
            ]
            for name, member in vars(client).items()
            if inspect.isfunction(member) and (not name.startswith("_") or name.startswith("__"))
        }

    assert shape(PlaneSpotter) == shape(AsyncPlaneSpotter)


def test_both_clients_have_the_same_documentation() -> None:
    methods = [name for name in vars(PlaneSpotter) if not name.startswith("_")]
    assert "stream" in methods
    for name in methods:
        documented = [inspect.getdoc(getattr(client, name)) for client in (PlaneSpotter, AsyncPlaneSpotter)]
        assert documented[0] is not None, name
        assert documented[0] == documented[1], name


def test_both_classes_show_the_same_example() -> None:
    def example(client: type) -> str:
        text = re.sub(r"\b(async|await) |\bAsync(?=PlaneSpotter)", "", inspect.getdoc(client) or "")
        return text.partition("\n\n")[2].partition("\n\n")[0]

    assert example(PlaneSpotter).startswith("with PlaneSpotter(")
    assert example(PlaneSpotter) == example(AsyncPlaneSpotter)


def test_the_documentation_has_every_parameter() -> None:
    for name, method in vars(PlaneSpotter).items():
        if inspect.isfunction(method) and not name.startswith("_"):
            for parameter in list(inspect.signature(method).parameters)[1:]:
                assert f"{parameter}:" in (inspect.getdoc(getattr(PlaneSpotter, name)) or ""), (name, parameter)
    for parameter in list(inspect.signature(PlaneSpotter).parameters):
        assert f"{parameter}:" in (PlaneSpotter.__init__.__doc__ or ""), parameter
