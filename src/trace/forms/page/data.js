// The data of the page: decoding it, and looking things up in it.
// The format of the bytes is explained in packed.rs.

const RUN = 0, HELP = 1, SEARCH = 2, WAIT = 3, PARKED = 4;
const KINDS = [
  "stolen fork", "task of a scope", "task", "poll of a future", "broadcast", "run", "short runs",
  "wait for a stolen fork", "wait for a scope", "wait for a task", "wait for a result", "blocking call", "search for work",
  "parked", "span",
];
const BATCH = 6, FIRST_WAIT = 7, IDLE = 12, PARK = 13, SPAN = 14;
const OUTCOMES = ["returned", "panicked", "cancelled", "suspended"];
const MADE = 0, STEAL = 1, WAKE = 2, FINISHED = 3, CANCELLED = 4, TIMED_OUT = 5, MARK = 6;

/** The number of time bins in which the states of many threads are added up once. */
const BINS = 8192;

/** The bytes of a base64 text. */
function bytesOf(text) {
  const binary = atob(text.trim());
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at++) bytes[at] = binary.charCodeAt(at);
  return bytes;
}

/** Reads varints from bytes. Numbers above 2^31 are added up, since shifts have 32 bits. */
class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }

  byte() {
    return this.bytes[this.at++];
  }

  unsigned() {
    const bytes = this.bytes;
    let byte = bytes[this.at++];
    if (byte < 128) return byte;
    let number = byte & 127;
    byte = bytes[this.at++];
    number |= (byte & 127) << 7;
    if (byte < 128) return number;
    byte = bytes[this.at++];
    number |= (byte & 127) << 14;
    if (byte < 128) return number;
    let factor = 1 << 21;
    do {
      byte = bytes[this.at++];
      number += (byte & 127) * factor;
      factor *= 128;
    } while (byte >= 128);
    return number;
  }

  signed() {
    const number = this.unsigned();
    return number % 2 === 0 ? number / 2 : -(number + 1) / 2;
  }
}

/** Decodes the events of all threads. */
function decode(bytes, facts) {
  const reader = new Reader(bytes);
  if (reader.unsigned() !== 1) throw new Error("the page's data have another version");
  const memory = { site: 0, id: 0 };
  const lanes = [];
  const count = reader.unsigned();
  for (let track = 0; track < count; track++) {
    const lane = { track, facts: facts.tracks[track], presence: [] };
    let last = 0;
    for (let left = reader.unsigned(); left > 0; left--) {
      const from = last + reader.unsigned();
      last = from + reader.unsigned();
      lane.presence.push([from, last]);
    }
    decodeSlices(reader, lane, memory);
    decodeInstants(reader, lane, memory);
    decodeDepths(reader, lane);
    nest(lane);
    lanes.push(lane);
  }
  return lanes;
}

function nextId(reader, mode, memory) {
  if (mode === 0) return 0;
  memory.id += mode === 1 ? 1 : reader.signed();
  return memory.id;
}

/** Slices are kept as columns, sorted by their beginnings, outer ones before inner ones. */
function decodeSlices(reader, lane, memory) {
  const count = reader.unsigned();
  const slices = {
    count,
    begin: new Float64Array(count),
    end: new Float64Array(count),
    kind: new Uint8Array(count),
    extra: new Uint8Array(count),
    site: new Uint16Array(count),
    id: new Float64Array(count),
    victim: new Int32Array(count),
    runs: new Map(),
  };
  let lastEnd = 0;
  for (let at = 0; at < count; at++) {
    const tag = reader.byte();
    const kind = tag & 15;
    const extra = tag & 128 ? reader.byte() : 0;
    const begin = lastEnd + reader.signed();
    lastEnd = begin + reader.unsigned();
    if (tag & 16) memory.site = reader.unsigned();
    slices.kind[at] = kind;
    slices.extra[at] = extra;
    slices.begin[at] = begin;
    slices.end[at] = lastEnd;
    slices.site[at] = kind < FIRST_WAIT || kind === SPAN ? memory.site : 65535;
    slices.id[at] = nextId(reader, (tag >> 5) & 3, memory);
    if (kind === BATCH) slices.runs.set(at, reader.unsigned());
    slices.victim[at] = extra & 4 ? reader.unsigned() : -1;
  }
  lane.slices = slices;
}

