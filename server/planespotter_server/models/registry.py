"""The models that are served: which one answers whom."""

import re
from collections.abc import Iterable, Mapping

from planespotter_server.rejections import RequestRejected, shortened
from planespotter_server.serving.served_model import ServedModel

# How many names a refusal lists: it must stay short.
NAMES_LISTED = 10


def natural_order(text: str) -> tuple[tuple[tuple[int, int, str], ...], str]:
    """Return a key that sorts versions and names as people do: 2 before 10, and 1.9 before 1.10."""
    parts = re.findall(r"[0-9]+|[^0-9]+", text)
    return tuple((0, int(part), "") if "0" <= part[0] <= "9" else (1, 0, part) for part in parts), text


class Models:
    """The models that are ready, by name and version. A change takes effect between two photos.

    `default` is the name that answers requests which give none; "" stands for the first in natural order.
    """

    def __init__(self, default: str = "") -> None:
        self._default = default
        self._served: dict[str, dict[str, ServedModel]] = {}
        self._first = ""

    def __bool__(self) -> bool:
        return bool(self._served)

    @property
    def default(self) -> str:
        """The name of the model that answers requests which give none; "" if there is none yet."""
        if self._default in self._served:
            return self._default
        return self._first

    def put(self, name: str, versions: Mapping[str, ServedModel]) -> list[ServedModel]:
        """Serve exactly `versions` of the model `name` from now on; return those that are no longer served."""
        before = self._served.get(name, {}).values()
        if versions:
            # The highest version first: it is looked for with every photo.
            self._served[name] = dict(sorted(versions.items(), key=lambda one: natural_order(one[0]), reverse=True))
        else:
            self._served.pop(name, None)
        self._first = min(self._served, key=natural_order, default="")
        return [classifier for classifier in before if classifier not in versions.values()]

    def find(self, name: str = "", version: str = "") -> ServedModel:
        """Return the model that answers to `name` and `version`, each "" if not given; `version` then is the highest.

        Raises RequestRejected MODEL_NOT_FOUND, which says what there is.
        """
        asked = name or self.default
        versions = self._served.get(asked, {})
        found = versions.get(version or next(iter(versions), ""))
        if found is not None:
            return found
        served: Iterable[str]
        if versions:
            what = f"version {shortened(repr(version))} of the model {asked!r}"
            served, advice = versions, "Leave model_version empty to take the highest."
        else:
            what = f"model {shortened(repr(asked))}"
            served, advice = self._served, "Leave model_name empty to take the default."
        names = sorted(served, key=natural_order)
        listed = ", ".join(map(repr, names[:NAMES_LISTED]))
        more = ", and more" if len(names) > NAMES_LISTED else ""
        raise RequestRejected(
            "MODEL_NOT_FOUND",
            f"There is no {what} here; this server serves {shortened(listed, 400)}{more}. {advice}",
            metadata={
                "model_name": shortened(asked),
                "model_version": shortened(version),
                "served": shortened(listed, 400),
            },
        )

    def all(self) -> list[ServedModel]:
        """Return all of them, by name and then the highest version first, both in natural order."""
        names = sorted(self._served, key=natural_order)
        return [classifier for name in names for classifier in self._served[name].values()]

    def is_default(self, classifier: ServedModel) -> bool:
        """Return whether `classifier` answers requests that name no model."""
        return self.find() is classifier
