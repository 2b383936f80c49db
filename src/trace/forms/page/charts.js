// The charts: the time axis, what the workers did, queue depth, histograms, the speed-up curve, and the matrix of steals.

/** The height of the time axis. */
const AXIS = 42;

function drawAxis(page, width) {
  const { view, colours } = page;
  const { context } = prepare(byId("axis"), width, AXIS);
  const plot = width - GUTTER - RIGHT;
  const { step, numbers } = ticks(view.from, view.to, plot / 110);
  context.fillStyle = colours.text.quiet;
  context.strokeStyle = colours.text.line;
  context.textAlign = "center";
  for (const number of numbers) {
    const x = Math.round(GUTTER + ((number - view.from) / (view.to - view.from)) * plot) + 0.5;
    context.beginPath();
    context.moveTo(x, 18);
    context.lineTo(x, 23);
    context.stroke();
    if (x > GUTTER + 24 && x < width - 30) context.fillText(timeLabel(number, step, view.to - view.from), x, 11);
  }
  context.textAlign = "right";
  context.fillText(duration(view.to - view.from), GUTTER - 10, 11);
  drawMarkNames(context, page, plot);
}

/** The names of the marks hang at their lines, as far as there is room. */
function drawMarkNames(context, page, plot) {
  const { view, colours } = page;
  context.font = `11.5px ${FONT}`;
  context.textAlign = "left";
  context.fillStyle = colours.text.text;
  let end = 0, last = -10;
  for (const mark of page.marks) {
    if (mark.time < view.from || mark.time > view.to) continue;
    const x = GUTTER + ((mark.time - view.from) / (view.to - view.from)) * plot;
    if (x - last < 3) continue;
    last = x;
    context.beginPath();
    context.moveTo(x, AXIS);
    context.lineTo(x - 4, AXIS - 7);
    context.lineTo(x + 4, AXIS - 7);
    context.fill();
    const text = fitting(context, page.nameOfSite(mark.site), Math.min(150, GUTTER + plot - x - 8));
    if (!text || x + 8 < end) continue;
    context.fillText(text, x + 8, AXIS - 7);
    end = x + 16 + context.measureText(text).width;
  }
}

/** The left axis of a chart: lines and numbers. */
function drawScale(context, width, height, numbers, colours) {
  context.textAlign = "right";
  for (const [y, text] of numbers) {
    context.strokeStyle = colours.text.line;
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(GUTTER, Math.round(y) + 0.5);
    context.lineTo(width - RIGHT, Math.round(y) + 0.5);
    context.stroke();
    context.fillStyle = colours.text.quiet;
    context.fillText(text, GUTTER - 10, Math.min(height - 7, Math.max(7, y)));
  }
  context.textAlign = "left";
}

function drawUtilisation(page, width) {
  const { view, colours, workers } = page;
  const canvas = byId("utilisation");
  const height = 96;
  const { context, ratio } = prepare(canvas, width, height);
  const across = Math.round((width - GUTTER - RIGHT) * ratio);
  const sums = workers.shares(view.from, view.to, across);
  const raster = new Raster(across, Math.round(height * ratio), colours.pixel.card);
  drawShares(raster, sums, page.facts.threads, view, Math.round(4 * ratio), Math.round((height - 4) * ratio), colours);
  context.putImageData(raster.image, Math.round(GUTTER * ratio), 0);
  const half = page.facts.threads % 2 === 0 ? [[height / 2, `${page.facts.threads / 2}`]] : [];
  drawScale(context, width, height, [[4, `${page.facts.threads} workers`], ...half, [height - 4, "0"]], colours);
  const total = [0, 0, 0, 0, 0];
  sums.forEach((sum, at) => { total[at % 5] += sum; });
  const all = total.reduce((a, b) => a + b, 0);
  page.shares = total.map((sum) => (all > 0 ? sum / all : 0));
  canvas.setAttribute("aria-label", `States of the workers from ${duration(view.from)} to ${duration(view.to)}: ${
    STATE_WORDS.map((word, at) => `${word} ${perCent(total[at], all)}`).join(", ")}`);
}

const DEPTHS = [["common queue", "text", []], ["workers' deques", "accent", []], ["rings of forks", "quiet", [3, 3]]];

