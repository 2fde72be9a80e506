"""Accuracy from a review: share of correct proposals by level, with its interval, from the photos drawn at random.

The random sample is the start of the random permutation, up to its first photo without a decision: an honest estimate
for all photos, whichever order the review had. Photos that a reviewer skipped or could not name are in it, but say
nothing about the accuracy; if there are many, the estimate holds for the others only.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import takewhile

from planespotter_photos.counts import count_noun
from planespotter_scraping.catalog import LABEL_PATH, NO_AIRCRAFT
from planespotter_scraping.reviewing import log as decision_log
from planespotter_scraping.reviewing.log import Decision
from planespotter_scraping.reviewing.order import random_rank

Z = 1.959963984540054
"""Standard deviations on either side of the mean that hold 95 % of a normal distribution."""


@dataclass(frozen=True)
class Share:
    """A share of photos: how many are correct, of how many."""

    correct: int
    photos: int

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of Wilson (1927), 0 to 1; (0, 1) for no photos."""
        if not self.photos:
            return 0.0, 1.0
        share, spread = self.correct / self.photos, Z**2 / self.photos
        center = (share + spread / 2) / (1 + spread)
        half = math.sqrt(share * (1 - share) * spread + spread**2 / 4) / (1 + spread)
        return max(0.0, center - half), min(1.0, center + half)

    def __str__(self) -> str:
        if not self.photos:
            return "no photos"
        low, high = self.interval
        return f"{self.correct / self.photos:.0%} of {self.photos:,} ({low:.0%} to {high:.0%})"


@dataclass(frozen=True)
class Summary:
    """What a review has shown.

    Attributes:
        decisions: Photos by decision.
        by: Photos by reviewer.
        sample: Photos of the random sample.
        unknown: Those of them that were skipped or could not be named.
        accuracy: Correct proposals of the random sample by level; each level counts photos that the reviewer named
            down to it.
        confident: Correct predictions among the confident ones, each down to its confidence level.
        proposals: What the proposals are: "labels", "predictions" or both.
    """

    decisions: Counter[str] = field(default_factory=Counter)
    by: Counter[str] = field(default_factory=Counter)
    sample: int = 0
    unknown: int = 0
    accuracy: Mapping[str, Share] = field(default_factory=dict)
    confident: Share = Share(0, 0)
    proposals: str = "predictions"


def ranked(keys: Iterable[str]) -> list[str]:
    """Return keys in the order of the random permutation."""
    return sorted(set(keys), key=random_rank)


def random_sample(ranked_keys: Iterable[str], decisions: Mapping[str, Decision]) -> list[Decision]:
    """Return the decisions of the random sample.

    Args:
        ranked_keys: Keys of all photos in the order of the random permutation, with those of photos that were decided
            and are not there any more.
        decisions: Decisions by photo.
    """
    return [decisions[key] for key in takewhile(decisions.__contains__, ranked_keys)]


def summarize(ranked_keys: Iterable[str], decisions: Mapping[str, Decision]) -> Summary:
    """Summarize a review; for the arguments see `random_sample`."""
    sample = random_sample(ranked_keys, decisions)
    named = [each for each in sample if each.label and each.shown]
    confident = [each for each in named if each.confident and not each.is_label]
    kinds = {each.is_label for each in decisions.values()}
    return Summary(
        decisions=Counter(each.decision for each in decisions.values()),
        by=Counter(each.by for each in decisions.values()),
        sample=len(sample),
        unknown=sum(each.decision in (decision_log.UNKNOWN, decision_log.SKIP) for each in sample),
        accuracy={level: _share(named, depth) for depth, level in enumerate(LABEL_PATH, start=1)},
        confident=Share(sum(_is_correct(each, each.confident or 0) for each in confident), len(confident)),
        proposals="labels and predictions" if len(kinds) == 2 else "labels" if True in kinds else "predictions",
    )


def summary_sentences(summary: Summary) -> Iterator[str]:
    """Yield a summary as lines of text."""
    counts = summary.decisions
    photos = counts.total()
    if not photos:
        yield "No photo is reviewed yet."
        return
    yield (
        f"{count_noun(photos, 'photo')} reviewed: {counts[decision_log.ACCEPT]:,} accepted, "
        f"{counts[decision_log.CORRECT]:,} corrected, {counts[decision_log.UNKNOWN]:,} unknown, "
        f"{counts[decision_log.NONE]:,} without an aircraft, {counts[decision_log.SKIP]:,} skipped."
    )
    if len(summary.by) > 1:
        yield "By " + ", ".join(f"{name} {count:,}" for name, count in summary.by.most_common()) + "."
    if not any(share.photos for share in summary.accuracy.values()):
        yield "The random sample is still empty, so there is no accuracy yet: review more photos."
        return
    yield (
        f"Accuracy of the {summary.proposals}, from the {count_noun(summary.sample, 'photo')} drawn at random "
        "(95 % interval):"
    )
    for level, share in summary.accuracy.items():
        yield f"  {level:<11} {share}"
    if summary.confident.photos:
        yield f"  confident   {summary.confident}"
    if summary.unknown:
        yield f"{count_noun(summary.unknown, 'photo')} of the sample skipped or unknown, and not counted."


def _share(decisions: Iterable[Decision], depth: int) -> Share:
    """Return the share of correct proposals down to a level, of photos that are named down to it."""
    named = [each for each in decisions if len(each.label) >= depth or each.label == (NO_AIRCRAFT,)]
    return Share(sum(_is_correct(each, depth) for each in named), len(named))


def _is_correct(decision: Decision, depth: int) -> bool:
    return decision.shown[:depth] == decision.label[:depth]
