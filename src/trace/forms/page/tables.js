// The parts of the page that are text: figures, warnings, legend, call sites, work and span, raw figures.

/** Text with `names` between backticks as code. */
function withCode(text) {
  return text.split("`").map((part, at) => (at % 2 === 1 ? element("code", {}, part) : part));
}

function showHead(page) {
  const { facts } = page;
  byId("program").textContent = facts.program;
  document.title = `${facts.program} · heist trace`;
  const started = new Date(facts.started);
  byId("facts-line").textContent = `pool ${facts.pool} · ${count(facts.threads)} ${facts.threads === 1 ? "worker" : "workers"} · `
    + `${duration(facts.taken)} · ${started.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" })}`;
  const { totals } = facts;
  const ran = facts.tracks.reduce((sum, track) => sum + track.times[RUN] + track.times[HELP], 0);
  const profile = facts.profile;
  const outcomes = [[totals.failed, "failed"], [totals.cancelled, "cancelled"]].filter(([n]) => n > 0);
  const figures = [
    ["utilisation", "Utilisation", perCent(totals.utilisation, 1), "of the workers' time was not spent looking for work", totals.utilisation],
    ["tasks", "Tasks", count(totals.submitted),
      [`${count(totals.completed)} completed`, ...outcomes.map(([n, word]) => `${count(n)} ${word}`)].join(", "), totals.submitted],
    ["steals", "Steals", count(totals.steals),
      `${count(totals.parks)} parks, ${count(totals.wakeups)} wake-ups`, totals.steals],
    ["lost", "Lost events", count(totals.lost), totals.lost > 0
      ? `of ${count(totals.written)}: the first ${duration(totals.complete_from)} are not complete`
      : `all ${count(totals.written)} recorded`, totals.lost],
    profile
      ? ["parallelism", "Parallelism", range(profile.parallelism), "work divided by span", profile.parallelism[0]]
      : ["parallelism", "Threads at work", (facts.taken > 0 ? ran / facts.taken : 0).toFixed(2), "on average, guests included", ran],
    profile
      ? ["gain", "More cores would help", profile.enough > facts.threads ? `up to ${count(profile.enough)}` : "no",
        "with so many the simulation below reaches nine tenths of its highest speed-up", profile.enough || 0]
      : ["gain", "One thread alone", perCent(totals.serial, facts.taken), totals.stretch_to > totals.stretch_from
        ? `of the time; the longest stretch is ${duration(totals.stretch_to - totals.stretch_from)}` : "of the time", totals.serial],
  ];
  byId("figures").replaceChildren(...figures.map(([id, name, value, note, exact]) =>
    element("dl", { class: `figure${id === "lost" && exact > 0 ? " bad" : ""}`, "data-figure": id, "data-value": exact },
      element("dt", {}, name), element("dd", { class: "value" }, value), element("dd", { class: "note" }, note))));
  byId("warnings").replaceChildren(...facts.warnings.map(({ urgent, text }) =>
    element("li", urgent ? { class: "urgent" } : {},
      element("span", { class: "sign", role: "img", "aria-label": urgent ? "Warning" : "Note" }, urgent ? "▲" : "●"),
      element("span", {}, ...withCode(text[0].toUpperCase() + text.slice(1) + ".")))));
}

function range([low, high]) {
  const text = (number) => (number < 10 ? number.toFixed(2) : number < 100 ? number.toFixed(1) : count(number));
  return text(low) === text(high) ? text(low) : `${text(low)} – ${text(high)}`;
}

/** The states with their shares in view, and the sites with the longest runs. */
function showLegend(page) {
  const { colours, facts } = page;
  const swatch = (colour) => element("i", { class: "swatch", style: `background:${colour}`, "aria-hidden": "true" });
  const chips = [element("span", { class: "group" }, "Workers")];
  STATE_WORDS.forEach((word, state) => {
    chips.push(element("span", { class: "chip" }, swatch(colours.text[STATE_COLOURS[state]]),
      element("span", { "data-share": state }, word)));
  });
  chips.push(element("span", { class: "group" }, "Runs of"));
  const ranked = facts.sites.map((site, at) => [site, at]).filter(([site]) => site.count > 0 && site.kind !== "span");
  for (const [site, at] of ranked.slice(0, SITE_COLOURS)) {
    chips.push(element("button", {
      type: "button", class: "chip", "data-site": at, title: site.name, "aria-pressed": `${page.drawer.highlight === at}`,
      click: () => page.highlight(at),
    }, swatch(textOf(page.colourOfSite(at))), element("span", {}, site.short)));
  }
  if (ranked.length > SITE_COLOURS) {
    chips.push(element("span", { class: "chip" }, swatch(colours.text["site-other"]), element("span", {}, `${count(ranked.length - SITE_COLOURS)} others`)));
  }
  byId("legend").replaceChildren(...chips);
}

