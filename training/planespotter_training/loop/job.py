"""Training job: what to train, on which photos, into which run folder."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from planespotter_models import read_bundle
from planespotter_models.bundle_format import DESCRIPTION
from planespotter_training.loop.devices import Timeouts
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
    train_only: Sequence[str] = ()
    """Names of sources whose photos are used for training only, in addition to renders."""
    cache_bytes: int | None = None
    """Maximum size in bytes of photos that stay on the device; None for a quarter of its memory."""
    teacher: Path | None = None
    """Bundle whose predictions for the training photos are learnt, too (see the recipe's `distillation_weight`)."""
    feature_cache: Path | None = None
    """Folder of the kept features of frozen layers, if the recipe keeps them; None for one in the run folder."""
    timeouts: Timeouts = field(default_factory=Timeouts)
    """When to give up on other processes that train along."""
    shared_dataset: Path | None = None
    """A run on the same photos, whose dataset files are shared; its summary is not printed again."""

    @cached_property
    def teacher_name(self) -> str:
        """Name, version and hash of the teacher; "" for none."""
        if self.teacher is None:
            return ""
        bundle = read_bundle(self.teacher)
        digest = hashlib.sha256((self.teacher / DESCRIPTION).read_bytes()).hexdigest()
        return f"{bundle.name} {bundle.version} (sha256 {digest[:12]})"

    @property
    def origin(self) -> str:
        """Origin of the initial weights; "" for random ones."""
        return self.initial.origin if self.initial else ""
