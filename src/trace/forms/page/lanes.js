// The lanes: one row for each thread, or for a band of threads if there are many.
// A slice that is wider than a pixel is a rectangle. Below that, each column of pixels says how much of its time the thread ran, in the
// colour of what ran longest there, so that the cost of drawing depends on the width and not on the number of events.

/** The width of the names, left of all that has the time axis. */
const GUTTER = 132;
const RIGHT = 14;
/** Above this number of threads they are drawn in bands. */
const MANY = 64;
/** The slices of one column that are looked at for its colour. */
const SAMPLES = 12;

class Lanes {
  constructor(page) {
    this.page = page;
    this.canvas = byId("lanes");
    this.rows = this.arrange();
    this.highlight = -1;
  }

  /** The rows from top to bottom. */
  arrange() {
    const order = { worker: 0, spare: 1, guest: 2 };
    const lanes = [...this.page.lanes].sort((a, b) =>
      order[a.facts.role] - order[b.facts.role] || a.facts.index - b.facts.index || a.track - b.track);
    // A guest that neither runs nor makes anything has no row.
    const shown = lanes.filter((lane) => lane.facts.role !== "guest" || lane.slices.count > 0 || lane.instants.kind.includes(MADE));
    if (shown.length <= MANY + 8) return shown.map((lane) => ({ lane }));
    const size = Math.ceil(shown.length / 32);
    const rows = [];
    for (let at = 0; at < shown.length; at += size) {
      const lanes = shown.slice(at, at + size);
      rows.push({ band: new Group(lanes, this.page.facts.taken), lanes, name: bandName(lanes), open: false });
    }
    return rows;
  }

  /** The rows with those of open bands. */
  visible() {
    return this.rows.flatMap((row) => (row.open ? [row, ...row.lanes.map((lane) => ({ lane, inner: true }))] : [row]));
  }

  draw(width) {
    const { view, colours } = this.page;
    const rows = this.visible();
    const lanes = rows.length;
    const height = Math.max(12, Math.min(58, Math.floor(640 / Math.max(1, lanes))));
    this.layout = rows.map((row, at) => ({ row, top: at * (height + 1), height }));
    this.plot = { left: GUTTER, width: width - GUTTER - RIGHT };
    const total = lanes * (height + 1);
    const { context, ratio } = prepare(this.canvas, width, total);
    const across = Math.round(this.plot.width * ratio);
    const raster = new Raster(across, Math.round(total * ratio), colours.pixel.card);
    const labels = [];
    for (const place of this.layout) {
      const top = Math.round(place.top * ratio), bottom = Math.round((place.top + place.height) * ratio);
      if (place.row.band) this.drawBand(raster, place.row, top, bottom);
      else this.drawLane(raster, place.row.lane, top, bottom, ratio, place, labels);
    }
    context.putImageData(raster.image, Math.round(this.plot.left * ratio), 0);
    this.drawNames(context, height);
    for (const label of labels) {
      context.fillStyle = inkOn(label.colour);
      context.font = `${label.small ? 10.5 : 12}px ${FONT}`;
      const last = label.text.includes("::") ? label.text.slice(label.text.lastIndexOf("::") + 2) : label.text;
      const text = fitting(context, context.measureText(label.text).width > label.width - 8 ? last : label.text, label.width - 8);
      if (text) context.fillText(text, this.plot.left + label.left + 4, label.middle + 0.5);
    }
    this.drawMarks(context, total);
    this.canvas.setAttribute("aria-label", `Lanes of ${lanes} threads or bands, ${duration(view.from)} to ${duration(view.to)}`);
  }

  drawNames(context, height) {
    const { colours } = this.page;
    context.font = `${height < 15 ? 10 : 12}px ${FONT}`;
    for (const { row, top } of this.layout) {
      const name = row.band ? `${row.open ? "▾" : "▸"} ${row.name}` : laneName(row.lane);
      context.fillStyle = row.band ? colours.text.accent : colours.text.quiet;
      context.textAlign = "right";
      context.fillText(fitting(context, name, GUTTER - 14), GUTTER - 10, top + height / 2 + 0.5);
    }
    context.textAlign = "left";
  }

  /** The colour of a slice. */
  colourOf(slices, at) {
    const { colours } = this.page;
    const state = slices.state[at];
    if (slices.kind[at] === SPAN) return this.dimmed(colours.pixel.span, slices.site[at]);
    if (state > HELP) return colours.states[state];
    return this.dimmed(this.page.colourOfSite(slices.site[at]), slices.site[at]);
  }

  /** Pale if another site is highlighted. */
  dimmed(colour, site) {
    return this.highlight >= 0 && site !== this.highlight ? mix(colour, this.page.colours.pixel.card, 0.22) : colour;
  }

  /** A band of threads: the states of each column on top of each other. */
  drawBand(raster, row, top, bottom) {
    const { view, colours } = this.page;
    drawShares(raster, row.band.shares(view.from, view.to, raster.width), row.lanes.length, view, top, bottom - 1, colours);
  }

