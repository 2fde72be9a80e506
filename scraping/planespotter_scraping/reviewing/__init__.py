"""Review: people check photos one by one, and their decisions become the labels of a catalog.

photos      what to review: a catalog, with or without predictions, or a file of predictions
order       which photos teach most, and which are drawn at random for an honest estimate
log         the decision log: append-only, one fsync for each decision
session     several reviewers at a time: who has which photo
accuracy    accuracy by level with its interval, from the photos drawn at random
apply       decisions as the rows of a catalog
types       the types that a correction can name, found by a few letters

The page is in the client; these modules know nothing of HTTP.
"""

from planespotter_scraping.catalog.lock import exclusive_lock
from planespotter_scraping.reviewing.accuracy import Summary, ranked, summarize, summary_sentences
from planespotter_scraping.reviewing.apply import AppliedReview, apply_review
from planespotter_scraping.reviewing.log import Decision, DecisionLog
from planespotter_scraping.reviewing.order import ORDERS, default_order
from planespotter_scraping.reviewing.photos import Reviewable, ReviewError, ReviewPhoto, load
from planespotter_scraping.reviewing.session import Progress, ReviewSession
from planespotter_scraping.reviewing.types import TypeName, known_types

__all__ = [
    "ORDERS",
    "AppliedReview",
    "Decision",
    "DecisionLog",
    "Progress",
    "ReviewError",
    "ReviewPhoto",
    "ReviewSession",
    "Reviewable",
    "Summary",
    "TypeName",
    "apply_review",
    "default_order",
    "exclusive_lock",
    "known_types",
    "load",
    "ranked",
    "summarize",
    "summary_sentences",
]