function decodeInstants(reader, lane, memory) {
  const count = reader.unsigned();
  const instants = {
    count,
    time: new Float64Array(count),
    kind: new Uint8Array(count),
    site: new Uint16Array(count),
    id: new Float64Array(count),
    track: new Int32Array(count),
  };
  let time = 0;
  for (let at = 0; at < count; at++) {
    const tag = reader.byte();
    const kind = tag & 7;
    time += reader.unsigned();
    if (tag & 32) memory.site = reader.unsigned();
    instants.time[at] = time;
    instants.kind[at] = kind;
    instants.site[at] = kind === MADE || kind === MARK ? memory.site : 65535;
    instants.id[at] = nextId(reader, (tag >> 3) & 3, memory);
    instants.track[at] = kind === STEAL || kind === WAKE ? reader.unsigned() : -1;
  }
  lane.instants = instants;
}

function decodeDepths(reader, lane) {
  let time = 0;
  lane.depths = [];
  for (let left = reader.unsigned(); left > 0; left--) {
    time += reader.unsigned();
    lane.depths.push([time, reader.unsigned(), reader.unsigned(), reader.unsigned()]);
  }
}

/** Finds what each slice is inside of, its state, and the slices of each level. */
function nest(lane) {
  const { count, begin, end, kind } = lane.slices;
  const parent = new Int32Array(count);
  const state = new Uint8Array(count);
  const level = new Uint16Array(count);
  const sizes = [];
  const open = [];
  for (let at = 0; at < count; at++) {
    while (open.length > 0 && end[open[open.length - 1]] <= begin[at]) open.pop();
    const outer = open.length > 0 ? open[open.length - 1] : -1;
    const helps = outer >= 0 && (state[outer] === WAIT || state[outer] === HELP);
    parent[at] = outer;
    state[at] = kind[at] < FIRST_WAIT || kind[at] === SPAN ? (helps ? HELP : RUN)
      : kind[at] === IDLE ? SEARCH : kind[at] === PARK ? PARKED : WAIT;
    level[at] = open.length;
    sizes[open.length] = (sizes[open.length] || 0) + 1;
    open.push(at);
  }
  Object.assign(lane.slices, { parent, state, level });
  // For each level its slices, and the time that they last and that they run up to each of them, so that any span of time is added up by
  // two look-ups.
  lane.levels = sizes.map((size) => (
    { slices: new Int32Array(size), lasted: new Float64Array(size + 1), ran: new Float64Array(size + 1), count: 0 }));
  for (let at = 0; at < count; at++) {
    const row = lane.levels[level[at]];
    row.slices[row.count] = at;
    const length = end[at] - begin[at];
    row.lasted[row.count + 1] = row.lasted[row.count] + length;
    row.ran[row.count + 1] = row.ran[row.count] + (state[at] <= HELP ? length : 0);
    row.count++;
  }
}

