// A chosen slice: what it is, where it came from, what came of it. The arrows are looked for when a slice is chosen, by going through all
// events once, so that no index has to be kept.

const ARROW_LIMIT = 60;

class Chosen {
  constructor(page) {
    this.page = page;
    this.clear();
  }

  clear() {
    this.lane = null;
    this.slice = -1;
    this.arrows = [];
    byId("details").replaceChildren();
  }

  choose(lane, slice) {
    this.lane = lane;
    this.slice = slice;
    const incoming = this.incoming().map((arrow) => ({ ...arrow, incoming: true }));
    this.arrows = [...incoming, ...this.outgoing()].slice(0, ARROW_LIMIT);
    this.describe();
  }

  arrow(text, lane, time, toLane, toTime, other) {
    return { text, from: { track: lane.track, time }, to: { track: toLane.track, time: toTime }, other };
  }

  incoming() {
    const { lanes } = this.page;
    const { lane, slice } = this;
    const { kind, id, begin, end, victim } = lane.slices;
    const arrows = [];
    if (kind[slice] <= BATCH && id[slice] > 0) {
      for (const other of lanes) {
        const made = eachInstant(other, MADE, (instants, at) => instants.id[at] === id[slice])[0];
        if (made === undefined) continue;
        const time = other.instants.time[made];
        const text = `made on ${laneName(other)}, ${duration(begin[slice] - time)} before it began`;
        arrows.push(this.arrow(text, other, time, lane, begin[slice], { lane: other, time }));
      }
    }
    if (victim[slice] >= 0 && lanes[victim[slice]]) {
      const other = lanes[victim[slice]];
      arrows.push(this.arrow(`stolen from ${laneName(other)}`, other, begin[slice], lane, begin[slice], { lane: other, time: begin[slice] }));
    }
    if (kind[slice] === PARK) {
      let last = null;
      for (const other of lanes) {
        const woken = eachInstant(other, WAKE, (instants, at) =>
          instants.track[at] === lane.track && instants.time[at] <= end[slice] && instants.time[at] >= begin[slice]);
        for (const at of woken) if (!last || other.instants.time[at] > last.time) last = { lane: other, time: other.instants.time[at] };
      }
      if (last) {
        const text = `woken by ${laneName(last.lane)}, awake ${duration(end[slice] - last.time)} later`;
        arrows.push(this.arrow(text, last.lane, last.time, lane, end[slice], last));
      }
    }
    if (kind[slice] >= FIRST_WAIT && kind[slice] < PARK && id[slice] > 0) {
      for (const other of lanes) {
        for (const at of eachInstant(other, FINISHED, (instants, at) => instants.id[at] === id[slice])) {
          const time = other.instants.time[at];
          arrows.push(this.arrow(`its task ended on ${laneName(other)}`, other, time, lane, end[slice], { lane: other, time }));
        }
      }
    }
    return arrows;
  }

  outgoing() {
    const { lanes } = this.page;
    const { lane, slice } = this;
    const { begin, end, kind, id } = lane.slices;
    const arrows = [];
    const runs = kind[slice] <= BATCH || kind[slice] === SPAN;
    const made = new Map();
    if (runs) {
      const { instants } = lane;
      for (let at = lowerBound(instants.time, begin[slice]); at < instants.count && instants.time[at] <= end[slice]; at++) {
        if (arrows.length + made.size >= ARROW_LIMIT) break;
        if (instants.kind[at] === MADE) made.set(instants.id[at], instants.time[at]);
        if (instants.kind[at] === WAKE && lanes[instants.track[at]]) {
          const other = lanes[instants.track[at]];
          const slept = parkAt(other, instants.time[at]);
          const time = slept < 0 ? instants.time[at] : other.slices.end[slept];
          arrows.push(this.arrow(`wakes ${laneName(other)}`, lane, instants.time[at], other, time, { lane: other, slice: slept, time }));
        }
      }
    }
    for (const other of lanes) {
      const slices = other.slices;
      for (let at = 0; at < slices.count && arrows.length < ARROW_LIMIT; at++) {
        const time = slices.begin[at];
        const there = { lane: other, slice: at, time };
        if (made.has(slices.id[at]) && slices.kind[at] <= BATCH) {
          arrows.push(this.arrow(`makes ${this.page.nameOfSlice(other, at)} on ${laneName(other)}`, lane, made.get(slices.id[at]), other, time, there));
          made.delete(slices.id[at]);
        }
        if (runs && slices.victim[at] === lane.track && time >= begin[slice] && time <= end[slice]) {
          arrows.push(this.arrow(`${laneName(other)} steals ${this.page.nameOfSlice(other, at)}`, lane, time, other, time, there));
        }
        const waits = slices.kind[at] >= FIRST_WAIT && slices.kind[at] < PARK;
        if (runs && waits && id[slice] > 0 && slices.id[at] === id[slice]) {
          arrows.push(this.arrow(`${laneName(other)} waited for it`, lane, end[slice], other, slices.end[at], there));
        }
      }
    }
    return arrows;
  }

