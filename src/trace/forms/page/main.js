// The page as a whole: it decodes the data, draws, and answers mouse and keyboard.

class Page {
  constructor(facts, bytes) {
    this.facts = facts;
    this.lanes = decode(bytes, facts);
    this.colours = new Colours();
    this.view = new View(facts.taken);
    this.view.draw = () => this.draw();
    this.workers = new Group(this.lanes.filter((lane) => lane.facts.role === "worker"), facts.taken);
    this.depths = mergeDepths(this.lanes);
    this.steals = countSteals(this.lanes);
    this.marks = this.findMarks();
    // The sites come in the order of their time; spans have no colour of their own.
    this.ranks = [];
    let rank = 0;
    facts.sites.forEach((site, at) => { this.ranks[at] = site.kind === "span" || !(site.count > 0) ? SITE_COLOURS : rank++; });
    this.shares = [0, 0, 0, 0, 0];
    this.drawer = new Lanes(this);
    this.chosen = new Chosen(this);
    this.hover = null;
    this.drag = null;
  }

  findMarks() {
    const marks = [];
    for (const lane of this.lanes) {
      const { instants } = lane;
      for (let at = 0; at < instants.count; at++) {
        if (instants.kind[at] === MARK) marks.push({ time: instants.time[at], site: instants.site[at], lane });
      }
    }
    return marks.sort((a, b) => a.time - b.time);
  }

  colourOfSite(site) {
    const rank = this.ranks[site];
    return rank < SITE_COLOURS ? this.colours.pixel[`site${rank}`] : this.colours.pixel["site-other"];
  }

  nameOfSite(site) {
    const facts = this.facts.sites[site];
    return facts ? facts.short : "(not known)";
  }

  nameOfSlice(lane, slice) {
    const { kind, site } = lane.slices;
    if (kind[slice] >= FIRST_WAIT && kind[slice] !== SPAN) return KINDS[kind[slice]];
    return this.facts.sites[site[slice]] ? this.nameOfSite(site[slice]) : KINDS[kind[slice]];
  }

  /** All that depends on the span of time in view. */
  draw() {
    const width = byId("timeline").clientWidth;
    drawAxis(this, width);
    this.drawer.draw(width);
    drawUtilisation(this, width);
    drawDepth(this, width);
    showShares(this);
    this.drawOverlay();
  }

  /** All that depends on colours or width only. */
  drawRest() {
    drawHistogram(byId("waits"), this.facts.waits, this);
    drawHistogram(byId("runs"), this.facts.runs, this);
    if (this.facts.profile && this.facts.profile.curve.length > 0) drawCurve(byId("curve"), this.facts.profile, this);
    this.matrix = drawSteals(this);
  }

  /** The chosen slice, the selection and the cursor, above the charts. */
  drawOverlay() {
    const timeline = byId("timeline");
    const { context } = prepare(byId("overlay"), timeline.clientWidth, timeline.clientHeight);
    byId("overlay").style.height = "100%";
    const { selection } = this.view;
    const { colours, drawer } = this;
    const box = byId("lanes-box");
    const offset = box.offsetTop - box.scrollTop;
    context.save();
    context.beginPath();
    context.rect(GUTTER - 2, 0, drawer.plot.width + 4, 1e5);
    context.clip();
    if (selection) {
      const left = drawer.x(selection.from), right = drawer.x(selection.to);
      context.globalAlpha = 0.14;
      context.fillStyle = colours.text.accent;
      context.fillRect(left, AXIS, right - left, timeline.clientHeight);
      context.globalAlpha = 1;
      context.fillRect(left - 0.75, AXIS, 1.5, timeline.clientHeight);
      context.fillRect(right - 0.75, AXIS, 1.5, timeline.clientHeight);
    }
    if (this.hover && !this.drag) {
      context.fillStyle = colours.text.quiet;
      context.globalAlpha = 0.6;
      context.fillRect(this.hover.x - 0.5, AXIS, 1, timeline.clientHeight);
      context.globalAlpha = 1;
    }
    context.restore();
    context.save();
    context.beginPath();
    context.rect(0, box.offsetTop, timeline.clientWidth, box.clientHeight);
    context.clip();
    this.chosen.draw(context, offset, drawer);
    context.restore();
    byId("zoom-selection").disabled = !selection && !this.chosen.lane;
  }

