//! Imports point down: a file uses only files that come before it in its package's table. So each package can be read in that order, and no
//! imports form a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The files of the crate in reading order. `pool/slot` is `src/pool/slot.rs`; `pool` is `src/pool/mod.rs` or `src/pool.rs`. Models and tests
/// are left out, since they may use anything.
const CRATE: Order = Order {
    sources: "src",
    files: &[
        "sync/lines",
        "sync",
        "testing",
        "sys",
        "sys/thread",
        "clock",
        "unwind",
        "counters",
        "record/event",
        "record/names",
        "record/places",
        "record/ring",
        "record/recorder",
        "record/session",
        "record",
        "timings",
        "blocks",
        "pages",
        "chunks",
        "barrier",
        "ring/packed",
        "ring",
        "sleep/counts",
        "sleep/list",
        "sleep/parker",
        "sleep/answers",
        "sleep/event",
        "sleep",
        "sleep/bound",
        "sleep/size",
        "latch",
        "lineage",
        "job",
        "profile/site",
        "profile/log",
        "profile/expected",
        "profile/line",
        "profile/skipped",
        "profile/forks",
        "profile/tasks",
        "profile/mark",
        "pool/config",
        "pool/backoff",
        "pool/fifo",
        "pool/queue",
        "pool/shards",
        "pool/admission",
        "pool/activity",
        "pool/inbox",
        "pool/hot",
        "pool/running",
        "pool/credits",
        "pool/slot",
        "pool/streams/raw",
        "pool/streams",
        "pool/injector",
        "pool/measure",
        "pool/roster",
        "pool/looks",
        "pool/slots",
        "pool/registry",
        "pool/context",
        "pool/recording",
        "pool/work",
        "pool/member",
        "pool/steal",
        "pool/awaited",
        "pool/directory",
        "pool/thread_pool",
        "pool/notify",
        "pool/park",
        "pool/wait",
        "pool/worker",
        "pool/threads",
        "pool/builder",
        "pool",
        "pool/idle",
        "pool/queueing",
        "pool/rescue",
        "pool/shutdown",
        "fork/map/source",
        "fork/measured",
        "fork/join",
        "fork/map/drive",
        "fork/scope",
        "fork/scope/wait",
        "fork/scope/measured",
        "fork/current",
        "fork/map/blocks",
        "fork/map/results",
        "fork/try_scope",
        "fork",
        "fork/broadcast",
        "fork/install",
        "fork/map",
        "executor/state",
        "executor/late",
        "executor/location",
        "executor/error",
        "executor/task",
        "executor/slab",
        "executor/wheel",
        "executor/timer",
        "executor/sleep",
        "executor/token",
        "executor/arrivals",
        "executor/extra",
        "executor/future_entry",
        "executor/recorded",
        "executor/spans",
        "executor/suspend",
        "executor/complete",
        "executor/entry",
        "executor/options",
        "executor/tombstones",
        "executor/awaited",
        "executor/help",
        "executor/handle",
        "executor/pending",
        "executor/stream/chunk",
        "executor/cancel",
        "executor/cell",
        "executor/future_cell",
        "executor/submit",
        "executor/guard",
        "executor/join_set",
        "executor/promise",
        "executor/scoped",
        "executor/futures",
        "executor/several",
        "executor/shutdown",
        "executor/remote",
        "executor/stream/raw",
        "executor/stream/source",
        "executor/stream/input",
        "executor/stream/in_async",
        "executor/stream",
        "executor",
        "future/beside",
        "future/block_on",
        "future/timeout",
        "future/yields",
        "future/periodic",
        "future/then",
        "future/semaphore",
        "future/async_pool",
        "future/blocking",
        "future/streams",
        "future/spawners",
        "future",
        "stats/histogram",
        "stats",
        "stats/prometheus",
        "dump/model",
        "dump/text",
        "dump/capture",
        "dump/graph",
        "dump",
        "stall",
        "trace/model",
        "trace/sites",
        "trace/snapshot",
        "trace/span",
        "trace/forms/slices",
        "trace/forms/histogram",
        "trace/forms/analysis",
        "trace/forms/names",
        "trace/forms/json",
        "trace/forms/summary",
        "trace/forms/folded",
        "trace/forms/packed",
        "trace/forms/curve",
        "trace/forms/fields",
        "trace/forms/proto",
        "trace/forms/perfetto",
        "trace/forms/html",
        "trace/forms/outputs",
        "trace/forms",
        "trace/environment",
        "trace",
        "profile/dag",
        "profile/simulate",
        "profile/settings",
        "profile/model",
        "profile",
        "process/os",
        "process/wire",
        "process/codec",
        "process/task",
        "process/registry",
        "process/options",
        "process/threads",
        "process/call",
        "process/backend",
        "process/imap",
        "process/executor",
        "process/worker",
        "process/member",
        "process/state",
        "process/balance",
        "process/fate",
        "process/shared",
        "process/io",
        "process/pool",
        "process/builder",
        "process/guide",
        "process",
        "nats/names",
        "nats/options",
        "nats/record",
        "nats/link",
        "nats/remote",
        "nats/events",
        "nats/client",
        "nats/submit",
        "nats/drive",
        "nats/cluster",
        "nats/station",
        "nats/serve",
        "nats/duty",
        "nats/worker",
        "nats/operating",
        "nats",
        "mpi/sys",
        "mpi/channel",
        "mpi/message",
        "mpi/serve",
        "mpi/lead",
        "mpi/ranks",
        "mpi",
        "open",
    ],
    exceptions: &[],
};

