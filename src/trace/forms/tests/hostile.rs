//! Names that break what does not escape them.

use super::synth::{self, Plan};
use crate::trace::model::Trace;

pub(super) const NAMES: [&str; 15] = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"double\" 'single' `back`",
    "<!-- <script>",
    "]]></style><svg onload=alert(1)>",
    "nul\0in the middle",
    "two\nlines\r\nand\ttabs",
    "semi;colons; and spaces 12",
    "\u{202e}drawkcab",
    "{{style}} {{facts}} ${page} %s %n",
    "\\u003c\\",
    "&lt;b&gt;&amp;",
    "\u{2028}\u{2029}\u{feff}",
    "",
    "名前 🦀 e\u{301}",
];

/// A trace in which everything that has a name has one of these.
pub(super) fn trace() -> Trace {
    let mut trace = synth::trace(Plan {
        events: 4_000,
        ..Plan::default()
    });
    for (site, name) in trace.sites.iter_mut().zip(NAMES) {
        site.name = name.to_owned();
    }
    let last = trace.sites[0].clone();
    for name in NAMES {
        let mut site = last.clone();
        site.name = name.to_owned();
        trace.sites.push(site);
    }
    trace.sites[3].name = "long ".repeat(1 << 18);
    trace.sites[4].name = String::from_utf8_lossy(b"bad \xff\xfe\xc3 bytes").into_owned();
    trace.program = NAMES[0].to_owned();
    trace.pool = NAMES[1].to_owned();
    for (track, name) in trace.tracks.iter_mut().zip(NAMES) {
        track.name = name.to_owned();
    }
    trace
}
