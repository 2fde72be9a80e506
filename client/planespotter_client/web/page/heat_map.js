// The heat map of a prediction: an overlay on the photo, and its position in words.

const MAX_SIDE = 1600; // pixels of the overlay

/**
 * Draw `cells`, rows of 0 to 255, on a canvas over `image`. They cover what the model sees: the photo, scaled to fit into
 * `inputSize` (height, width) and centred.
 */
export function drawOverlay(canvas, image, cells, [height, width]) {
  const heatMap = new OffscreenCanvas(cells[0].length, cells.length);
  const heatMapContext = heatMap.getContext("2d");
  const pixels = heatMapContext.createImageData(heatMap.width, heatMap.height);
  cells.flat().forEach((cell, index) => {
    const strength = cell / 255;
    pixels.data.set([255, 220 * strength, 30, 200 * strength ** 1.4], 4 * index);
  });
  heatMapContext.putImageData(pixels, 0, 0);
  const shrink = Math.min(1, MAX_SIDE / Math.max(image.naturalWidth, image.naturalHeight));
  canvas.width = Math.round(image.naturalWidth * shrink);
  canvas.height = Math.round(image.naturalHeight * shrink);
  const scale = Math.min(width / canvas.width, height / canvas.height);
  const [scaledWidth, scaledHeight] = [width / scale, height / scale];
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(
    heatMap, (canvas.width - scaledWidth) / 2, (canvas.height - scaledHeight) / 2, scaledWidth, scaledHeight,
  );
}

/** Return in words where the centre of the heat map is; "" if it is empty. */
export function describePosition(cells) {
  let [sum, x, y] = [0, 0, 0];
  cells.forEach((row, rowIndex) => row.forEach((cell, columnIndex) => {
    sum += cell;
    x += (cell * (columnIndex + 0.5)) / row.length;
    y += (cell * (rowIndex + 0.5)) / cells.length;
  }));
  if (!sum) return "";
  const [horizontal, vertical] = [third(x / sum, "left", "right"), third(y / sum, "top", "bottom")];
  if (horizontal && vertical) return `at the ${vertical} ${horizontal}`;
  return horizontal ? `on the ${horizontal}` : vertical ? `at the ${vertical}` : "in the middle";
}

function third(position, first, last) {
  return position < 0.4 ? first : position > 0.6 ? last : "";
}
