// The viewer of a scan: all its slices as bytes, a saliency map and outlines over them, drawn on one canvas.

import { HALF, clamp, drawStrip, greyImage, mapImage, outline, stroke } from "./paint.js";

const REST_MS = 250;
const NAMES = { ArrowUp: 1, ArrowRight: 1, PageUp: 5, ArrowDown: -1, ArrowLeft: -1, PageDown: -5 };
const viewers = new WeakMap();

export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".viewer");
  if (!root) return undefined;
  if (!viewers.has(root)) viewers.set(root, new Viewer(root));
  const viewer = viewers.get(root);
  viewer.load(parse(data), setStateValue);
  return () => viewer.size.disconnect();
}

function parse(bytes) {
  const length = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  let start = 4 + length;
  for (const [name, size] of header.parts) {
    header[name] = bytes.subarray(start, start + size);
    start += size;
  }
  return header;
}

class Viewer {
  constructor(root) {
    this.root = root;
    this.find = (name) => root.querySelector(name);
    this.canvas = this.find("canvas");
    this.stage = this.find(".stage");
    this.slider = this.find(".slice");
    this.size = new ResizeObserver(() => this.draw());
    this.listen();
  }

  load(given, report) {
    const before = this.given;
    this.given = given;
    this.report = report;
    if (before?.scan !== given.scan) {
      this.plane = given.planes[0];
      this.positions = Object.fromEntries(given.planes.map((plane) => [plane.name, plane.shape[0] >> 1]));
      this.showMask = given.has_mask;
      this.reset();
    } else {
      this.plane = given.planes.find((plane) => plane.name === this.plane.name) ?? given.planes[0];
    }
    const isAsked = given.map?.is_on && !before?.map?.is_on;
    if (before?.scan !== given.scan || before.view !== given.view || isAsked) {
      this.plane = given.planes[0];
      this.positions[this.plane.name] = given.first - 1;
      this.showMap = given.map?.is_on ?? false;
    }
    this.drawControls();
    this.size.observe(this.stage);
    this.draw();
  }

  reset() {
    [this.level, this.width] = this.given.window.brain;
    Object.assign(this, { zoom: 1, panX: 0, panY: 0, showCross: false });
  }

  get index() { return this.positions[this.plane.name]; }
  get isOfFile() { return this.plane === this.given.planes[0]; }

  go(index) {
    this.positions[this.plane.name] = clamp(index, 0, this.plane.shape[0] - 1);
    this.draw();
    clearTimeout(this.rest);
    const { map, analysed, slices } = this.given;
    const number = this.index + 1;
    if (map?.follows && this.isOfFile && analysed.includes(number) && !slices.includes(number)) {
      this.rest = setTimeout(() => this.report("slice", number), REST_MS);
    }
  }

