//! A trace as one HTML page that needs nothing else: no other file, no network.
//!
//! The page holds two blocks: the facts as JSON, which this file writes, and the events as base64, which `packed` writes.

use super::analysis::{Analysis, STATES};
use super::curve::ProfileData;
use super::histogram::Histogram;
use super::json::Json;
use super::names;
use super::packed::{base64, pack};
use super::summary::{Level, Summary, Totals, state_name, warnings};
use crate::trace::model::{Trace, TrackRole};
use std::time::UNIX_EPOCH;

const TEMPLATE: &str = include_str!("page/template.html");
const STYLE: &str = include_str!("page/style.css");
/// The parts of the script, in order.
const SCRIPT: [&str; 7] = [
    include_str!("page/data.js"),
    include_str!("page/view.js"),
    include_str!("page/lanes.js"),
    include_str!("page/arrows.js"),
    include_str!("page/charts.js"),
    include_str!("page/tables.js"),
    include_str!("page/main.js"),
];

/// The number of sites, and of characters in their names, that a page names. The rest share one row.
const SITE_LIMIT: usize = 1_000;
const NAMES_LIMIT: usize = 60_000;
/// The number of characters of one name.
const NAME_LIMIT: usize = 240;

/// The page.
pub(super) fn page(trace: &Trace, profile: Option<&ProfileData>) -> String {
    let found = Analysis::of(trace);
    let sites = Sites::of(trace, &found);
    let bytes = pack(trace, &|site| sites.number(site));
    let facts = facts(trace, profile, &found, &sites);
    let script = SCRIPT.concat();
    let title = names::shown(&trace.program, NAME_LIMIT);
    let parts = [
        ("title", escape(&title)),
        ("style", STYLE.to_owned()),
        ("facts", facts),
        ("events", base64(&bytes)),
        ("script", script),
    ];
    fill(TEMPLATE, &parts)
}

/// The template with `{{name}}` replaced by the part of that name. What is in the parts is not looked at.
fn fill(template: &str, parts: &[(&str, String)]) -> String {
    let mut page = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        page.push_str(before);
        let (name, after) = after.split_once("}}").unwrap_or((after, ""));
        let part = parts.iter().find(|part| part.0 == name);
        page.push_str(part.map_or("", |part| &part.1));
        rest = after;
    }
    page.push_str(rest);
    page
}

/// The text with the characters escaped that mean something in HTML.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(character),
        }
    }
    escaped
}

/// The sites that the page names, those with the longest runs first.
pub(super) struct Sites {
    /// The page's sites as indices of the trace's.
    pub(super) named: Vec<u32>,
    /// For each of the trace's sites its number in the page.
    numbers: Vec<u32>,
}

impl Sites {
    pub(super) fn of(trace: &Trace, found: &Analysis) -> Self {
        let mut named: Vec<u32> = (0..trace.sites.len() as u32).collect();
        named.sort_by_key(|&site| {
            let row = &found.rows[site as usize];
            (std::cmp::Reverse((row.total, row.lengths.count)), site)
        });
        let mut characters = 0;
        let fits = |&&site: &&u32| {
            characters += trace.sites[site as usize].name.len().min(NAME_LIMIT) + 40;
            characters <= NAMES_LIMIT + 40 * SITE_LIMIT
        };
        let count = named.iter().take(SITE_LIMIT).take_while(fits).count();
        named.truncate(count);
        let mut numbers = vec![count as u32; trace.sites.len()];
        for (number, &site) in named.iter().enumerate() {
            numbers[site as usize] = number as u32;
        }
        Sites { named, numbers }
    }

    /// The number of a site in the page. One after the last is for all that have no name there.
    pub(super) fn number(&self, site: u32) -> u32 {
        let number = self.numbers.get(site as usize);
        number.copied().unwrap_or(self.named.len() as u32)
    }
}

fn facts(trace: &Trace, profile: Option<&ProfileData>, found: &Analysis, sites: &Sites) -> String {
    let totals = Totals::of(trace);
    let started = trace.started.duration_since(UNIX_EPOCH);
    let mut json = Json::default();
    json.open('{');
    let program = names::shown(&trace.program, NAME_LIMIT);
    json.key("program").string(&program);
    let pool = names::shown(&trace.pool, NAME_LIMIT);
    json.key("pool").string(&pool);
    json.key("threads").number(trace.num_threads);
    json.key("started")
        .number(started.map_or(0, |time| time.as_millis()));
    json.key("taken").number(trace.taken);
    json.key("resolution").number(trace.resolution);
    json.key("monotonic").number(trace.monotonic);
    write_totals(&mut json, trace, found, &totals);
    json.key("warnings").open('[');
    for warning in warnings(trace, found, &totals) {
        json.open('{').key("urgent");
        json.number(warning.level == Level::Warning);
        json.key("text").string(&warning.text).close('}');
    }
    json.close(']');
    write_tracks(&mut json, trace, found);
    write_sites(&mut json, trace, found, sites);
    for (name, histogram) in [("waits", &found.waits), ("runs", &found.runs)] {
        json.key(name);
        write_histogram(&mut json, histogram);
    }
    json.key("stats").string(&trace.stats.to_string());
    let summary = Summary {
        trace,
        found,
        totals,
    };
    json.key("summary").string(&summary.to_string());
    if let Some(profile) = profile {
        write_profile(&mut json, profile);
    }
    json.close('}');
    json.finish()
}

