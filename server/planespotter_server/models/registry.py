"""Model registry: which served model handles a request, by name and version."""

import re
from collections.abc import Iterable, Mapping

from planespotter_server.rejections import RequestRejected, shortened
from planespotter_server.serving.served_model import ServedModel

# Maximum number of names in a rejection, so that it stays short.
MAX_NAMES = 10


def natural_order(text: str) -> tuple[tuple[tuple[int, int, str], ...], str]:
    """Return a sort key for versions and names in natural order: 2 before 10, and 1.9 before 1.10."""
    parts = re.findall(r"[0-9]+|[^0-9]+", text)
    return tuple((0, int(part), "") if "0" <= part[0] <= "9" else (1, 0, part) for part in parts), text


class ModelRegistry:
    """The loaded models by name and version. A change takes effect between two photos.

    Args:
        default: Name of the model for requests that name none; empty for the first in natural order.
    """

    def __init__(self, default: str = "") -> None:
        self._default = default
        self._models: dict[str, dict[str, ServedModel]] = {}
        self._first = ""

    def __bool__(self) -> bool:
        return bool(self._models)

    @property
    def default(self) -> str:
        """Name of the model for requests that name none; empty while there is no model."""
        if self._default in self._models:
            return self._default
        return self._first

    def put(self, name: str, versions: Mapping[str, ServedModel]) -> list[ServedModel]:
        """Serve exactly `versions` of the model `name` from now on; return the models that are no longer served."""
        previous = self._models.get(name, {}).values()
        if versions:
            # The highest version first: most requests ask for it.
            self._models[name] = dict(sorted(versions.items(), key=lambda item: natural_order(item[0]), reverse=True))
        else:
            self._models.pop(name, None)
        self._first = min(self._models, key=natural_order, default="")
        return [model for model in previous if model not in versions.values()]

    def find(self, name: str = "", version: str = "") -> ServedModel:
        """Return the model for a request.

        Args:
            name: Name of the model; empty for the default.
            version: Its version; empty for the highest.

        Raises:
            RequestRejected: MODEL_NOT_FOUND, with the names that exist.
        """
        requested = name or self.default
        versions = self._models.get(requested, {})
        model = versions.get(version or next(iter(versions), ""))
        if model is not None:
            return model
        available: Iterable[str]
        if versions:
            problem = f"The model {requested!r} has no version {shortened(repr(version))}"
            available, advice = versions, "Omit model_version for the highest."
        else:
            problem = f"The model is unknown: {shortened(repr(requested))}"
            available, advice = self._models, "Omit model_name for the default."
        names = sorted(available, key=natural_order)
        listed = ", ".join(map(repr, names[:MAX_NAMES]))
        more = ", and more" if len(names) > MAX_NAMES else ""
        raise RequestRejected(
            "MODEL_NOT_FOUND",
            f"{problem}; this server has {shortened(listed, 400)}{more}. {advice}",
            metadata={
                "model_name": shortened(requested),
                "model_version": shortened(version),
                "served": shortened(listed, 400),
            },
        )

    def all(self) -> list[ServedModel]:
        """Return all models by name, the highest version first, both in natural order."""
        names = sorted(self._models, key=natural_order)
        return [model for name in names for model in self._models[name].values()]

    def is_default(self, model: ServedModel) -> bool:
        """Return whether `model` handles requests that name no model."""
        return self.find() is model