function drawDepth(page, width) {
  const { view, colours, depths } = page;
  const canvas = byId("depth");
  const hidden = depths.count === 0;
  canvas.hidden = byId("depth-title").hidden = hidden;
  canvas.style.display = hidden ? "none" : "block";
  if (hidden) return;
  const height = 84;
  const { context } = prepare(canvas, width, height);
  const plot = width - GUTTER - RIGHT;
  const first = Math.max(0, lowerBound(depths.time, view.from) - 1);
  const last = Math.min(depths.count - 1, lowerBound(depths.time, view.to));
  let most = 1;
  for (const line of depths.lines) for (let at = first; at <= last; at++) most = Math.max(most, line[at]);
  const y = (depth) => height - 4 - (depth / most) * (height - 12);
  drawScale(context, width, height, [[y(most), brief(most)], [y(0), "0"]], colours);
  context.save();
  context.beginPath();
  context.rect(GUTTER, 0, plot, height);
  context.clip();
  context.lineWidth = 1.6;
  DEPTHS.forEach(([, colour, dash], which) => {
    const line = depths.lines[which];
    context.strokeStyle = colours.text[colour];
    context.setLineDash(dash);
    context.beginPath();
    let column = -1, highest = 0;
    for (let at = first; at <= last; at++) {
      const x = GUTTER + ((depths.time[at] - view.from) / (view.to - view.from)) * plot;
      // Of all samples in a column, the highest is drawn.
      if (Math.floor(x) === column && line[at] <= highest) continue;
      highest = line[at];
      column = Math.floor(x);
      context.lineTo(x, y(line[at]));
    }
    context.stroke();
  });
  context.restore();
  canvas.setAttribute("aria-label", `Queue depth: at most ${count(most)} in view`);
}

/** The names of the lines, right-aligned at the top. */
function drawKey(context, lines, right, colours) {
  context.font = `11.5px ${FONT}`;
  let x = right;
  for (const [name, colour, dash] of [...lines].reverse()) {
    const width = context.measureText(name).width;
    context.fillStyle = colours.text.card;
    context.globalAlpha = 0.8;
    context.fillRect(x - width - 28, 1, width + 32, 16);
    context.globalAlpha = 1;
    context.fillStyle = colours.text.quiet;
    context.textAlign = "right";
    context.fillText(name, x, 9);
    context.strokeStyle = colours.text[colour];
    context.lineWidth = 2;
    context.setLineDash(dash);
    context.beginPath();
    context.moveTo(x - width - 24, 9);
    context.lineTo(x - width - 6, 9);
    context.stroke();
    context.setLineDash([]);
    x -= width + 40;
  }
}

const POWERS = ["1 ns", "10 ns", "100 ns", "1 µs", "10 µs", "100 µs", "1 ms", "10 ms", "100 ms", "1 s", "10 s", "100 s", "1,000 s", "10,000 s"];

/** A histogram of durations. Both axes are logarithmic, so that rare long ones show. */
function drawHistogram(canvas, histogram, page) {
  const { colours } = page;
  const width = canvas.clientWidth, height = 190;
  const { context } = prepare(canvas, width, height);
  const words = [["p50", histogram.p50], ["p90", histogram.p90], ["p99", histogram.p99], ["max", histogram.max]];
  canvas.setAttribute("aria-label", histogram.count === 0 ? "nothing recorded"
    : `${count(histogram.count)} recorded: ${words.map(([name, value]) => `${name} ${duration(value)}`).join(", ")}`);
  if (histogram.count === 0) {
    context.fillStyle = colours.text.quiet;
    context.textAlign = "center";
    context.fillText("nothing recorded", width / 2, height / 2);
    return;
  }
  const [left, right, top, bottom] = [46, 40, 36, 24];
  const low = Math.floor(Math.log10(Math.max(1, histogram.buckets[0][0])));
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(10, histogram.max + 1))));
  const x = (nanos) => left + ((Math.log10(Math.max(10 ** low, nanos)) - low) / (high - low)) * (width - left - right);
  const most = Math.max(10, ...histogram.buckets.map(([, , n]) => n));
  // A bucket of one is a small bar, not nothing.
  const y = (n) => height - bottom - ((Math.log10(n) + 0.3) / (Math.log10(most) + 0.3)) * (height - top - bottom);
  for (let n = 1; n <= most; n *= 10) {
    gridLine(context, colours, left, Math.round(y(n)) + 0.5, width - right, Math.round(y(n)) + 0.5);
    context.textAlign = "right";
    if (n === 1 || most < 1e4 || Math.log10(n) % 2 === 0) context.fillText(brief(n), left - 8, y(n));
  }
  for (let power = low; power <= high; power++) {
    const at = Math.round(x(10 ** power)) + 0.5;
    gridLine(context, colours, at, top, at, height - bottom);
    context.textAlign = power === high ? "right" : power === low ? "left" : "center";
    context.fillText(POWERS[power] || "", at, height - 10);
  }
  context.fillStyle = colours.text.run;
  for (const [from, to, n] of histogram.buckets) {
    const x0 = x(from), x1 = Math.max(x0 + 1.2, x(to) - 0.5);
    context.fillRect(x0, y(n), x1 - x0, height - bottom - y(n));
  }
  drawQuantiles(context, words, x, [left, width, top, height - bottom], colours);
}

