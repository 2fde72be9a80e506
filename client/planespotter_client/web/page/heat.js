// Where the network looked, as a glow over the photo and in words.

/**
 * Draw `cells`, rows of 0 to 255, on a canvas that lies over `image`. They cover what the network sees: the photo, scaled
 * to fit into its `input` (height, width) and centred.
 */
export function glow(canvas, image, cells, [height, width]) {
  const small = new OffscreenCanvas(cells[0].length, cells.length);
  const dots = small.getContext("2d");
  const pixels = dots.createImageData(small.width, small.height);
  cells.flat().forEach((cell, place) => {
    const strength = cell / 255;
    pixels.data.set([255, 230 * strength, 0, 170 * strength ** 1.6], 4 * place);
  });
  dots.putImageData(pixels, 0, 0);
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  const scale = Math.min(width / canvas.width, height / canvas.height);
  const [across, down] = [width / scale, height / scale];
  const pen = canvas.getContext("2d");
  pen.imageSmoothingQuality = "high";
  pen.drawImage(small, (canvas.width - across) / 2, (canvas.height - down) / 2, across, down);
}

/** Return in words where most of the glow is; "" where there is none. */
export function where(cells) {
  let [sum, x, y] = [0, 0, 0];
  cells.forEach((row, down) => row.forEach((cell, across) => {
    sum += cell;
    x += (cell * (across + 0.5)) / row.length;
    y += (cell * (down + 0.5)) / cells.length;
  }));
  if (!sum) return "";
  const [side, level] = [third(x / sum, "left", "right"), third(y / sum, "top", "bottom")];
  if (side && level) return `at the ${level} ${side}`;
  return side ? `on the ${side}` : level ? `at the ${level}` : "in the middle";
}

function third(place, first, last) {
  return place < 0.4 ? first : place > 0.6 ? last : "";
}