/// The files of the shim that takes rayon-core's place.
const SHIM: Order = Order {
    sources: "compat/rayon-core/src",
    files: &[
        "error",
        "private",
        "threads",
        "settings",
        "global",
        "broadcast",
        "join",
        "spawn",
        "scope",
        "pool",
        "builder",
        "configuration",
    ],
    exceptions: &[],
};

/// The files of the comparison with other pools.
const VERSUS: Order = Order {
    sources: "benches/versus/src",
    files: &[
        "allocations",
        "contestants/peer",
        "fact_names",
        "options",
        "results",
        "contestants/async_executor",
        "contestants/channel",
        "contestants/chili",
        "contestants/crossbeam",
        "contestants/forte",
        "contestants/futures",
        "contestants/heist",
        "contestants/naive",
        "contestants/rayon",
        "contestants/tokio",
        "contestants/sleeps",
        "targets",
        "contestants",
        "report",
        "contest",
        "facts",
        "rows/entry",
        "rows/shared",
        "rows/busy",
        "rows/coarse",
        "rows/futures/blocking",
        "rows/futures/echo",
        "rows/futures/sleeps",
        "rows/futures/tasks",
        "rows/futures/wakes",
        "rows/futures",
        "rows/join",
        "rows/map",
        "rows/scope",
        "rows/small",
        "rows/stream",
        "rows/submit",
        "rows/tree",
        "rows",
    ],
    exceptions: &[],
};

/// The files of the probes and the simulation of many cores.
const SCALE: Order = Order {
    sources: "benches/scale/src",
    files: &[
        "random",
        "workload",
        "table",
        "samples",
        "sim/costs",
        "sim/policy",
        "sim/lines",
        "sim/kernel",
        "sim/jobs",
        "sim/ring",
        "sim/sleepers",
        "sim/tally",
        "sim/thread",
        "sim/world",
        "sim/wake",
        "sim/run",
        "sim/steal",
        "sim/scope",
        "sim/wait",
        "sim/search",
        "sim",
        "options",
        "measured",
        "real",
        "simulate",
        "chart",
        "lines",
        "validate",
        "probes/forces",
        "probes/guests",
        "probes/ramp",
        "probes/search",
        "probes",
    ],
    exceptions: &[],
};

/// The order of the files of one package.
struct Order {
    /// The folder of the sources.
    sources: &'static str,
    /// Each file uses only files before it.
    files: &'static [&'static str],
    /// Imports that still point up, as (user, used).
    exceptions: &'static [(&'static str, &'static str)],
}

/// The source of each module of a package, by its path. The root has the path `""`.
type Modules = BTreeMap<String, String>;

fn read(folder: &Path, path: &str, modules: &mut Modules) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let file = entry.expect("an entry of that folder").path();
        let stem = file.file_stem().and_then(|stem| stem.to_str());
        let stem = stem.expect("a name in UTF-8");
        if matches!(stem, "models" | "tests") {
            continue;
        }
        let inside = match stem {
            "lib" | "main" | "mod" => path.to_owned(),
            _ => join(path, stem),
        };
        if file.is_dir() {
            read(&file, &inside, modules);
        } else if file.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&file).expect("a source is text");
            modules.insert(inside, code(&source));
        }
    }
}