/** The lines of the quantiles. Their names stand in two rows if they are close; their values stand above the chart. */
function drawQuantiles(context, words, x, [left, right, top, bottom], colours) {
  context.font = `11.5px ${FONT}`;
  context.textAlign = "center";
  const ends = [-1e9, -1e9];
  for (const [name, value] of words) {
    const at = Math.round(x(value)) + 0.5;
    const half = context.measureText(name).width / 2;
    const free = ends.findIndex((end) => at - half > end + 7);
    const row = free < 0 ? 1 : free;
    const centre = Math.min(right - half, free < 0 ? ends[1] + 7 + half : Math.max(left + half, at));
    ends[row] = centre + half;
    context.fillStyle = colours.text.text;
    context.fillText(name, centre, row === 0 ? 23 : 9);
    context.strokeStyle = colours.text.text;
    context.lineWidth = 1;
    context.setLineDash([2, 3]);
    context.beginPath();
    context.moveTo(at, top - 5);
    context.lineTo(at, bottom);
    context.stroke();
    context.setLineDash([]);
  }
}

/** The speed-up by the number of processors, both axes logarithmic. */
function drawCurve(canvas, profile, page) {
  const { colours } = page;
  const width = canvas.clientWidth, height = 330;
  const { context } = prepare(canvas, width, height);
  const [left, right, top, bottom] = [56, 18, 26, 42];
  const most = Math.max(2, profile.curve[profile.curve.length - 1][0]);
  const highest = Math.max(2, ...profile.curve.map((point) => Math.min(point[1] * 1.3, point[0])));
  const x = (p) => left + (Math.log2(p) / Math.log2(most)) * (width - left - right);
  const y = (s) => height - bottom - (Math.log2(Math.max(1, s)) / Math.log2(highest)) * (height - top - bottom);
  context.lineWidth = 1;
  for (let power = 0; 2 ** power <= most; power++) {
    const step = most > 64 && width < 560 ? 2 : 1;
    if (power % step !== 0) continue;
    gridLine(context, colours, x(2 ** power), top, x(2 ** power), height - bottom);
    context.textAlign = "center";
    context.fillText(count(2 ** power), x(2 ** power), height - bottom + 13);
  }
  for (let power = 0; 2 ** power <= highest; power++) {
    gridLine(context, colours, left, y(2 ** power), width - right, y(2 ** power));
    context.textAlign = "right";
    context.fillText(`${count(2 ** power)} ×`, left - 8, y(2 ** power));
  }
  context.textAlign = "center";
  context.fillText("processors", (left + width - right) / 2, height - 9);
  const path = (which, backwards) => (backwards ? [...profile.curve].reverse() : profile.curve)
    .forEach((point) => context.lineTo(x(point[0]), y(point[which])));
  context.save();
  context.beginPath();
  context.rect(left, top - 4, width - left - right, height - top - bottom + 8);
  context.clip();
  context.globalAlpha = 0.16;
  context.fillStyle = colours.text.accent;
  context.beginPath();
  path(1, false);
  path(2, true);
  context.fill();
  context.globalAlpha = 1;
  const lines = [["ideal", "quiet", [5, 4], null], ["bounds", "quiet", [], 1], ["", "quiet", [], 2], ["simulated", "accent", [], 3]];
  for (const [, colour, dash, which] of lines) {
    context.strokeStyle = colours.text[colour];
    context.lineWidth = which === 3 ? 2.6 : 1.2;
    context.setLineDash(dash);
    context.beginPath();
    if (which === null) {
      context.moveTo(x(1), y(1));
      context.lineTo(x(most), y(most));
    } else path(which, false);
    context.stroke();
  }
  context.restore();
  context.setLineDash([]);
  if (profile.measured) {
    const [threads, speedUp] = profile.measured;
    context.fillStyle = colours.text.arrow;
    context.beginPath();
    context.arc(x(threads), y(speedUp), 5, 0, 7);
    context.fill();
    context.textAlign = "left";
    context.fillText(`measured ${speedUp.toFixed(2)} ×`, x(threads) + 9, y(speedUp) + 12);
  }
  drawKey(context, lines.filter(([name]) => name).map(([name, colour, dash]) => [name, colour, dash]), width - right - 4, colours);
  const end = profile.curve[profile.curve.length - 1];
  canvas.setAttribute("aria-label", `Speed-up with 1 to ${count(most)} processors: simulated ${end[3].toFixed(1)} with ${count(end[0])}`);
}

