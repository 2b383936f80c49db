//! Names from the program, made fit for a place where they are shown.

use super::slices::SliceKind;
use crate::trace::model::{Site, SiteKind, Wait, Work};

/// The name with at most `limit` characters and nothing that moves a cursor: control characters and those that change the direction of
/// writing are escaped.
pub(super) fn shown(name: &str, limit: usize) -> String {
    let mut text = String::with_capacity(name.len().min(4 * limit));
    for (count, character) in name.chars().enumerate() {
        if count >= limit {
            text.push('…');
            break;
        }
        if is_unfit(character) {
            text.extend(character.escape_default());
        } else {
            text.push(character);
        }
    }
    if text.is_empty() {
        text.push_str("(no name)");
    }
    text
}

fn is_unfit(character: char) -> bool {
    let directs = matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    character.is_control() || directs || matches!(character, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

/// The name without the crate and modules, and without `{{closure}}`: `sort::quick` for `my_crate::sort::quick::{{closure}}`.
pub(super) fn short(name: &str, limit: usize) -> String {
    let mut path = name;
    while let Some(outer) = path.strip_suffix("::{{closure}}") {
        path = outer;
    }
    let mut depth = 0_usize;
    let mut separators = 0;
    let mut from = 0;
    let bytes = path.as_bytes();
    for at in (0..bytes.len()).rev() {
        match bytes[at] {
            b'>' if at == 0 || bytes[at - 1] != b'-' => depth += 1,
            b'<' => depth = depth.saturating_sub(1),
            b':' if depth == 0 && at > 0 && bytes[at - 1] == b':' => {
                separators += 1;
                if separators == 2 {
                    from = at + 1;
                    break;
                }
            }
            _ => (),
        }
    }
    shown(&path[from..], limit)
}

pub(super) fn of_site_kind(kind: SiteKind) -> &'static str {
    match kind {
        SiteKind::Join => "join",
        SiteKind::Scope => "scope",
        SiteKind::Map => "map",
        SiteKind::Task => "task",
        SiteKind::Future => "future",
        SiteKind::Broadcast => "broadcast",
        SiteKind::Run => "run",
        SiteKind::Span => "span",
        SiteKind::Mark => "mark",
    }
}

pub(super) fn of_work(work: Work) -> &'static str {
    match work {
        Work::Fork => "stolen fork",
        Work::ScopeTask => "task of a scope",
        Work::Task => "task",
        Work::Poll => "poll of a future",
        Work::Broadcast => "broadcast",
        Work::Run => "run",
    }
}

pub(super) fn of_wait(on: Wait) -> &'static str {
    match on {
        Wait::Fork => "wait for a stolen fork",
        Wait::Scope => "wait for a scope",
        Wait::Handle => "wait for a task",
        Wait::Latch => "wait for a result",
        Wait::Blocking => "blocking call",
        Wait::Idle => "search for work",
    }
}

pub(super) fn of_slice(kind: SliceKind) -> &'static str {
    match kind {
        SliceKind::Run(work) => of_work(work),
        SliceKind::Batch => "short runs",
        SliceKind::Wait(on) => of_wait(on),
        SliceKind::Park => "parked",
        SliceKind::Span => "span",
    }
}

/// The file and the line where the work of a site is made, if they are known.
pub(super) fn place(site: &Site) -> Option<String> {
    let file = site.file?;
    Some(format!("{}:{}", shown(file, 200), site.line))
}

/// The short name of a site, or what the slice is if its site is not known.
pub(super) fn in_words(sites: &[Site], site: u32) -> String {
    match sites.get(site as usize) {
        Some(site) => short(&site.name, 80),
        None => "(not known)".to_owned(),
    }
}

/// A duration with three digits and a unit.
pub(super) fn duration(nanos: u64) -> String {
    let nanos = nanos as f64;
    let (value, unit) = match nanos {
        ..1e3 => return format!("{nanos} ns"),
        ..1e6 => (nanos / 1e3, "us"),
        ..1e9 => (nanos / 1e6, "ms"),
        _ => (nanos / 1e9, "s"),
    };
    let digits = match value {
        ..10.0 => 2,
        ..100.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {unit}")
}

/// A count with commas between thousands.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A share in whole per cent.
pub(super) fn per_cent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "0 %".to_owned();
    }
    format!("{:.0} %", 100.0 * part as f64 / whole as f64)
}