  /** Marks a site: the others become pale. The same site again ends that. */
  highlight(site) {
    this.drawer.highlight = this.drawer.highlight === site ? -1 : site;
    showLegend(this);
    this.table.fill();
    this.view.changed();
  }

  choose(lane, slice) {
    this.view.selection = null;
    this.chosen.choose(lane, slice);
    this.view.changed();
  }

  clear() {
    this.view.selection = null;
    this.chosen.clear();
    if (this.drawer.highlight >= 0) this.highlight(this.drawer.highlight);
    this.view.changed();
  }

  select(a, b) {
    this.chosen.clear();
    this.view.selection = { from: Math.max(0, Math.min(a, b)), to: Math.min(this.facts.taken, Math.max(a, b)) };
    this.view.changed();
  }

  /** Shows and chooses what is at the other end of an arrow. */
  goTo({ lane, slice, time }) {
    const band = this.drawer.rows.find((row) => row.lanes && row.lanes.includes(lane));
    if (band) band.open = true;
    const target = slice !== undefined && slice >= 0 ? slice : sliceAt(lane, time);
    const { view } = this;
    if (time < view.from || time > view.to) view.show(time - (view.to - view.from) / 2, time + (view.to - view.from) / 2);
    if (target >= 0) this.choose(lane, target);
    else view.changed();
  }

  zoomToSelection() {
    const { view, chosen } = this;
    if (view.selection) view.show(view.selection.from, view.selection.to);
    else if (chosen.lane) {
      const { begin, end } = chosen.lane.slices;
      const margin = (end[chosen.slice] - begin[chosen.slice]) * 0.6 + 10;
      view.show(begin[chosen.slice] - margin, end[chosen.slice] + margin);
    }
  }

  /** Chooses the next or previous slice of the same level. */
  step(by) {
    const { lane, slice } = this.chosen;
    if (!lane) return;
    const row = lane.levels[lane.slices.level[slice]];
    let place = lowerBound(row.slices, slice) + by;
    if (place < 0 || place >= row.count) return;
    const next = row.slices[place];
    this.choose(lane, next);
    const { view } = this;
    const middle = (lane.slices.begin[next] + lane.slices.end[next]) / 2;
    if (middle < view.from || middle > view.to) view.show(middle - (view.to - view.from) / 2, middle + (view.to - view.from) / 2);
  }
}

/** The point of a mouse event: in the time line, and in the lanes. */
function pointOf(event) {
  const outer = byId("timeline").getBoundingClientRect();
  const inner = byId("lanes").getBoundingClientRect();
  const box = byId("lanes-box").getBoundingClientRect();
  return {
    x: event.clientX - outer.left, y: event.clientY - outer.top, laneY: event.clientY - inner.top,
    overLanes: event.clientY >= box.top && event.clientY <= box.bottom,
  };
}

