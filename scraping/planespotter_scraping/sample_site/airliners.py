"""Airliners of the sample site: real dimensions, and the features that distinguish the constructors.

Lengths are in metres, from the constructors' published three-view drawings, to the precision that 320 pixels can show.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Airliner:
    """One type of airliner: the features of its side view."""

    constructor: str
    types: tuple[str, ...]  # in the spelling of photo sites, the most common one first
    photos: int  # per 600 photos
    length: float
    body: float  # height of the fuselage; without the hump of a 747
    span: float
    fin: float  # height of the fin above the fuselage
    wing_at: float  # where the wing's leading edge meets the fuselage, as a fraction of the length
    sweep: float  # of the wing's leading edge, in degrees
    engine: float  # diameter of the nacelle
    engines_at: tuple[float, ...]  # the engines of one wing, as fractions from its root to its tip
    wingtip: Literal["plain", "fence", "upturned", "split", "raked"] = "plain"
    deck: Literal["single", "hump", "double"] = "single"
    hump_to: float = 0.0  # where the upper deck ends, as a fraction of the length
    nose: Literal["round", "pointed"] = "round"
    windscreen: Literal["notched", "vee", "mask", "smooth"] = "notched"
    tail_cone: Literal["raised", "cone", "blade"] = "raised"
    dorsal: bool = False  # a fillet in front of the fin
    propellers: bool = False  # straight wing on top of the fuselage, tailplane on top of the fin
    legs: float = 1.0  # length of the landing gear relative to the usual one


def _airbus(*types: str, **measures: object) -> Airliner:
    return Airliner("Airbus", types, **measures)  # type: ignore[arg-type]


def _boeing(*types: str, **measures: object) -> Airliner:
    features = {"nose": "pointed", "windscreen": "vee", "tail_cone": "cone", **measures}
    return Airliner("Boeing", types, **features)  # type: ignore[arg-type]


# fmt: off
AIRLINERS = (
    _airbus("A320-214", "A320-232", "A320-214(SL)", photos=54, length=37.6, body=4.14, span=34.1, fin=5.9,
            wing_at=0.32, sweep=27, engine=2.4, engines_at=(0.34,), wingtip="fence"),
    _airbus("A321-271NX", "A321-251NX", photos=54, length=44.5, body=4.14, span=35.8, fin=5.9,
            wing_at=0.34, sweep=27, engine=2.8, engines_at=(0.33,), wingtip="upturned"),
    _airbus("A330-343", "A330-302", photos=54, length=63.7, body=5.64, span=60.3, fin=8.3,
            wing_at=0.33, sweep=32, engine=3.1, engines_at=(0.32,), wingtip="upturned"),
    _airbus("A350-941", photos=54, length=66.8, body=6.1, span=64.8, fin=8.6,
            wing_at=0.32, sweep=34, engine=3.8, engines_at=(0.32,), wingtip="raked", windscreen="mask"),
    _airbus("A380-841", "A380-861", photos=54, length=72.7, body=8.4, span=79.8, fin=13.5,
            wing_at=0.29, sweep=36, engine=3.7, engines_at=(0.33, 0.6), wingtip="fence", deck="double"),
    _airbus("A319-111", photos=5, length=33.8, body=4.14, span=34.1, fin=5.9,
            wing_at=0.31, sweep=27, engine=2.4, engines_at=(0.34,), wingtip="fence"),
    _boeing("737-8AS", "737-86X(WL)", "737-8K2", "737-800", photos=54, length=39.5, body=4.0, span=35.8, fin=6.2,
            wing_at=0.34, sweep=27, engine=2.1, engines_at=(0.3,), wingtip="upturned", dorsal=True),
    _boeing("747-409", "747-4B5", "747-400", photos=54, length=70.7, body=6.5, span=64.4, fin=9.8,
            wing_at=0.29, sweep=40, engine=2.8, engines_at=(0.38, 0.66), wingtip="upturned", deck="hump",
            hump_to=0.27),
    _boeing("757-2Q8", "757-236", photos=54, length=47.3, body=4.0, span=38.0, fin=6.7,
            wing_at=0.36, sweep=27, engine=2.7, engines_at=(0.33,), legs=1.6),
    _boeing("777-31HER", "777-3B5ER", photos=54, length=73.9, body=6.2, span=64.8, fin=9.2,
            wing_at=0.34, sweep=34, engine=4.0, engines_at=(0.31,), wingtip="raked", tail_cone="blade"),
    _boeing("787-9 Dreamliner", "787-9", photos=54, length=62.8, body=5.9, span=60.1, fin=8.5,
            wing_at=0.32, sweep=35, engine=3.5, engines_at=(0.32,), wingtip="raked", windscreen="smooth"),
    _boeing("737-8 MAX", photos=6, length=39.5, body=4.0, span=35.9, fin=6.2,
            wing_at=0.34, sweep=27, engine=2.4, engines_at=(0.3,), wingtip="split", dorsal=True),
    _boeing("747-830", "747-8", photos=5, length=76.3, body=6.5, span=68.4, fin=9.8,
            wing_at=0.3, sweep=40, engine=3.3, engines_at=(0.36, 0.64), wingtip="raked", deck="hump", hump_to=0.34),
    Airliner("ATR", ("72-600", "72-212A"), photos=44, length=27.2, body=2.8, span=27.1, fin=4.3,
             wing_at=0.43, sweep=2, engine=1.2, engines_at=(0.3,), nose="pointed", windscreen="vee",
             tail_cone="cone", dorsal=True, propellers=True, legs=0.6),
)
# fmt: on