  listen() {
    const click = (name, act) => this.find(name).addEventListener("click", () => { act(); this.draw(); });
    const press = {
      overlay: () => { this.showMap = !this.showMap; },
      mask: () => { this.showMask = !this.showMask; },
      brain: () => { [this.level, this.width] = this.given.window.brain; },
      full: () => { [this.level, this.width] = this.given.window.full; },
      reset: () => this.reset(),
      screen: () => (document.fullscreenElement ? document.exitFullscreen() : this.root.requestFullscreen()),
    };
    for (const [name, act] of Object.entries(press)) click(`.${name}`, act);
    click(".previous", () => this.go(this.index - 1));
    click(".next", () => this.go(this.index + 1));
    this.slider.addEventListener("input", () => this.go(Number(this.slider.value) - 1));
    this.find(".opacity input").addEventListener("input", () => this.draw());
    this.find(".strip").addEventListener("click", (event) => {
      const { left, width } = this.find(".strip").getBoundingClientRect();
      this.go(Math.floor(((event.clientX - left) / width) * this.plane.shape[0]));
    });
    const keys = { " ": press.overlay, m: press.mask, 1: press.brain, 2: press.full, r: press.reset, f: press.screen };
    this.root.addEventListener("keydown", (event) => {
      const isButton = event.key === " " && event.composedPath()[0].tagName === "BUTTON";
      const isOpacity = event.composedPath()[0] === this.find(".opacity input");
      const step = NAMES[event.key];
      if (event.ctrlKey || event.altKey || event.metaKey || isButton || (isOpacity && step)) return;
      if (step) this.go(this.index + step);
      else if (keys[event.key]) keys[event.key]();
      else return;
      event.preventDefault();
      this.draw();
    });
    this.stage.addEventListener("wheel", (event) => this.turn(event), { passive: false });
    this.stage.addEventListener("pointerdown", (event) => this.grab(event));
    this.stage.addEventListener("dblclick", () => { this.reset(); this.draw(); });
    this.stage.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  turn(event) {
    const direction = Math.sign(event.deltaY);
    if (event.ctrlKey) this.zoom = clamp(this.zoom * (direction < 0 ? 1.15 : 1 / 1.15), 1, 12);
    else if (this.plane.shape[0] > 1) this.go(this.index + direction);
    else return; // a single slice lets the page scroll
    event.preventDefault();
    this.draw();
  }

  grab(event) {
    this.slider.focus({ preventScroll: true });
    if (event.pointerType === "touch") return;
    const isPan = event.shiftKey || event.button > 0;
    let travelled = 0;
    const speed = (this.given.high - this.given.low) / 400; // of the range of intensities, per pixel
    const move = ({ movementX, movementY }) => {
      travelled += Math.abs(movementX) + Math.abs(movementY);
      if (isPan) [this.panX, this.panY] = [this.panX + movementX, this.panY + movementY];
      else {
        this.width = Math.max(speed, this.width + movementX * speed);
        this.level -= movementY * speed;
      }
      this.draw();
    };
    event.preventDefault();
    this.stage.setPointerCapture(event.pointerId);
    this.stage.addEventListener("pointermove", move);
    const release = (last) => {
      this.stage.removeEventListener("pointermove", move);
      if (last.type === "pointerup" && !travelled) this.cross(last);
    };
    this.stage.addEventListener("pointerup", release, { once: true });
    this.stage.addEventListener("pointercancel", release, { once: true });
  }

  drawControls() {
    const { given, find } = this;
    const buttons = given.planes.filter((plane) => given.planes.length > 1 && plane).map((plane) => {
      const button = document.createElement("button");
      Object.assign(button, { type: "button", textContent: plane.name, name: plane.name });
      button.addEventListener("click", () => { this.plane = plane; this.draw(); });
      return button;
    });
    find(".planes").replaceChildren(...buttons);
    for (const name of [".overlay", ".opacity", ".legend"]) find(name).hidden = !given.map;
    find(".mask").hidden = !given.has_mask;
    const stops = [64, 96, 128, 160, 192, 224, 255].map((i) => `rgb(${given.palette.subarray(3 * i, 3 * i + 3)})`);
    find(".ramp").style.background = `linear-gradient(90deg, #000 25%, ${stops[0]} 25%, ${stops.slice(1)})`;
    find(".high").textContent = given.map?.top ?? "";
    drawStrip(find(".strip"), given);
    find(".strip-title").textContent = given.strip?.title ?? "";
  }

  /** Draws everything at the next frame, however often it is called before. */
  draw() {
    if (this.pending || !this.given) return;
    this.pending = requestAnimationFrame(() => {
      this.pending = null;
      this.drawImage();
      this.drawText();
    });
  }

  drawImage() {
    const { canvas, stage, plane, zoom } = this;
    const [, rows, columns] = plane.shape;
    const [rowMm, columnMm] = plane.pixel;
    stage.style.aspectRatio = `${Math.max(columns * columnMm, 0.8 * rows * rowMm)} / ${rows * rowMm}`;
    const { width, height } = stage.getBoundingClientRect();
    const ratio = window.devicePixelRatio;
    [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    const context = canvas.getContext("2d");
    const margin = plane.labels ? 18 * ratio : 0; // for the letters
    const room = [canvas.width - 2 * margin, canvas.height - 2 * margin];
    const fit = zoom * Math.min(room[0] / (columns * columnMm), room[1] / (rows * rowMm));
    const [x, y] = [(canvas.width - fit * columns * columnMm) / 2, (canvas.height - fit * rows * rowMm) / 2];
    context.setTransform(fit * columnMm, 0, 0, fit * rowMm, x + this.panX * ratio, y + this.panY * ratio);
    context.imageSmoothingQuality = "high";
    context.drawImage(greyImage(this.given, plane, this.index, this.level, this.width), 0, 0);
    this.placed = context.getTransform();
    this.root.dataset.pictureWidth = Math.round((fit * columns * columnMm) / ratio);
    context.beginPath();
    context.rect(0, 0, columns, rows);
    context.clip();
    if (this.levels) this.drawMap(context, rows, columns);
    if (this.given.has_mask && this.showMask) this.drawMask(context, rows, columns);
    this.drawLines(context, rows, columns);
    if (this.showCross) this.drawCross(context, rows, columns);
  }

  /** The map of the slice in view, (side * side) bytes of the scale; null where none is shown. */
  get levels() {
    const { maps, slices, shape } = this.given;
    const at = this.isOfFile ? slices.indexOf(this.index + 1) : -1;
    const size = shape[0] * shape[1];
    return at >= 0 && this.showMap ? maps.subarray(at * size, (at + 1) * size) : null;
  }

  drawMap(context, rows, columns) {
    const { map: { box: [top, left, tall, wide] }, shape: [height, width], palette } = this.given;
    const { levels } = this;
    const opacity = Number(this.find(".opacity input").value);
    context.save();
    context.transform((wide * columns) / width, 0, 0, (tall * rows) / height, left * columns, top * rows);
    context.drawImage(mapImage(levels, width, height, palette, opacity), 0, 0);
    stroke(context, outline((x, y) => levels[y * width + x], width, height, HALF), "#ffffff", 1);
    context.restore();
  }

  drawMask(context, rows, columns) {
    const { start, steps: [bySlice, byRow, byColumn] } = this.plane;
    const { mask } = this.given;
    const from = start + this.index * bySlice;
    const value = (x, y) => {
      const i = from + y * byRow + x * byColumn;
      return (mask[i >> 3] >> (7 - (i & 7))) & 1;
    };
    stroke(context, outline(value, columns, rows, 0.5), "#40e0ff", 2);
  }

  drawLines(context, rows, columns) {
    for (const [x0, y0, x1, y1] of this.isOfFile ? this.given.lines?.[this.index + 1] ?? [] : []) {
      const path = new Path2D();
      path.moveTo(x0 * columns, y0 * rows);
      path.lineTo(x1 * columns, y1 * rows);
      stroke(context, path, "#40e0ff", 2);
    }
  }

  /** Where the slices of the other planes lie in this one; an axis of the voxels is known by its step. */
  drawCross(context, rows, columns) {
    const path = new Path2D();
    const [, byRow, byColumn] = this.plane.steps;
    for (const other of this.given.planes) {
      const at = this.positions[other.name];
      const place = (step, count) => (step < 0 ? count - 1 - at : at) + 0.5;
      if (Math.abs(byRow) === Math.abs(other.steps[0])) path.rect(0, place(byRow, rows), columns, 0);
      else if (byColumn === other.steps[0]) path.rect(place(byColumn, columns), 0, 0, rows);
    }
    stroke(context, path, "#ffd54a", 1);
  }

  /** Moves the other planes to the voxel that was clicked. */
  cross({ clientX, clientY }) {
    const { plane, placed, stage, given } = this;
    const { left, top } = stage.getBoundingClientRect();
    const ratio = window.devicePixelRatio;
    const { x, y } = placed.inverse().transformPoint(new DOMPoint((clientX - left) * ratio, (clientY - top) * ratio));
    const [, rows, columns] = plane.shape;
    if (given.planes.length < 2 || x < 0 || y < 0 || x >= columns || y >= rows) return;
    const places = [[plane.steps[1], Math.floor(y), rows], [plane.steps[2], Math.floor(x), columns]];
    for (const [step, at, count] of places) {
      const other = given.planes.find(({ steps }) => steps[0] === Math.abs(step));
      this.positions[other.name] = step < 0 ? count - 1 - at : at;
    }
    this.showCross = true;
    this.draw();
  }

  drawText() {
    const { find, given, plane, slider } = this;
    const [count, number] = [plane.shape[0], this.index + 1];
    const title = `${plane.name} slice ${count > 1 ? `${number} of ${count}` : ""}`.trim();
    const round = (value) => Number(value.toPrecision(3));
    Object.assign(slider, { max: count, value: number });
    slider.setAttribute("aria-valuetext", `${number}`);
    find(".slices").hidden = count < 2;
    find(".strip").style.visibility = this.isOfFile && given.strip ? "visible" : "hidden";
    find(".number").textContent = `${number} / ${count}`;
    ["top", "right", "bottom", "left"].forEach((side, i) => { find(`.edge.${side}`).textContent = plane.labels?.[i] ?? ""; });
    find(".where").textContent = [title, plane.size, given.texts?.[this.isOfFile ? number : 0]].filter(Boolean).join("\n");
    find(".window").textContent = `L ${round(this.level)} W ${round(this.width)}`;
    this.canvas.setAttribute("aria-label", this.levels ? `Map of ${given.map.name}, ${title}` : `The scan, ${title}`);
    find(".meaning").textContent = this.meaning(number);
    const pressed = { overlay: this.showMap, mask: this.showMask };
    for (const [name, value] of Object.entries(pressed)) find(`.${name}`).setAttribute("aria-pressed", String(value));
    for (const button of find(".planes").children) button.setAttribute("aria-pressed", String(button.name === plane.name));
    for (const bar of find(".strip").querySelectorAll("rect")) {
      bar.classList.toggle("current", Number(bar.dataset.slice) === number);
    }
    Object.assign(this.root.dataset, { slice: number, plane: plane.name, drawn: performance.now() });
  }

  meaning(number) {
    const { map, analysed } = this.given;
    if (!map) return "";
    if (!this.isOfFile) return "No map in this plane: the classifiers read axial slices only.";
    if (!analysed.includes(number)) return "No map: this slice was not analysed.";
    if (!this.showMap) return `Map of ${map.name}: off.`;
    if (!this.levels) return "Computing the map.";
    const peak = this.levels.reduce((most, level) => Math.max(most, level), 0);
    if (peak === 0) return `${map.title} No positive evidence for this class in this slice.`;
    const weak = peak < HALF ? " Weak: nothing in this slice reaches half the scale." : " Contour: half the scale.";
    return `${map.title} ${map.legend}${weak}`;
  }
}