function listenToMouse(page) {
  const timeline = byId("timeline");
  const { view, drawer } = page;
  timeline.addEventListener("wheel", (event) => {
    const point = pointOf(event);
    if (point.x < GUTTER) return;
    event.preventDefault();
    const scale = event.deltaMode === 1 ? 16 : 1;
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      view.move((scale * (event.deltaX || event.deltaY)) / drawer.plot.width);
    } else view.zoom(Math.exp(Math.max(-1, Math.min(1, scale * event.deltaY * 0.002))), drawer.time(point.x));
  }, { passive: false });
  timeline.addEventListener("pointerdown", (event) => {
    const point = pointOf(event);
    if (event.button > 1) return;
    page.drag = { ...point, pan: event.shiftKey || event.button === 1, from: view.from, to: view.to, moved: false };
    timeline.setPointerCapture(event.pointerId);
    if (event.button === 1) event.preventDefault();
  });
  timeline.addEventListener("pointermove", (event) => {
    const point = pointOf(event);
    const { drag } = page;
    page.hover = point.x >= GUTTER && point.x <= GUTTER + drawer.plot.width ? point : null;
    if (drag && Math.abs(point.x - drag.x) > 3) drag.moved = true;
    if (drag && drag.moved && drag.pan) {
      const by = ((drag.x - point.x) / drawer.plot.width) * (drag.to - drag.from);
      const limited = Math.min(Math.max(by, -drag.from), view.taken - drag.to);
      view.show(drag.from + limited, drag.to + limited);
    } else if (drag && drag.moved && drag.x >= GUTTER) page.select(drawer.time(drag.x), drawer.time(point.x));
    else page.drawOverlay();
    showTooltip(page, point);
  });
  timeline.addEventListener("pointerup", (event) => {
    const { drag } = page;
    page.drag = null;
    if (!drag) return;
    if (drag.moved) {
      if (view.selection) describeSelection(page);
      return;
    }
    clickAt(page, pointOf(event));
  });
  timeline.addEventListener("pointercancel", () => { page.drag = null; });
  timeline.addEventListener("pointerleave", () => {
    page.hover = null;
    byId("tooltip").hidden = true;
    page.drawOverlay();
  });
  timeline.addEventListener("dblclick", () => page.zoomToSelection());
  byId("lanes-box").addEventListener("scroll", () => page.drawOverlay());
}

function clickAt(page, point) {
  if (!point.overLanes) return;
  const found = page.drawer.at(point.x, point.laneY);
  if (!found) return;
  if (found.place.row.band) {
    found.place.row.open = !found.place.row.open;
    page.view.changed();
  } else if (found.lane && found.slice >= 0) page.choose(found.lane, found.slice);
  else if (page.chosen.lane || page.view.selection) page.clear();
}

/** What is under the mouse, in words. */
function showTooltip(page, point) {
  const tooltip = byId("tooltip");
  const lines = page.drag && page.drag.moved ? [] : tooltipLines(page, point);
  tooltip.hidden = lines.length === 0;
  if (tooltip.hidden) return;
  tooltip.replaceChildren(...lines.map((line, at) => element("div", at > 0 ? { class: "quiet" } : {}, at === 0 ? element("b", {}, line) : line)));
  const width = byId("timeline").clientWidth;
  const left = point.x + 16 + tooltip.offsetWidth > width ? Math.max(0, point.x - tooltip.offsetWidth - 14) : point.x + 16;
  tooltip.style.left = `${left}px`;
  tooltip.style.top = `${point.y + 18}px`;
}

function tooltipLines(page, point) {
  const { drawer } = page;
  if (point.x < GUTTER || point.x > GUTTER + drawer.plot.width) return [];
  const mark = page.marks.find((candidate) => Math.abs(drawer.x(candidate.time) - point.x) < 4);
  if (mark && point.y < AXIS) return [page.nameOfSite(mark.site), `mark at ${duration(mark.time)}`];
  if (!point.overLanes) return [`${duration(drawer.time(point.x))}`];
  const found = drawer.at(point.x, point.laneY);
  if (!found) return [];
  if (found.place.row.band) return [found.place.row.name, `${found.place.row.lanes.length} threads: click to ${found.place.row.open ? "close" : "open"}`];
  const { lane, slice } = found;
  if (!lane) return [];
  if (slice < 0) return [laneName(lane), `at ${duration(drawer.time(point.x))}: no slice`];
  const { begin, end, kind, state, victim, extra } = lane.slices;
  const how = kind[slice] < FIRST_WAIT ? ` · ${KINDS[kind[slice]]}${state[slice] === HELP ? ", helping" : ""}` : "";
  const ended = extra[slice] & 3 ? `, ${OUTCOMES[extra[slice] & 3]}` : "";
  const runs = lane.slices.runs.get(slice);
  return [
    `${page.nameOfSlice(lane, slice)}${runs ? ` × ${count(runs)}` : ""}`, `${duration(end[slice] - begin[slice])} from ${duration(begin[slice])}${ended}`,
    `${laneName(lane)}${how}${victim[slice] >= 0 && page.lanes[victim[slice]] ? `, stolen from ${laneName(page.lanes[victim[slice]])}` : ""}`,
  ];
}