  drawLane(raster, lane, top, bottom, ratio, place, labels) {
    const { view, colours } = this.page;
    const scale = raster.width / (view.to - view.from);
    // Where the thread is in the pool and no slice is open.
    for (const [enter, leave] of lane.presence) {
      const left = Math.floor((enter - view.from) * scale), right = Math.ceil((leave - view.from) * scale);
      const guest = lane.facts.role === "guest";
      const colour = guest ? mix(colours.pixel.run, colours.pixel.card, 0.25) : colours.states[SEARCH];
      raster.fill(left, guest ? bottom - Math.ceil((bottom - top) / 3) : top, right, bottom, colour);
    }
    const inset = Math.min(7 * ratio, (bottom - top) * 0.16);
    const deepest = Math.min(lane.levels.length, place.height < 20 ? 64 : 1 + Math.floor(0.72 * ((bottom - top) / inset)));
    for (let level = 0; level < deepest; level++) {
      const from = Math.min(bottom - 3, Math.round(top + (place.height < 20 ? 0 : inset * level)));
      this.drawLevel(raster, lane, level, [top, from, bottom], scale, ratio, place, labels);
    }
  }

  drawLevel(raster, lane, level, [laneTop, top, bottom], scale, ratio, place, labels) {
    const { view, colours } = this.page;
    const { begin, end, state, kind, parent } = lane.slices;
    const row = lane.levels[level];
    let at = firstEndingAfter(lane, row, view.from);
    while (at < row.count) {
      const slice = row.slices[at];
      if (begin[slice] >= view.to) break;
      const left = (begin[slice] - view.from) * scale, right = (end[slice] - view.from) * scale;
      if (right - left >= 1.6) {
        const colour = this.colourOf(lane.slices, slice);
        const x0 = Math.max(0, Math.round(left)), x1 = Math.max(x0 + 1, Math.round(right));
        let upper = top;
        if (state[slice] === PARKED) {
          // Sleep is a low bar. That of a thread without work stands for its search too.
          const idle = parent[slice] >= 0 && kind[parent[slice]] === IDLE;
          upper = bottom - Math.round((bottom - top) * 0.4);
          raster.fill(x0, idle ? laneTop : top, x1, upper, colours.pixel.card);
        }
        raster.fill(x0, upper, x1, bottom, colour);
        // A line between neighbours of one colour.
        if (x1 - x0 > 3 && left > 0 && state[slice] <= HELP) raster.fill(x0, upper, x0 + 1, bottom, mix(colour, colours.pixel.card, 0.55));
        const next = lane.levels[level + 1];
        if (x1 - x0 > 34 * ratio && place.height >= 12) this.label(labels, lane, slice, x0, x1, top, bottom, ratio, colour, next, place);
        at++;
      } else {
        at = this.drawColumn(raster, lane, row, at, level, top, bottom, scale);
      }
    }
  }

  /** The column of pixels in which a short slice begins. Returns the place of the first slice that ends after it. */
  drawColumn(raster, lane, row, at, level, top, bottom, scale) {
    const { view, colours } = this.page;
    const { begin, end, state } = lane.slices;
    const x = Math.max(0, Math.floor((begin[row.slices[at]] - view.from) * scale));
    const until = view.from + (x + 1) / scale;
    let next = firstEndingAfterFrom(lane, row, until, at);
    if (next === at) next = at + 1;
    let longest = -1, longestRest = -1;
    const stride = Math.max(1, Math.floor((next - at) / SAMPLES));
    for (let place = at; place < next; place += stride) {
      const slice = row.slices[place];
      const length = end[slice] - begin[slice];
      if (state[slice] <= HELP) {
        if (longest < 0 || length > end[longest] - begin[longest]) longest = slice;
      } else if (longestRest < 0 || length > end[longestRest] - begin[longestRest]) longestRest = slice;
    }
    if (x >= raster.width) return next;
    // The slices at both ends of the column count in part.
    const since = view.from + x / scale;
    const first = at > 0 && end[row.slices[at - 1]] > since ? at - 1 : at;
    const before = Math.max(0, since - begin[row.slices[first]]);
    const after = Math.max(0, end[row.slices[next - 1]] - until);
    const further = next < row.count ? Math.max(0, until - begin[row.slices[next]]) : 0;
    const ifRun = (place, time) => (time > 0 && state[row.slices[place]] <= HELP ? time : 0);
    const lasted = row.lasted[next] - row.lasted[first] - before - after + further;
    const ran = row.ran[next] - row.ran[first] - ifRun(first, before) - ifRun(next - 1, after) + ifRun(next, further);
    const heightOf = (time) => Math.max(0, Math.min(bottom - top, Math.round((bottom - top) * time * scale)));
    if (longestRest >= 0) raster.column(x, bottom - heightOf(lasted), bottom, colours.states[state[longestRest]]);
    if (longest >= 0) {
      const height = Math.max(level === 0 ? 1 : 0, heightOf(ran));
      raster.column(x, bottom - height, bottom, this.colourOf(lane.slices, longest));
    }
    return next;
  }