function showShares(page) {
  for (const label of document.querySelectorAll("[data-share]")) {
    const state = +label.dataset.share;
    label.textContent = `${STATE_WORDS[state]} ${perCent(page.shares[state], 1)}`;
  }
}

const COLUMNS = [
  ["name", "Site", (site) => site.short], ["count", "Runs", (site) => count(site.count)], ["total", "Total", (site) => duration(site.total)],
  ["own", "Own", (site) => duration(site.own)], ["mean", "Mean", (site) => duration(site.mean)], ["p99", "99 %", (site) => duration(site.p99)],
  ["max", "Max", (site) => duration(site.max)], ["stolen", "Stolen", (site) => perCent(site.stolen, site.count)],
  ["panicked", "Panics", (site) => count(site.panicked)], ["cancelled", "Cancelled", (site) => count(site.cancelled)],
];
const EXPLAINED = {
  total: "from the beginning of a run to its end; of runs inside each other, the outer one", own: "without what ran, waited or slept inside",
  stolen: "the share of the runs that another thread had queued for itself",
};
const FEW = 40;

/** The table of the sites, which sorts and filters. */
class SiteTable {
  constructor(page) {
    this.page = page;
    this.sorted = "total";
    this.descending = true;
    this.all = false;
    const heads = COLUMNS.map(([key, title]) => element("th", { scope: "col", class: key === "name" ? "name" : null, "data-key": key },
      element("button", { type: "button", title: EXPLAINED[key] || null, click: () => this.sort(key) }, title)));
    byId("sites").tHead.replaceChildren(element("tr", {}, ...heads));
    byId("sites-filter").addEventListener("input", () => this.fill());
    this.fill();
  }

  sort(key) {
    this.descending = this.sorted === key ? !this.descending : key !== "name";
    this.sorted = key;
    this.fill();
  }

  rows() {
    const wanted = byId("sites-filter").value.toLowerCase();
    const key = this.sorted;
    const value = (site) => (key === "name" ? site.short : key === "stolen" ? site.stolen / Math.max(1, site.count) : site[key]);
    const sign = this.descending ? -1 : 1;
    return this.page.facts.sites.map((site, at) => [site, at])
      .filter(([site]) => site.count !== undefined && `${site.name} ${site.place || ""} ${site.kind}`.toLowerCase().includes(wanted))
      .sort(([a], [b]) => (value(a) < value(b) ? -sign : value(a) > value(b) ? sign : 0));
  }