function listenToKeys(page) {
  const { view } = page;
  const actions = {
    ArrowLeft: () => view.move(-0.15), a: () => view.move(-0.15), ArrowRight: () => view.move(0.15), d: () => view.move(0.15),
    ArrowUp: () => view.zoom(0.7), w: () => view.zoom(0.7), "+": () => view.zoom(0.7), "=": () => view.zoom(0.7),
    ArrowDown: () => view.zoom(1.4), s: () => view.zoom(1.4), "-": () => view.zoom(1.4), 0: () => view.show(0, view.taken),
    Home: () => view.move(-1e9), End: () => view.move(1e9), "[": () => page.step(-1), "]": () => page.step(1),
    Enter: () => page.zoomToSelection(), Escape: () => page.clear(),
  };
  document.addEventListener("keydown", (event) => {
    const { target } = event;
    if (event.ctrlKey || event.altKey || event.metaKey || target.closest("input, textarea, pre, .scroll")) return;
    // Keys that scroll the page or press buttons are the time line's only while it has the focus.
    const inTimeline = target.closest("#timeline") !== null;
    const special = event.key.startsWith("Arrow") || ["Home", "End", "Enter"].includes(event.key);
    const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action || (special && !inTimeline)) return;
    event.preventDefault();
    action();
  });
  byId("zoom-in").addEventListener("click", () => view.zoom(0.5));
  byId("zoom-out").addEventListener("click", () => view.zoom(2));
  byId("zoom-fit").addEventListener("click", () => view.show(0, view.taken));
  byId("zoom-selection").addEventListener("click", () => page.zoomToSelection());
}

/** Light, dark, or as the system has it. A file may have no storage: then the choice lasts as long as the page. */
class Theme {
  constructor(changed) {
    this.changed = changed;
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    try {
      this.choice = localStorage.getItem("heist-theme") || "auto";
    } catch {
      this.choice = "auto";
    }
    this.dark.addEventListener("change", () => this.apply());
    byId("theme").addEventListener("click", () => {
      this.choice = { auto: "light", light: "dark", dark: "auto" }[this.choice] || "auto";
      try {
        localStorage.setItem("heist-theme", this.choice);
      } catch {
        // The choice lasts as long as the page.
      }
      this.apply();
    });
    this.apply();
  }

  apply() {
    const dark = this.choice === "dark" || (this.choice !== "light" && this.dark.matches);
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    byId("theme").querySelector("span").textContent = this.choice;
    byId("theme").setAttribute("aria-label", `Colours: ${this.choice === "auto" ? "as the system has them" : this.choice}`);
    this.changed();
  }
}

/** Draws everything. The page tells when it has done so, for those who measure it. */
function start() {
  let page = null;
  const theme = new Theme(() => {
    if (!page) return;
    page.colours.read();
    showLegend(page);
    page.table.fill();
    page.drawRest();
    page.view.changed();
  });
  page = new Page(JSON.parse(byId("facts").textContent), bytesOf(byId("events").textContent));
  byId("events").textContent = "";
  page.table = new SiteTable(page);
  showHead(page);
  showLegend(page);
  showProfile(page);
  showRaw(page);
  page.draw();
  page.drawRest();
  listenToMouse(page);
  listenToKeys(page);
  let width = byId("timeline").clientWidth;
  new ResizeObserver(() => {
    if (byId("timeline").clientWidth === width) return;
    width = byId("timeline").clientWidth;
    page.drawRest();
    page.view.changed();
  }).observe(byId("timeline"));
  document.documentElement.dataset.drawn = `${Math.round(performance.now())}`;
  window.heist = { page, theme };
}

start();