  /** Notes the text of a wide slice; it is drawn after the pixels. */
  label(labels, lane, slice, x0, x1, top, bottom, ratio, colour, next, place) {
    const { kind, state } = lane.slices;
    const left = Math.max(0, x0) / ratio, right = Math.min(x1 / ratio, this.plot.width);
    if (right - left < 30 || state[slice] === PARKED || state[slice] === SEARCH) return;
    // What is inside of the slice covers it.
    const inside = next ? firstEndingAfter(lane, next, lane.slices.begin[slice]) : 0;
    if (next && inside < next.count && lane.slices.begin[next.slices[inside]] < lane.slices.end[slice]) return;
    const text = state[slice] === WAIT ? KINDS[kind[slice]] : this.page.nameOfSlice(lane, slice);
    labels.push({ text, colour, left, width: right - left, middle: (top + bottom) / 2 / ratio, small: bottom - top < 16 * ratio });
  }

  /** The user's marks as lines across all lanes. */
  drawMarks(context, total) {
    const { view, colours, marks } = this.page;
    context.strokeStyle = colours.text.text;
    context.globalAlpha = 0.75;
    context.lineWidth = 1;
    context.setLineDash([3, 3]);
    let last = -100;
    for (const mark of marks) {
      if (mark.time < view.from || mark.time > view.to) continue;
      const x = Math.round(this.x(mark.time)) + 0.5;
      if (x - last < 3) continue;
      last = x;
      context.beginPath();
      context.moveTo(x, 0);
      context.lineTo(x, total);
      context.stroke();
    }
    context.setLineDash([]);
    context.globalAlpha = 1;
  }

  x(time) {
    const { view } = this.page;
    return this.plot.left + ((time - view.from) / (view.to - view.from)) * this.plot.width;
  }

  time(x) {
    const { view } = this.page;
    return view.from + ((x - this.plot.left) / this.plot.width) * (view.to - view.from);
  }

  placeAt(y) {
    return this.layout.find((place) => y >= place.top && y <= place.top + place.height);
  }

  placeOf(track) {
    return this.layout.find(({ row }) => (row.lane ? row.lane.track === track : row.lanes.some((lane) => lane.track === track)));
  }

  /** The lane and slice at a point, if there is one: the innermost that is drawn there. */
  at(x, y) {
    const place = this.placeAt(y);
    if (!place || !place.row.lane || x < this.plot.left) return place ? { place } : null;
    const { view } = this.page;
    const lane = place.row.lane;
    const time = this.time(x);
    const inset = Math.min(7, place.height * 0.16);
    const deepest = place.height < 20 ? Infinity : Math.floor((y - place.top) / inset);
    let slice = sliceAt(lane, time, deepest);
    if (slice < 0) {
      // A short slice is found within two pixels.
      const reach = (2 * (view.to - view.from)) / this.plot.width;
      slice = sliceAt(lane, time + reach, deepest);
      if (slice < 0) slice = sliceAt(lane, time - reach, deepest);
    }
    return { place, lane, slice, time };
  }
}

/** The first place in a level from `from` on whose slice ends after a time: in steps that double, then by halves. */
function firstEndingAfterFrom(lane, row, time, from) {
  const end = lane.slices.end;
  let step = 1, low = from;
  while (low + step < row.count && end[row.slices[low + step]] <= time) {
    low += step;
    step *= 2;
  }
  let high = Math.min(row.count, low + step);
  if (end[row.slices[low]] > time) return low;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (end[row.slices[middle]] > time) high = middle;
    else low = middle + 1;
  }
  return low;
}

function laneName(lane) {
  const { role, index, name } = lane.facts;
  if (role === "worker") return `worker ${index}`;
  return role === "spare" ? `spare ${name}` : name === "guest" ? name : `guest ${name}`;
}

function bandName(lanes) {
  const [first, last] = [lanes[0], lanes[lanes.length - 1]];
  if (lanes.length === 1) return laneName(first);
  if (first.facts.role !== last.facts.role) return `${laneName(first)} …`;
  return first.facts.role === "worker" ? `workers ${first.facts.index}–${last.facts.index}` : `${lanes.length} ${first.facts.role}s`;
}

/** States of columns on top of each other, in a raster. `whole` is the number of threads that fill the height. */
function drawShares(raster, sums, whole, view, top, bottom, colours) {
  const full = (whole * (view.to - view.from)) / raster.width;
  const height = bottom - top;
  for (let x = 0; x < raster.width; x++) {
    let sum = 0, y = bottom;
    for (let state = 0; state < 5; state++) {
      sum += sums[x * 5 + state];
      const upper = Math.max(top, bottom - Math.round((sum / full) * height));
      if (upper < y) raster.column(x, upper, y, colours.states[state]);
      y = Math.min(y, upper);
    }
  }
}