fn write_totals(json: &mut Json, trace: &Trace, found: &Analysis, totals: &Totals) {
    json.key("totals").open('{');
    let numbers = [
        ("submitted", totals.submitted),
        ("completed", totals.completed),
        ("failed", totals.failed),
        ("timed_out", totals.timed_out),
        ("cancelled", totals.cancelled),
        ("lost_panics", totals.lost_panics),
        ("steals", totals.steals),
        ("parks", totals.parks),
        ("wakeups", totals.wakeups),
        ("executed", totals.executed),
        ("busy", totals.busy),
        ("written", totals.written),
        ("lost", totals.lost),
        ("serial", found.serial),
        ("stretch_from", found.stretch.0),
        ("stretch_to", found.stretch.1),
        ("excess", found.excess),
        ("complete_from", found.complete_from),
    ];
    for (name, number) in numbers {
        json.key(name).number(number);
    }
    json.key("utilisation").float(totals.utilisation(trace));
    json.close('}');
}

fn write_tracks(json: &mut Json, trace: &Trace, found: &Analysis) {
    json.key("states").open('[');
    for state in STATES {
        json.string(state_name(state));
    }
    json.close(']').key("tracks").open('[');
    for (track, totals) in trace.tracks.iter().zip(&found.tracks) {
        let (role, index) = match track.role {
            TrackRole::Worker(index) => ("worker", index),
            TrackRole::Spare => ("spare", 0),
            TrackRole::Guest => ("guest", 0),
        };
        json.open('{').key("role").string(role);
        json.key("index").number(index);
        json.key("name").string(&names::shown(&track.name, 80));
        json.key("thread").number(track.thread_id);
        json.key("written").number(track.written);
        json.key("lost").number(track.lost);
        json.key("older").number(track.older);
        json.key("kept").number(track.events.len());
        json.key("runs").number(totals.runs);
        json.key("steals").number(totals.steals);
        json.key("parks").number(totals.parks);
        json.key("times").open('[');
        for time in totals.times {
            json.number(time);
        }
        json.close(']').close('}');
    }
    json.close(']');
}

fn write_sites(json: &mut Json, trace: &Trace, found: &Analysis, sites: &Sites) {
    json.key("sites").open('[');
    for &index in &sites.named {
        let site = &trace.sites[index as usize];
        let row = &found.rows[index as usize];
        json.open('{').key("name");
        json.string(&names::shown(&site.name, NAME_LIMIT));
        json.key("short").string(&names::short(&site.name, 60));
        json.key("kind").string(names::of_site_kind(site.kind));
        if let Some(place) = names::place(site) {
            json.key("place").string(&place);
        }
        if row.lengths.count + row.cancelled > 0 {
            let numbers = [
                ("count", row.lengths.count),
                ("total", row.total),
                ("own", row.own),
                ("mean", row.lengths.mean()),
                ("p99", row.lengths.quantile(0.99)),
                ("max", row.lengths.max),
                ("stolen", row.stolen),
                ("panicked", row.panicked),
                ("cancelled", row.cancelled),
            ];
            for (name, number) in numbers {
                json.key(name).number(number);
            }
        }
        json.close('}');
    }
    json.close(']');
}

fn write_histogram(json: &mut Json, histogram: &Histogram) {
    json.open('{').key("count").number(histogram.count);
    json.key("max").number(histogram.max);
    json.key("mean").number(histogram.mean());
    for (name, q) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)] {
        json.key(name).number(histogram.quantile(q));
    }
    json.key("buckets").open('[');
    for (from, to, count) in histogram.filled() {
        json.open('[').number(from).number(to).number(count);
        json.close(']');
    }
    json.close(']').close('}');
}

fn write_profile(json: &mut Json, profile: &ProfileData) {
    let (least, most) = profile.parallelism();
    json.key("profile")
        .open('{')
        .key("work")
        .number(profile.work);
    json.key("span").open('[').number(profile.span.0);
    json.number(profile.span.1).close(']');
    json.key("burdened").number(profile.burdened_span);
    json.key("parallelism").open('[').float(least).float(most);
    json.close(']');
    if let Some((threads, speed_up)) = profile.measured {
        json.key("measured").open('[').number(threads);
        json.float(speed_up).close(']');
    }
    if let Some(enough) = profile.enough() {
        json.key("enough").number(enough);
    }
    json.key("curve").open('[');
    for point in &profile.curve {
        json.open('[').number(point.processors).float(point.upper);
        json.float(point.lower).float(point.simulated).close(']');
    }
    json.close(']').key("path").open('[');
    for (name, time) in profile.critical_path.iter().take(50) {
        json.open('[').string(&names::shown(name, NAME_LIMIT));
        json.number(time).close(']');
    }
    json.close(']').key("what_if").open('[');
    for (name, speed_up) in profile.what_if.iter().take(50) {
        json.open('[').string(&names::shown(name, NAME_LIMIT));
        json.float(*speed_up).close(']');
    }
    json.close(']').close('}');
}
