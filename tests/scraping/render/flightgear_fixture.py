"""A small aircraft in FlightGear's format: a box with wings, a fin and a landing gear, in two liveries."""

from pathlib import Path

import numpy as np
from PIL import Image

HEADER = 'AC3Db\nMATERIAL "white" rgb 1 1 1 amb 1 1 1 emis 0 0 0 spec 0 0 0 shi 0 trans 0\n'
MAIN = """<?xml version="1.0"?>
<PropertyList>
  <author>Jane Doe</author>
  <path>Models/738.ac</path>
  <animation>
    <type>select</type>
    <object-name>gear</object-name>
    <condition>
      <less-than><property>velocities/true-airspeed-kt</property><value>180</value></less-than>
    </condition>
  </animation>
  <model><path>Lights/missing.xml</path></model>
</PropertyList>
"""
LIVERY = '<PropertyList include="738-main.xml"><texture-path>Textures/{}</texture-path></PropertyList>'
FACES = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))


def box(name: str, low: tuple[float, float, float], high: tuple[float, float, float]) -> str:
    """Return an AC3D object: a box between two corners in FlightGear's axes (x aft, y right, z up)."""
    corners = np.array(np.meshgrid(*zip(low, high, strict=True), indexing="ij")).reshape(3, -1).T
    lines = [f'OBJECT poly\nname "{name}"\ntexture "738-tex.png"', f"numvert {len(corners)}"]
    lines += [f"{x} {z} {-y}" for x, y, z in corners]
    lines.append(f"numsurf {len(FACES)}")
    for face in FACES:
        lines.append(f"SURF 0x0\nmat 0\nrefs {len(face)}")
        lines += [f"{corner} {place % 2} {place // 2}" for place, corner in enumerate(face)]
    return "\n".join([*lines, "kids 0"])


def write_aircraft(folder: Path) -> Path:
    """Write the aircraft where the table of variants looks for a 737-800, and return `folder`."""
    parts = [
        box("nose", (-19, -1.9, 2), (-13, 1.9, 6)),
        box("fuselage", (-13, -1.9, 2), (19, 1.9, 6)),
        box("wing", (-3, -17, 3), (3, 17, 3.4)),
        box("fin", (14, -0.2, 6), (18, 0.2, 12)),
        box("tail", (14, -7, 5), (18, 7, 5.2)),
        box("gear", (0, -3, 0), (1, 3, 2)),
    ]
    aircraft = folder / "AI" / "Aircraft" / "738"
    (aircraft / "Models").mkdir(parents=True)
    model = "\n".join([HEADER + "OBJECT world", f"kids {len(parts)}", *parts, ""])
    (aircraft / "Models" / "738.ac").write_text(model)
    (aircraft / "738-main.xml").write_text(MAIN)
    for name, color in (("AirBerlin", (200, 20, 20)), ("default", (240, 240, 240))):
        (aircraft / "Textures" / name).mkdir(parents=True)
        Image.new("RGB", (32, 16), color).save(aircraft / "Textures" / name / "738-tex.png")
        (aircraft / f"738-{name}.xml").write_text(LIVERY.format(name))
    return folder