function gridLine(context, colours, x0, y0, x1, y1) {
  context.strokeStyle = colours.text.grid;
  context.fillStyle = colours.text.quiet;
  context.beginPath();
  context.moveTo(x0, y0);
  context.lineTo(x1, y1);
  context.stroke();
}

/** The matrix of steals. Returns where its cells are. */
function drawSteals(page) {
  const { colours, lanes, steals } = page;
  const canvas = byId("steals");
  const sums = new Map();
  for (const [thief, victim, n] of steals) {
    sums.set(thief, (sums.get(thief) || 0) + n);
    sums.set(victim, (sums.get(victim) || 0) + n);
  }
  const rows = page.drawer.rows.flatMap((row) => (row.lane ? [row.lane] : row.lanes));
  const tracks = rows.map((lane) => lane.track).filter((track) => sums.has(track)).slice(0, MANY + 8);
  const room = Math.max(300, canvas.parentElement.clientWidth);
  const cell = Math.max(10, Math.min(54, Math.floor((Math.min(room, 1100) - 130) / Math.max(1, tracks.length))));
  const tall = Math.max(9, Math.min(cell, 30, Math.floor(640 / Math.max(1, tracks.length))));
  const [left, top] = [104, 40];
  const width = left + cell * tracks.length + 12, height = top + tall * tracks.length + 4;
  canvas.style.width = `${width}px`;
  const { context } = prepare(canvas, width, height);
  const place = new Map(tracks.map((track, at) => [track, at]));
  const most = Math.max(1, ...steals.map(([, , n]) => n));
  for (let thief = 0; thief < tracks.length; thief++) {
    for (let victim = 0; victim < tracks.length; victim++) {
      context.fillStyle = thief === victim ? colours.text.grid : colours.text.heat0;
      context.fillRect(left + victim * cell, top + thief * tall, cell - 1, tall - 1);
    }
  }
  context.font = `${tall < 16 ? 9 : 11.5}px ${FONT}`;
  for (const [thief, victim, n] of steals) {
    if (!place.has(thief) || !place.has(victim)) continue;
    // The root spreads small counts.
    const colour = mix(colours.pixel.heat1, colours.pixel.heat0, Math.sqrt(n / most));
    const x = left + place.get(victim) * cell, y = top + place.get(thief) * tall;
    context.fillStyle = textOf(colour);
    context.fillRect(x, y, cell - 1, tall - 1);
    context.fillStyle = inkOn(colour);
    context.textAlign = "center";
    if (cell >= 26) context.fillText(brief(n), x + cell / 2, y + tall / 2);
  }
  nameMatrix(context, tracks.map((track) => lanes[track]), { left, top, cell, tall }, colours);
  const thief = [...sums.keys()].length > 0 ? steals.reduce((a, b) => (b[2] > a[2] ? b : a)) : null;
  canvas.setAttribute("aria-label", thief
    ? `Matrix of steals. Most: ${laneName(lanes[thief[0]])} from ${laneName(lanes[thief[1]])}, ${count(thief[2])}` : "No steals");
  return { tracks, left, top, cell, tall };
}

function nameMatrix(context, rows, { left, top, cell, tall }, colours) {
  context.fillStyle = colours.text.quiet;
  const short = (lane) => (lane.facts.role === "worker" ? `${lane.facts.index}` : lane.facts.role === "guest" ? "g" : "s");
  const every = Math.ceil(17 / cell);
  rows.forEach((lane, at) => {
    context.textAlign = "center";
    if (at % every === 0) context.fillText(cell > 58 ? laneName(lane) : short(lane), left + at * cell + cell / 2, top - 9);
    context.textAlign = "right";
    if (at % Math.ceil(11 / tall) === 0) context.fillText(fitting(context, laneName(lane), left - 10), left - 8, top + at * tall + tall / 2);
  });
  context.textAlign = "left";
  context.font = `11.5px ${FONT}`;
  context.fillText("victim →", left, 9);
  context.textAlign = "right";
  context.fillText("thief ↓", left - 8, top - 9);
}
