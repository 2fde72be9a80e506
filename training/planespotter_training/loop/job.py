"""Training job: what to train, on which photos, into which run folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from planespotter_training.network.pretrained import InitialWeights
from planespotter_training.recipes.config import Recipe


@dataclass(frozen=True)
class TrainJob:
    """The arguments of one training."""

    catalog: Path
    """Folder of the catalog."""
    recipe_name: str
    recipe: Recipe
    out: Path
    """Folder of the run; if it holds this run already, training resumes."""
    constructors: Sequence[str]
    """Constructors to train on; photos of other constructors are in the test split only."""
    initial: InitialWeights | None = None
    """Initial weights of the trunk; None for random ones."""
    held_out: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Names of "sources" and "airlines" whose photos all go to the test split."""
    cache_bytes: int | None = None
    """Maximum size in bytes of photos that stay on the device; None for a quarter of its memory."""
    feature_cache: Path | None = None
    """Folder of the kept features of frozen layers, if the recipe keeps them; None for one in the run folder."""
    shared_dataset: Path | None = None
    """A run on the same photos, whose dataset files are shared; its summary is not printed again."""

    @property
    def origin(self) -> str:
        """Origin of the initial weights; "" for random ones."""
        return self.initial.origin if self.initial else ""
