"""Pictures of one model: load it, draw liveries and scenes from a seed, and encode the renders."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import numpy as np

from planespotter_scraping.render import effects, liveries
from planespotter_scraping.render.aircraft import Aircraft, load_aircraft
from planespotter_scraping.render.airliner_models import AirlinerModel, Livery
from planespotter_scraping.render.flightgear_xml import find_texture
from planespotter_scraping.render.renderer import Appearance, render
from planespotter_scraping.render.scene import draw_scene
from planespotter_scraping.render.textures import Floats32, Pixels, TextureAtlas, read_texture

PICTURES_PER_LIVERY = 4  # in sequence, so that textures are read once for several pictures
UNPAINTED_LIVERIES = 9  # liveries whose median is taken as the unpainted aircraft
WHITE = np.full((1, 1, 4), 255, np.uint8)


@dataclass(frozen=True)
class Picture:
    """One render.

    Attributes:
        photo_id: Id in the catalog; it names model, seed and number.
        jpeg: Encoded picture.
        airline: Airline of the livery, "" if it is changed or invented.
        description: What was rendered, as text.
    """

    photo_id: str
    jpeg: bytes
    airline: str
    description: str


def photo_id(model: str, seed: int, number: int) -> str:
    """Return the id of a picture."""
    return f"render-{model}-s{seed}-{number:05d}"


class ModelRenderer:
    """Renders pictures of one model. Each picture depends on the seed and its number alone."""

    def __init__(self, model: AirlinerModel, root: Path) -> None:
        """Load the model with its landing gear down and up.

        Args:
            model: The model.
            root: Folder of the models.

        Raises:
            ModelError: If a file of the model cannot be used.
        """
        self.model = model
        self.root = root
        self.down = load_aircraft(model, root, gear_down=True)
        up = load_aircraft(model, root, gear_down=False)
        moved = abs(up.anatomy.ground - self.down.anatomy.ground) > 0.3
        self.up: Aircraft | None = up if moved else None
        self._textures = lru_cache(maxsize=8)(self._read_textures)
        self._unpainted = cache(self._unpaint)

    def picture(self, seed: int, number: int, size: tuple[int, int], backgrounds: Sequence[Path] = ()) -> Picture:
        """Render one picture.

        Args:
            seed: Seed of the whole set.
            number: Number of the picture, from 0.
            size: Width and height in pixels.
            backgrounds: Photos for some of the backgrounds.

        Raises:
            ModelError: If a texture cannot be read.
        """
        key = zlib.crc32(self.model.variant.name.encode())
        order = np.random.default_rng([seed, key]).permutation(len(self.model.liveries))
        livery = self.model.liveries[order[number // PICTURES_PER_LIVERY % len(order)]]
        rng = np.random.default_rng([seed, key, number])
        scene = draw_scene(rng, gear_retracts=self.up is not None)
        aircraft = self.down if scene.gear_down or self.up is None else self.up
        paint = str(rng.choice(list(liveries.PAINT_SHARES), p=list(liveries.PAINT_SHARES.values())))
        appearance = self._appearance(aircraft, livery, paint, rng)
        pixels = render(aircraft, appearance, scene, rng, size, backgrounds)
        return Picture(
            photo_id(self.model.variant.name, seed, number),
            effects.encode_jpeg(pixels, rng),
            livery.airline if paint == liveries.ORIGINAL else "",
            f"{scene.describe()}, {paint}",
        )

    def _appearance(self, aircraft: Aircraft, livery: Livery, paint: str, rng: np.random.Generator) -> Appearance:
        if paint == liveries.REPAINTED:
            invented = liveries.invent_livery(rng)

            def repaint(colors: Floats32, positions: Floats32, normals: Floats32, triangles: np.ndarray) -> Floats32:
                painted = invented.paint(colors, positions, normals, aircraft.is_engine[triangles], aircraft.anatomy)
                return np.where(aircraft.is_gear[triangles, None], colors, painted)

            return Appearance(self._unpainted(aircraft), repaint)
        images = self._textures(aircraft, livery)
        if paint == liveries.SHIFTED:
            state = int(rng.integers(1 << 32))  # all textures of the aircraft shift the same way
            images = [liveries.shift_colors(image, np.random.default_rng(state)) for image in images]
        return Appearance(TextureAtlas(images))

    def _read_textures(self, aircraft: Aircraft, livery: Livery) -> list[Pixels]:
        """Return the texture images of an aircraft in a livery, white where there is none."""
        paths = (find_texture(part, livery.folder, self.root) for part in aircraft.parts)
        return [WHITE if path is None else read_texture(path) for path in paths]

    def _unpaint(self, aircraft: Aircraft) -> TextureAtlas:
        """Return the textures of an aircraft without paint."""
        chosen = self.model.liveries[:: -(-len(self.model.liveries) // UNPAINTED_LIVERIES)]
        stacks = zip(*(self._textures(aircraft, livery) for livery in chosen), strict=True)
        return TextureAtlas([liveries.unpaint(images) for images in stacks])
