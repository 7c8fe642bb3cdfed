// What the viewer paints: a slice in grey, a map in colour, outlines, and the strip of probabilities.

export const HALF = 127.5; // of 255: half the scale of a map
const PALE = 64; // below a quarter of the scale a map is transparent
const SVG = "http://www.w3.org/2000/svg";

export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** Returns a slice of a plane as an image, black up to the lower end of the window and white from its upper end. */
export function greyImage({ voxels, low, high }, plane, index, level, width) {
  const { shape: [, rows, columns], start, steps: [bySlice, byRow, byColumn] } = plane;
  const table = Uint32Array.from({ length: 256 }, (_, i) => {
    const value = low + ((high - low) * i) / 255;
    const grey = Math.round(255 * clamp((value - level) / width + 0.5, 0, 1));
    return 0xff000000 | (grey << 16) | (grey << 8) | grey;
  });
  const image = new ImageData(columns, rows);
  const pixels = new Uint32Array(image.data.buffer);
  for (let row = 0, k = 0; row < rows; row++) {
    let i = start + index * bySlice + row * byRow;
    for (let column = 0; column < columns; column++, i += byColumn) pixels[k++] = table[voxels[i]];
  }
  return asCanvas(image);
}

/** Returns a map as an image: its colours, the more opaque the higher the level. */
export function mapImage(levels, width, height, palette, opacity) {
  const image = new ImageData(width, height);
  levels.forEach((level, i) => {
    image.data.set(palette.subarray(3 * level, 3 * level + 3), 4 * i);
    image.data[4 * i + 3] = level < PALE ? 0 : opacity * level;
  });
  return asCanvas(image);
}

/** Returns the outline of what is above a level, by marching squares; what lies outside counts as 0. */
export function outline(value, width, height, level) {
  const path = new Path2D();
  const at = (x, y) => (x < 0 || y < 0 || x >= width || y >= height ? 0 : value(x, y)) - level;
  for (let y = -1; y < height; y++) {
    let left = at(-1, y) < 0, leftBelow = at(-1, y + 1) < 0;
    for (let x = -1; x < width; x++) {
      const right = at(x + 1, y) < 0, rightBelow = at(x + 1, y + 1) < 0;
      if (left !== right || left !== leftBelow || left !== rightBelow) addCrossings(path, at, x, y);
      [left, leftBelow] = [right, rightBelow];
    }
  }
  return path;
}

function addCrossings(path, at, x, y) {
  const corners = [[x, y], [x + 1, y], [x + 1, y + 1], [x, y + 1]].map(([cx, cy]) => [cx + 0.5, cy + 0.5, at(cx, cy)]);
  const found = [];
  corners.forEach(([ax, ay, a], i) => {
    const [bx, by, b] = corners[(i + 1) % 4];
    const part = a / (a - b);
    if (a < 0 !== b < 0) found.push([ax + part * (bx - ax), ay + part * (by - ay)]);
  });
  for (let i = 0; i + 1 < found.length; i += 2) {
    path.moveTo(...found[i]);
    path.lineTo(...found[i + 1]);
  }
}

/** Strokes a path as wide as it should look, whatever the size of a pixel of the scan. */
export function stroke(context, path, colour, width) {
  const placed = new Path2D();
  placed.addPath(path, context.getTransform());
  context.save();
  context.resetTransform();
  Object.assign(context, { strokeStyle: colour, lineWidth: width * window.devicePixelRatio });
  context.stroke(placed);
  context.restore();
}

/** Draws a bar for each analysed slice, below where the slider has it, and the threshold. */
export function drawStrip(svg, { strip, analysed, planes: [{ shape: [count] }] }) {
  const add = (name, attributes) => {
    const part = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) part.setAttribute(key, value);
    return part;
  };
  svg.setAttribute("viewBox", `0 0 ${count} 1`);
  svg.setAttribute("aria-label", strip?.title ?? "");
  if (!strip) return svg.replaceChildren();
  const bars = strip.values.map((value, i) => {
    const place = { x: analysed[i] - 0.9, y: 1 - value, width: 0.8, height: value };
    return add("rect", { ...place, class: value >= strip.threshold ? "above" : "below", "data-slice": analysed[i] });
  });
  const height = 1 - strip.threshold;
  return svg.replaceChildren(...bars, add("line", { x1: 0, x2: count, y1: height, y2: height }));
}

function asCanvas(image) {
  const canvas = new OffscreenCanvas(image.width, image.height);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}
