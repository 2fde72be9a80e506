"""Photo collection of the sample site: ids, airframes, airlines and labels, deterministic."""

import random
from collections import defaultdict
from dataclasses import dataclass
from datetime import date, timedelta

from planespotter_scraping.sample_site.airliners import AIRLINERS, Airliner

# Fictional airlines, each with the nationality mark of its registrations.
AIRLINES = {
    "Alder Air": "G-", "Aquila Regional": "I-", "Blue Heron": "N", "Borealis": "OH-", "Cardinal Sky": "C-",
    "Costa Verde": "CS-", "Delphin Air": "SX-", "Fjordline Wings": "LN-", "Garuda Bay": "PK-", "Halcyon": "VH-",
    "Ibis Atlantic": "EC-", "Juniper Jet": "EI-", "Kestrel": "ZK-", "Lumen Airways": "F-", "Meridian Star": "TC-",
    "Nordlicht": "D-", "Orchid Pacific": "HS-", "Polaris Cargo": "TF-", "Quetzal": "XA-", "Rhône Express": "HB-",
    "Sakura Wings": "JA", "Tamarind": "9V-", "Umbra Air": "SP-", "Zephyr": "PH-",
}  # fmt: skip
PHOTOGRAPHERS = ("A. Ivers", "B. Okafor", "C. Lindqvist", "D. Marchetti", "E. Tanaka", "F. Novak", "G. Silva")


@dataclass(frozen=True)
class Photo:
    """A photo of the sample site. Its card lacks fields that are empty."""

    photo_id: int
    airliner: Airliner
    aircraft_type: str
    airline: str
    registration: str
    livery: int
    photographer: str
    taken_on: str

    @property
    def constructor(self) -> str:
        """Constructor of the airliner."""
        return self.airliner.constructor

    @property
    def slug(self) -> str:
        """Last segment of the photo's URL."""
        words = f"{self.registration} {self.airline} {self.constructor} {self.aircraft_type}".lower()
        return "-".join("".join(c if c.isascii() and c.isalnum() else " " for c in words).split())


def collection(count: int) -> list[Photo]:
    """Return `count` photos, the latest first. Ids decrease, with gaps; an airframe may be on several photos."""
    rng = random.Random(2026)
    deck: list[Airliner] = []
    airframes: dict[str, tuple[Photo, int]] = {}  # the current airframe of a type, and its remaining photos
    airlines: defaultdict[str, list[str]] = defaultdict(list)  # by constructor: airlines due for an airframe
    photos: list[Photo] = []
    photo_id, day = 1_000_000 + 6 * count, date(2026, 6, 30)
    while len(photos) < count:
        if not deck:
            deck = [airliner for airliner in AIRLINERS for _ in range(airliner.photos)]
            rng.shuffle(deck)
        airliner = deck.pop()
        photo_id -= rng.choice([1, 1, 2, 3, 5, 9])
        day -= timedelta(days=rng.random() < 0.2)
        key = airliner.constructor + airliner.types[0]
        known, left = airframes.get(key, (None, 0))
        if known is None or left == 0:
            known, left = _airframe(airliner, airlines[airliner.constructor], rng), rng.randint(1, 3)
        photo = Photo(
            photo_id=photo_id,
            airliner=airliner,
            aircraft_type="" if rng.random() < 0.02 else known.aircraft_type,
            airline=known.airline,
            registration=known.registration,
            livery=known.livery,
            photographer=rng.choice(PHOTOGRAPHERS),
            taken_on=day.isoformat(),
        )
        airframes[key] = (known, left - 1)
        photos.append(photo)
    return photos


def _airframe(airliner: Airliner, airlines: list[str], rng: random.Random) -> Photo:
    """Return a new airframe, as a photo without a photographer.

    Its airline is removed from `airlines`, which is refilled when it is empty. So every airline operates aircraft of
    every constructor, and the livery reveals nothing.
    """
    if not airlines:
        airlines += rng.sample(list(AIRLINES), k=len(AIRLINES))
    airline = airlines.pop()
    number, country = list(AIRLINES).index(airline), AIRLINES[airline]
    letters = "".join(rng.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ", k=4))
    registration = f"{country}{rng.randint(100, 999)}{letters[:2]}" if country in ("N", "JA") else country + letters
    if rng.random() < 0.06:  # owned by the constructor or privately, with a unique livery
        airline, number = "", rng.randint(1000, 9999)
    aircraft_type = rng.choice(airliner.types)
    return Photo(0, airliner, aircraft_type, airline, registration, number, "", "")