fn join(path: &str, name: &str) -> String {
    match path {
        "" => name.to_owned(),
        _ => format!("{path}/{name}"),
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// The source without comments, and without character and string literals.
fn code(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(next) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if next == '"' {
            string(rest)
        } else if rest.starts_with("'\"'") || rest.starts_with("'\\") {
            rest[2..].find('\'').map_or(rest.len(), |end| end + 3)
        } else {
            code.push(next);
            rest = &rest[next.len_utf8()..];
            continue;
        };
        code.push(' ');
        rest = &rest[skipped..];
    }
    code
}

/// The length of the block comment at the beginning of `rest`. Block comments nest.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

/// The length of the string literal at the beginning of `rest`.
fn string(rest: &str) -> usize {
    let mut escaped = false;
    for (at, next) in rest.char_indices().skip(1) {
        match next {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => (),
        }
    }
    rest.len()
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The paths of a tree such as `a::{b, c::{d as e, *}}`, and the length of the tree in the text.
fn paths(tree: &str) -> (Vec<Vec<String>>, usize) {
    let start = tree.len() - tree.trim_start().len();
    let mut at = start;
    if tree[at..].starts_with('{') {
        let mut all = Vec::new();
        at += 1;
        loop {
            at += tree[at..].len() - tree[at..].trim_start().len();
            match tree[at..].chars().next() {
                None => return (all, at),
                Some('}') => return (all, at + 1),
                Some(',') => at += 1,
                Some(_) => {
                    let (some, length) = paths(&tree[at..]);
                    all.extend(some);
                    at += length.max(1);
                }
            }
        }
    }
    let length = tree[at..]
        .find(|next| !is_word(next))
        .unwrap_or(tree.len() - at);
    let word = tree[at..at + length].to_owned();
    at += length.max(usize::from(tree[at..].starts_with('*')));
    let rest = tree[at..].trim_start();
    if let Some(below) = rest.strip_prefix("::") {
        let skipped = tree.len() - below.len();
        let (below, length) = paths(below);
        let with_word = |mut path: Vec<String>| {
            path.insert(0, word.clone());
            path
        };
        return (below.into_iter().map(with_word).collect(), skipped + length);
    }
    if let Some(name) = rest.strip_prefix("as ") {
        let length = name.find(|next| !is_word(next)).unwrap_or(name.len());
        at = tree.len() - name.len() + length;
    }
    (vec![vec![word]], at)
}

/// The path from the root of the package for a path in the module.
fn absolute(module: &str, path: &[String]) -> Vec<String> {
    let words = |path: &str| -> Vec<String> {
        path.split('/')
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let mut from = words(module);
    let mut rest = path;
    match rest.first().map(String::as_str) {
        Some("crate") => {
            from.clear();
            rest = &rest[1..];
        }
        Some("self") => rest = &rest[1..],
        _ => {}
    }
    while rest.first().is_some_and(|word| word == "super") {
        from.pop();
        rest = &rest[1..];
    }
    from.extend_from_slice(rest);
    from
}

/// A package, and what its modules re-export.
struct Package {
    modules: Modules,
    /// Maps (module, name) to the path of what the module re-exports under that name.
    exported: BTreeMap<(String, String), Vec<String>>,
}

impl Package {
    fn new(modules: Modules) -> Self {
        let mut exported = BTreeMap::new();
        for (module, source) in &modules {
            for (at, _) in source.match_indices("use ") {
                let public = source[..at].trim_end();
                let is_public = public.ends_with("pub")
                    || (public.ends_with(')')
                        && public[..public.rfind('(').unwrap_or(0)].ends_with("pub"));
                if !is_public {
                    continue;
                }
                for path in paths(&source[at + 4..]).0 {
                    if let Some(name) = path.last() {
                        let key = (module.clone(), name.clone());
                        exported.insert(key, absolute(module, &path));
                    }
                }
            }
        }
        Package { modules, exported }
    }

    /// The module that defines the item at an absolute path.
    fn definer(&self, path: &[String]) -> String {
        let deepest = (0..=path.len())
            .rev()
            .map(|length| (path[..length].join("/"), length))
            .find(|(module, _)| module.is_empty() || self.modules.contains_key(module));
        let (module, length) = deepest.unwrap_or_default();
        let reexport = path.get(length).and_then(|name| {
            let reexport = self.exported.get(&(module.clone(), name.clone()))?;
            let mut on = reexport.clone();
            on.extend_from_slice(&path[length + 1..]);
            (on != path).then_some(on)
        });
        reexport.map_or(module, |path| self.definer(&path))
    }

    /// The other modules that this module names.
    fn uses(&self, module: &str) -> BTreeSet<String> {
        let source = &self.modules[module];
        let children = self.modules.keys().filter(|other| parent(other) == module);
        let children = children.filter_map(|child| child.rsplit('/').next());
        let roots: Vec<String> = ["crate", "super", "self"]
            .into_iter()
            .chain(children)
            .filter(|root| !root.is_empty())
            .map(|root| format!("{root}::"))
            .collect();
        let mut used = BTreeSet::new();
        for root in roots {
            for (at, _) in source.match_indices(root.as_str()) {
                let before = source[..at].chars().next_back();
                if before.is_some_and(|next| is_word(next) || next == ':' || next == '$') {
                    continue;
                }
                for path in paths(&source[at..]).0 {
                    used.insert(self.definer(&absolute(module, &path)));
                }
            }
        }
        used.remove(module);
        used.remove("");
        used
    }
}

/// The violations of the order in a package.
fn violations(order: &Order, modules: Modules) -> Vec<String> {
    let place = |module: &str| order.files.iter().position(|file| *file == module);
    let package = Package::new(modules);
    let mut wrong = Vec::new();
    let mut excused: BTreeSet<_> = order.exceptions.iter().copied().collect();
    for module in package.modules.keys().filter(|module| !module.is_empty()) {
        let Some(own) = place(module) else {
            wrong.push(format!("`{module}` is missing from the order of files"));
            continue;
        };
        for used in package.uses(module) {
            let excuse = excused
                .iter()
                .copied()
                .find(|&(user, of)| user == module && of == used);
            if place(&used).is_some_and(|other| other > own) {
                match excuse {
                    Some(excuse) => {
                        excused.remove(&excuse);
                    }
                    None => wrong.push(format!(
                        "`{module}` imports from `{used}`, which comes after it in the order of files: \
                         move what it needs down, or move `{module}` up if nothing before `{used}` uses it"
                    )),
                }
            }
        }
    }
    let gone = order
        .files
        .iter()
        .filter(|file| !package.modules.contains_key(**file));
    wrong.extend(gone.map(|file| format!("`{file}` is in the order of files and does not exist")));
    let idle = excused.iter().map(|(user, used)| {
        format!("`{user}` no longer imports from `{used}`: remove the exception")
    });
    wrong.extend(idle);
    wrong
}

#[test]
fn imports_point_down() {
    let mut wrong = Vec::new();
    for order in [CRATE, SHIM, VERSUS, SCALE] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(order.sources);
        let mut modules = Modules::new();
        read(&folder, "", &mut modules);
        let found = violations(&order, modules);
        wrong.extend(
            found
                .into_iter()
                .map(|text| format!("{}: {text}", order.sources)),
        );
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The number of imports that point up among these sources, in this order.
fn count(sources: &[(&'static str, &str)]) -> usize {
    let files: Vec<&'static str> = sources.iter().map(|(file, _)| *file).collect();
    let modules = sources
        .iter()
        .map(|(file, source)| ((*file).to_owned(), code(source)))
        .collect();
    let order = Order {
        sources: "",
        files: files.leak(),
        exceptions: &[],
    };
    violations(&order, modules).len()
}

#[test]
fn an_import_from_below_is_seen() {
    let ring = |source| {
        count(&[
            ("ring", source),
            ("pool/slot", ""),
            ("pool", "pub(crate) use slot::Slot;"),
        ])
    };
    assert_eq!(ring("use crate::pool::ThreadPool;"), 1);
    assert_eq!(ring("use super::pool::ThreadPool;"), 1);
    assert_eq!(ring("use crate::pool::Slot;"), 1);
    assert_eq!(ring("fn f() { crate::pool::slot::make(); }"), 1);
    assert_eq!(ring("pub(in crate::pool) fn f() {}"), 1);
    assert_eq!(ring("use crate::{pool::{a, slot::{b, c as d}}};"), 2);
    assert_eq!(count(&[("a/b", "use super::Thing;"), ("a", "mod b;")]), 1);
    assert_eq!(
        count(&[("a/b", "use super::c::Thing;"), ("a/c", ""), ("a", "")]),
        1
    );
    assert_eq!(count(&[("a", "fn f() { b::g() }"), ("a/b", "")]), 1);
}

#[test]
fn imports_from_above_and_mere_words_are_allowed() {
    let pool = |source| count(&[("ring", ""), ("pool/slot", ""), ("pool", source)]);
    assert_eq!(
        pool("use crate::{ring::Ring, pool::slot::{a, b}}; use slot::Slot;"),
        0
    );
    assert_eq!(
        pool("mod tests { use super::*; use super::{Ring, Slot}; }"),
        0
    );
    let ring = |source| count(&[("ring", source), ("pool", "")]);
    assert_eq!(
        ring("// use crate::pool::ThreadPool;\n/* crate::pool */"),
        0
    );
    assert_eq!(ring("/// See [`crate::pool::ThreadPool`].\nfn f() {}"), 0);
    assert_eq!(ring("const S: &str = \"crate::pool \\\" crate::pool\";"), 0);
    assert_eq!(ring("const C: char = '\"'; fn f() {}"), 0);
}

#[test]
fn a_file_that_is_in_no_order_or_an_exception_that_is_none_is_seen() {
    let modules = || Modules::from([("a".to_owned(), String::new())]);
    let order = |files, exceptions| Order {
        sources: "",
        files,
        exceptions,
    };
    assert_eq!(violations(&order(&[], &[]), modules()).len(), 1);
    assert_eq!(violations(&order(&["a", "b"], &[]), modules()).len(), 1);
    assert_eq!(
        violations(&order(&["a"], &[("a", "b")]), modules()).len(),
        1
    );
}