  /** The texts below the lanes. */
  describe() {
    const { page, lane, slice } = this;
    const { kind, extra, begin, end, site, id, state, parent } = lane.slices;
    const facts = page.facts.sites[site[slice]];
    const pairs = [
      ["thread", `${laneName(lane)} (${lane.facts.name})`],
      ["from", `${duration(begin[slice])}${extra[slice] & 16 ? ", its beginning is not in the record" : ""}`],
      ["length", `${duration(end[slice] - begin[slice])}${extra[slice] & 32 ? ", not ended" : ""}`],
      ["of its own", duration(this.own())],
    ];
    if (kind[slice] <= BATCH || kind[slice] === SPAN) {
      pairs.push(["is", `${KINDS[kind[slice]]}${state[slice] === HELP ? ", run while waiting" : ""}`]);
      if (kind[slice] < BATCH) pairs.push(["ended", extra[slice] & 32 ? "not yet" : OUTCOMES[extra[slice] & 3]]);
    }
    if (lane.slices.runs.has(slice)) pairs.push(["runs", count(lane.slices.runs.get(slice))]);
    if (id[slice] > 0) pairs.push(["task", `${id[slice]}`]);
    if (facts && facts.name !== facts.short) pairs.push(["site", facts.name]);
    if (facts && facts.place) pairs.push(["place", facts.place]);
    if (parent[slice] >= 0) pairs.push(["inside of", page.nameOfSlice(lane, parent[slice])]);
    const list = element("dl", { class: "pairs" });
    for (const [name, text] of pairs) list.append(element("dt", {}, name), element("dd", {}, text));
    const links = element("ul", { class: "links" });
    for (const arrow of this.arrows.slice(0, 16)) {
      links.append(element("li", {}, element("button", { type: "button", click: () => page.goTo(arrow.other) },
        `${arrow.incoming ? "←" : "→"} ${arrow.text}`)));
    }
    if (this.arrows.length > 16) links.append(element("li", { class: "quiet" }, `and ${this.arrows.length - 16} more`));
    if (this.arrows.length === 0) links.append(element("li", { class: "quiet" }, "no arrows: nothing in the record made it, stole it or waits for it"));
    byId("details").replaceChildren(
      element("h3", {}, page.nameOfSlice(lane, slice)),
      element("div", { class: "columns" }, list, links),
    );
  }

  /** The time of the slice without that of the slices directly inside. */
  own() {
    const { begin, end, parent, count } = this.lane.slices;
    let own = end[this.slice] - begin[this.slice];
    for (let at = this.slice + 1; at < count && begin[at] < end[this.slice]; at++) {
      if (parent[at] === this.slice) own -= end[at] - begin[at];
    }
    return own;
  }

  /** Draws the frame of the slice and its arrows over the lanes. `offset` is the place of the lanes in the overlay. */
  draw(context, offset, lanes) {
    if (!this.lane) return;
    const { colours } = this.page;
    const place = lanes.placeOf(this.lane.track);
    if (!place) return;
    const middle = (point) => {
      const target = lanes.placeOf(point.track);
      return target ? target.top + target.height / 2 + offset : null;
    };
    const { begin, end } = this.lane.slices;
    const left = Math.max(lanes.x(begin[this.slice]), GUTTER - 1), right = Math.min(lanes.x(end[this.slice]), lanes.plot.left + lanes.plot.width + 1);
    if (right >= GUTTER && left <= lanes.plot.left + lanes.plot.width) {
      context.strokeStyle = colours.text.text;
      context.lineWidth = 2;
      context.strokeRect(left, place.top + offset, Math.max(2, right - left), place.height);
    }
    context.save();
    context.beginPath();
    context.rect(GUTTER, 0, lanes.plot.width, 1e5);
    context.clip();
    for (const arrow of this.arrows) {
      const y0 = middle(arrow.from), y1 = middle(arrow.to);
      if (y0 !== null && y1 !== null) drawArrow(context, lanes.x(arrow.from.time), y0, lanes.x(arrow.to.time), y1, colours);
    }
    context.restore();
  }
}

/** The instants of a kind on a lane that a test accepts. */
function eachInstant(lane, kind, test) {
  const found = [];
  const { instants } = lane;
  for (let at = 0; at < instants.count; at++) if (instants.kind[at] === kind && test(instants, at)) found.push(at);
  return found;
}

/** The slice in which a thread sleeps at a time, or -1. */
function parkAt(lane, time) {
  for (const row of lane.levels) {
    const place = firstEndingAfter(lane, row, time);
    if (place >= row.count) continue;
    const slice = row.slices[place];
    if (lane.slices.kind[slice] === PARK && lane.slices.begin[slice] <= time) return slice;
  }
  return -1;
}

/** A curve with a head, and a seam of the background around it so that it shows on every colour. */
function drawArrow(context, x0, y0, x1, y1, colours) {
  const bend = Math.max(18, Math.min(90, Math.abs(x1 - x0) / 2));
  const path = () => {
    context.beginPath();
    context.moveTo(x0, y0);
    context.bezierCurveTo(x0 + bend, y0, x1 - bend, y1, x1, y1);
  };
  for (const [colour, width] of [[colours.text["arrow-soft"], 4.5], [colours.text.arrow, 1.8]]) {
    context.strokeStyle = colour;
    context.fillStyle = colour;
    context.lineWidth = width;
    path();
    context.stroke();
    const head = width > 3 ? 10 : 8;
    context.beginPath();
    context.moveTo(x1 + 1, y1);
    context.lineTo(x1 - head, y1 - head * 0.55);
    context.lineTo(x1 - head, y1 + head * 0.55);
    context.fill();
    context.beginPath();
    context.arc(x0, y0, width > 3 ? 4.5 : 3, 0, 7);
    context.fill();
  }
}