/** The first place in a level whose slice ends after a time. */
function firstEndingAfter(lane, row, time) {
  const end = lane.slices.end;
  let low = 0, high = row.count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (end[row.slices[middle]] > time) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** The innermost slice at a time down to a level, or -1. */
function sliceAt(lane, time, deepest = Infinity) {
  let found = -1;
  for (let level = 0; level < lane.levels.length && level <= deepest; level++) {
    const row = lane.levels[level];
    const place = firstEndingAfter(lane, row, time);
    if (place >= row.count || lane.slices.begin[row.slices[place]] > time) break;
    found = row.slices[place];
  }
  return found;
}

/** The first place in a sorted column whose value is at least `value`. */
function lowerBound(column, value) {
  let low = 0, high = column.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (column[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** What a thread does while no slice is open: a guest runs what it came with, others look for work. */
function stateBetween(lane) {
  return lane.facts.role === "guest" ? RUN : SEARCH;
}

/**
 * Calls `segment(state, slice, from, to)` for each span of time between two times in which the innermost slice of a thread is the same.
 * The slice is -1 where there is none.
 */
function eachSegment(lane, from, to, segment) {
  const { begin, end, state, count } = lane.slices;
  const between = stateBetween(lane);
  const emit = (slice, a, b) => {
    const low = Math.max(a, from), high = Math.min(b, to);
    if (high > low) segment(slice < 0 ? between : state[slice], slice, low, high);
  };
  const outside = (a, b) => {
    for (const [enter, leave] of lane.presence) {
      if (leave > a && enter < b) emit(-1, Math.max(a, enter), Math.min(b, leave));
    }
  };
  const top = lane.levels[0];
  const place = top ? firstEndingAfter(lane, top, from) : 0;
  let cursor = from;
  const open = [];
  for (let at = top && place < top.count ? top.slices[place] : count; at < count && begin[at] < to; at++) {
    while (open.length > 0 && end[open[open.length - 1]] <= begin[at]) {
      const inner = open.pop();
      if (end[inner] > cursor) {
        emit(inner, cursor, end[inner]);
        cursor = end[inner];
      }
    }
    if (begin[at] > cursor) {
      if (open.length > 0) emit(open[open.length - 1], cursor, begin[at]);
      else outside(cursor, begin[at]);
      cursor = begin[at];
    }
    open.push(at);
  }
  while (open.length > 0) {
    const inner = open.pop();
    if (end[inner] > cursor) {
      emit(inner, cursor, end[inner]);
      cursor = end[inner];
    }
  }
  if (cursor < to) outside(cursor, to);
}

/** Adds the states of threads in a span of time to columns: `sums[column * 5 + state]` in nanoseconds. */
function addStates(lanes, from, to, columns, sums) {
  const width = (to - from) / columns;
  for (const lane of lanes) {
    eachSegment(lane, from, to, (state, _slice, a, b) => {
      let column = Math.min(columns - 1, Math.floor((a - from) / width));
      let at = a;
      while (at < b) {
        const edge = column === columns - 1 ? b : Math.min(b, from + (column + 1) * width);
        if (edge > at) sums[column * 5 + state] += edge - at;
        at = Math.max(at, edge);
        column++;
        if (column === columns) break;
      }
    });
  }
}

/** The states of a group of threads over time, for any span: from bins if it is long, else from the slices. */
class Group {
  constructor(lanes, taken) {
    this.lanes = lanes;
    this.taken = Math.max(1, taken);
    this.bins = null;
  }

  shares(from, to, columns) {
    const sums = new Float64Array(columns * 5);
    const width = this.taken / BINS;
    if ((to - from) / columns < 2 * width) {
      addStates(this.lanes, from, to, columns, sums);
      return sums;
    }
    if (!this.bins) {
      this.bins = new Float64Array(BINS * 5);
      addStates(this.lanes, 0, this.taken, BINS, this.bins);
    }
    for (let column = 0; column < columns; column++) {
      // Bins that lie across a border count in part.
      const a = Math.max(0, (from + ((to - from) * column) / columns) / width);
      const b = Math.min(BINS, (from + ((to - from) * (column + 1)) / columns) / width);
      for (let bin = Math.floor(a); bin < b; bin++) {
        const part = Math.min(b, bin + 1) - Math.max(a, bin);
        for (let state = 0; state < 5; state++) sums[column * 5 + state] += part * this.bins[bin * 5 + state];
      }
    }
    return sums;
  }
}

/** The queue lengths of all threads in the order of time: the common queue, the sum of the deques, the sum of the rings. */
function mergeDepths(lanes) {
  const samples = [];
  for (const lane of lanes) for (const depth of lane.depths) samples.push([...depth, lane.track]);
  samples.sort((a, b) => a[0] - b[0]);
  const merged = {
    count: samples.length,
    time: new Float64Array(samples.length),
    lines: [new Float64Array(samples.length), new Float64Array(samples.length), new Float64Array(samples.length)],
  };
  const deques = new Map(), rings = new Map();
  let deque = 0, ring = 0;
  samples.forEach(([time, common, ownDeque, ownRing, track], at) => {
    deque += ownDeque - (deques.get(track) || 0);
    ring += ownRing - (rings.get(track) || 0);
    deques.set(track, ownDeque);
    rings.set(track, ownRing);
    merged.time[at] = time;
    merged.lines[0][at] = common;
    merged.lines[1][at] = deque;
    merged.lines[2][at] = ring;
  });
  return merged;
}

/** The recorded steals as rows `[thief, victim, count]`. */
function countSteals(lanes) {
  const counts = new Map();
  const size = lanes.length;
  const add = (thief, victim) => {
    if (victim >= 0 && victim < size) counts.set(thief * size + victim, (counts.get(thief * size + victim) || 0) + 1);
  };
  for (const lane of lanes) {
    for (const victim of lane.slices.victim) if (victim >= 0) add(lane.track, victim);
    const { kind, track, count } = lane.instants;
    for (let at = 0; at < count; at++) if (kind[at] === STEAL) add(lane.track, track[at]);
  }
  return [...counts].map(([pair, count]) => [Math.floor(pair / size), pair % size, count]);
}