  fill() {
    const rows = this.rows();
    const shown = this.all ? rows : rows.slice(0, FEW);
    const most = Math.max(1, ...rows.map(([site]) => site.total));
    byId("sites").tBodies[0].replaceChildren(...shown.map(([site, at]) => this.row(site, at, most)));
    for (const head of byId("sites").tHead.rows[0].cells) {
      const sorted = head.dataset.key === this.sorted;
      if (sorted) head.setAttribute("aria-sort", this.descending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
      const title = COLUMNS.find(([key]) => key === head.dataset.key)[1];
      head.firstChild.textContent = sorted ? `${title} ${this.descending ? "▾" : "▴"}` : title;
    }
    const more = byId("sites-more");
    more.replaceChildren();
    if (rows.length === 0) more.textContent = "No site matches.";
    if (rows.length > shown.length) {
      more.append(element("button", { type: "button", class: "button", click: () => { this.all = true; this.fill(); } }, `Show all ${count(rows.length)}`));
    }
  }

  row(site, at, most) {
    const chosen = this.page.drawer.highlight === at;
    const swatch = element("i", { class: "swatch", style: `background:${textOf(this.page.colourOfSite(at))}`, "aria-hidden": "true" });
    const place = `${site.kind}${site.name === site.short ? "" : ` · ${site.name}`}${site.place ? ` · ${site.place}` : ""}`;
    const name = element("td", { class: "name" },
      element("button", { type: "button", class: "site-button", "aria-pressed": `${chosen}`, click: () => this.page.highlight(at) },
        swatch, element("span", {}, element("b", {}, site.short), element("span", { class: "place" }, place))));
    const cells = COLUMNS.slice(1).map(([key, , text]) => {
      const cell = element("td", { class: site[key] === 0 ? "zero" : null, "data-value": site[key] }, text(site));
      if (key === "total") cell.append(element("i", { class: "bar", style: `width:${Math.max(1, (54 * site.total) / most)}px`, "aria-hidden": "true" }));
      return cell;
    });
    return element("tr", { class: chosen ? "chosen" : null, "data-site": at }, name, ...cells);
  }
}

function showProfile(page) {
  const { profile } = page.facts;
  byId("profile").hidden = !profile;
  if (!profile) return;
  const list = element("dl", { class: "pairs" });
  const pairs = [
    ["work", `${duration(profile.work)}: all parts one after the other`],
    ["span", `${range2(profile.span)}: the longest chain of parts that wait for each other`],
    ["span with steals", duration(profile.burdened)],
    ["parallelism", range(profile.parallelism)],
  ];
  for (const [name, text] of pairs) list.append(element("dt", {}, name), element("dd", {}, text));
  const lists = [["On the critical path", profile.path.map(([name, time]) => `${name}: ${duration(time)}, ${perCent(time, profile.span[1])}`)],
    ["If a site took half the time, the whole would be faster by", profile.what_if.map(([name, speedUp]) => `${name}: ${speedUp.toFixed(2)} ×`)]];
  const parts = lists.filter(([, items]) => items.length > 0).flatMap(([title, items]) => [
    element("h3", { class: "chart-title" }, title),
    element("ol", { style: "margin:0;padding-left:22px" }, ...items.slice(0, 8).map((text) => element("li", {}, text)))]);
  byId("profile-facts").replaceChildren(list, ...parts);
}

const range2 = ([low, high]) => (duration(low) === duration(high) ? duration(low) : `${duration(low)} – ${duration(high)}`);

function showRaw(page) {
  const { facts } = page;
  for (const name of ["waits", "runs"]) {
    const { count: n, p50, p90, p99, max, mean } = facts[name];
    const parts = [["p50", p50], ["p90", p90], ["p99", p99], ["max", max], ["mean", mean]].map(([word, value]) => `${word} ${duration(value)}`);
    byId(`${name}-line`).textContent = n === 0 ? "" : `${parts.join(" · ")} · of ${count(n)} recorded`;
  }
  byId("raw-summary").textContent = facts.summary;
  byId("raw-stats").textContent = facts.stats;
  const heads = ["Thread", "Number", "Runs", "Steals", "Parks", ...STATE_WORDS.map((word) => word[0].toUpperCase() + word.slice(1)), "Kept", "Older", "Lost", "Written"];
  const table = byId("threads");
  table.tHead.replaceChildren(element("tr", {}, ...heads.map((head, at) => element("th", { scope: "col", class: at === 0 ? "name" : null }, head))));
  table.tBodies[0].replaceChildren(...page.lanes.map((lane) => {
    const { name, thread, runs, steals, parks, times, kept, older, lost, written } = lane.facts;
    const cells = [thread || "", count(runs), count(steals), count(parks), ...times.map(duration), count(kept), count(older), count(lost), count(written)];
    return element("tr", {}, element("td", { class: "name" }, `${laneName(lane)} (${name})`), ...cells.map((text) => element("td", {}, `${text}`)));
  }));
  const recorded = page.steals.reduce((sum, [, , n]) => sum + n, 0);
  byId("steals-line").textContent = recorded === 0 && facts.totals.steals === 0 ? "Nobody stole anything."
    : `${count(recorded)} of ${count(facts.totals.steals)} steals are in the record.`;
  byId("steals").hidden = recorded === 0;
}

/** The states and sites of a span of time, below the lanes. */
function describeSelection(page) {
  const { from, to } = page.view.selection;
  const times = [0, 0, 0, 0, 0];
  const sites = new Map();
  let runs = 0;
  for (const lane of page.lanes) {
    const { slices } = lane;
    eachSegment(lane, from, to, (state, slice, a, b) => {
      times[state] += b - a;
      if (state <= HELP && slice >= 0) sites.set(slices.site[slice], (sites.get(slices.site[slice]) || 0) + b - a);
    });
    for (let at = lowerBound(slices.begin, from); at < slices.count && slices.begin[at] < to; at++) {
      if (slices.kind[at] <= BATCH) runs += slices.runs.get(at) || 1;
    }
  }
  const all = times.reduce((a, b) => a + b, 0);
  const list = element("dl", { class: "pairs" });
  const pairs = [["from", duration(from)], ["length", duration(to - from)], ["runs begun", count(runs)],
    ...STATE_WORDS.map((word, state) => [word, `${duration(times[state])}, ${perCent(times[state], all)}`])];
  for (const [name, text] of pairs) list.append(element("dt", {}, name), element("dd", {}, text));
  const top = [...sites].sort((a, b) => b[1] - a[1]).slice(0, 9);
  const links = element("ul", { class: "links" }, ...top.map(([site, time]) => element("li", {},
    element("button", { type: "button", click: () => page.highlight(site) }, `${page.nameOfSite(site)}: ${duration(time)}, ${perCent(time, times[RUN] + times[HELP])}`))));
  byId("details").replaceChildren(element("h3", {}, "Selected time"), element("div", { class: "columns" }, list, links));
}
