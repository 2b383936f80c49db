// What all parts of the page share: texts of numbers, colours, canvases, and which span of time is in view.

const byId = (id) => document.getElementById(id);

/** An element with attributes and children; strings become text, never HTML. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "click") made.addEventListener("click", value);
    else if (value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** A duration with three digits and a unit. */
function duration(nanos) {
  const size = Math.abs(nanos);
  if (size < 1e3) return `${Math.round(nanos)} ns`;
  const [value, unit] = size < 1e6 ? [nanos / 1e3, "µs"] : size < 1e9 ? [nanos / 1e6, "ms"] : [nanos / 1e9, "s"];
  const whole = Math.abs(value);
  return `${value.toFixed(whole < 10 ? 2 : whole < 100 ? 1 : 0)} ${unit}`;
}

const count = (number) => Math.round(number).toLocaleString("en-US");

function perCent(part, whole) {
  if (!(whole > 0)) return "0 %";
  const share = (100 * part) / whole;
  return share > 0 && share < 0.95 ? `${share.toFixed(1)} %` : `${share.toFixed(0)} %`;
}

/** A count in few characters, for axes. */
function brief(number) {
  if (number >= 1e9) return `${+(number / 1e9).toPrecision(3)}G`;
  if (number >= 1e6) return `${+(number / 1e6).toPrecision(3)}M`;
  if (number >= 1e4) return `${+(number / 1e3).toPrecision(3)}k`;
  return `${+number.toPrecision(3)}`;
}

const SITE_COLOURS = 8;
const STATE_WORDS = ["run", "help while waiting", "search for work", "wait", "parked"];
const STATE_COLOURS = ["run", "help", "search", "wait", "parked"];
const FONT = '"Liberation Sans", "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';

/** The colours of the style sheet, as texts and as pixels. */
class Colours {
  constructor() {
    this.read();
  }

  read() {
    const style = getComputedStyle(document.documentElement);
    this.text = {};
    this.pixel = {};
    const names = [
      "card", "line", "grid", "text", "quiet", "accent", "span", "arrow", "arrow-soft", "absent", "heat0", "heat1", "site-other",
      ...STATE_COLOURS, ...Array.from({ length: SITE_COLOURS }, (_, at) => `site${at}`),
    ];
    for (const name of names) {
      this.text[name] = style.getPropertyValue(`--${name}`).trim();
      this.pixel[name] = pixelOf(this.text[name]);
    }
    this.states = STATE_COLOURS.map((name) => this.pixel[name]);
    this.dark = document.documentElement.dataset.theme === "dark";
  }
}

/** The colour `#rrggbb` as canvases store it: alpha, blue, green, red. */
function pixelOf(hex) {
  const number = parseInt(hex.slice(1), 16);
  return (0xff000000 | ((number & 255) << 16) | (number & 0xff00) | (number >> 16)) >>> 0;
}

/** A mix of two pixels; `share` of the first. */
function mix(a, b, share) {
  const part = (shift) => Math.round(((a >>> shift) & 255) * share + ((b >>> shift) & 255) * (1 - share)) << shift;
  return (0xff000000 | part(16) | part(8) | part(0)) >>> 0;
}

const textOf = (pixel) => `rgb(${pixel & 255} ${(pixel >>> 8) & 255} ${(pixel >>> 16) & 255})`;

/** Black or white, whichever can be read on a pixel. */
function inkOn(pixel) {
  const linear = (value) => (value <= 10.3 ? value / 3294.6 : ((value / 255 + 0.055) / 1.055) ** 2.4);
  const light = 0.2126 * linear(pixel & 255) + 0.7152 * linear((pixel >>> 8) & 255) + 0.0722 * linear((pixel >>> 16) & 255);
  return light > 0.19 ? "#0d1218" : "#ffffff";
}

/** Makes a canvas as sharp as the screen. Returns its context in units of the page. */
function prepare(canvas, width, height) {
  const ratio = Math.min(3, window.devicePixelRatio || 1);
  const [across, down] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
  if (canvas.width !== across || canvas.height !== down) {
    canvas.width = across;
    canvas.height = down;
  }
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = `12px ${FONT}`;
  context.textBaseline = "middle";
  return { context, ratio };
}

/** Pixels of a canvas that are set one by one: much faster than rectangles when there are as many as columns in all lanes. */
class Raster {
  constructor(width, height, background) {
    this.width = Math.max(1, width);
    this.height = Math.max(1, height);
    this.image = new ImageData(this.width, this.height);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.pixels.fill(background);
  }

  fill(left, top, right, bottom, colour) {
    const [x0, x1] = [Math.max(0, left), Math.min(this.width, right)];
    if (x1 <= x0) return;
    for (let y = Math.max(0, top); y < Math.min(this.height, bottom); y++) {
      this.pixels.fill(colour, y * this.width + x0, y * this.width + x1);
    }
  }

  column(x, top, bottom, colour) {
    for (let at = top * this.width + x, y = top; y < bottom; y++, at += this.width) this.pixels[at] = colour;
  }
}

/** The span of time in view, and who must be told when it changes. */
class View {
  constructor(taken) {
    this.taken = Math.max(1, taken);
    this.from = 0;
    this.to = this.taken;
    this.selection = null;
    this.waiting = false;
  }

  /** Shows a span of time, at least 20 ns, within the trace. */
  show(from, to) {
    const length = Math.min(this.taken, Math.max(20, to - from));
    const middle = (from + to) / 2;
    this.from = Math.min(Math.max(0, middle - length / 2), this.taken - length);
    this.to = this.from + length;
    this.changed();
  }

  zoom(factor, at = (this.from + this.to) / 2) {
    this.show(at - (at - this.from) * factor, at + (this.to - at) * factor);
  }

  move(share) {
    const by = share * (this.to - this.from);
    const limited = Math.min(Math.max(by, -this.from), this.taken - this.to);
    this.show(this.from + limited, this.to + limited);
  }

  /** Draws before the next frame, however often it is called until then. */
  changed() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.draw();
    });
  }

  /** Replaced by the page. */
  draw() {}
}

/** Round numbers from `from` to `to`, about `wanted` of them: a step and the numbers. */
function ticks(from, to, wanted) {
  const rough = (to - from) / Math.max(1, wanted);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough) || 10 * power;
  const numbers = [];
  for (let number = Math.ceil(from / step) * step; number <= to; number += step) numbers.push(number);
  return { step, numbers };
}

/** The text of a time on an axis, with as many digits as its step needs. */
function timeLabel(nanos, step, span) {
  const [divisor, unit] = span >= 2e9 ? [1e9, "s"] : span >= 2e6 ? [1e6, "ms"] : span >= 2e3 ? [1e3, "µs"] : [1, "ns"];
  const digits = Math.max(0, -Math.floor(Math.log10(step / divisor) + 1e-9));
  return `${(nanos / divisor).toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits })} ${unit}`;
}

/** The text cut so that it fits. */
function fitting(context, text, width) {
  if (width < 14) return "";
  if (context.measureText(text).width <= width) return text;
  let low = 0, high = text.length;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (context.measureText(`${text.slice(0, middle)}…`).width <= width) low = middle;
    else high = middle - 1;
  }
  return low < 5 ? "" : `${text.slice(0, low)}…`;
}
