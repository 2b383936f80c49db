//! Folded stacks: one line for each stack, `outer;inner nanoseconds`, as flame graph tools read them.

use super::names;
use super::slices::{NO_SITE, Slice, lay_out, segments};
use crate::trace::model::Trace;
use std::collections::HashMap;
use std::fmt::Write;

/// The number of characters of a name that a line keeps.
const NAME_LIMIT: usize = 200;

/// What a stack consists of: a site, or a kind of slice.
type Frame = (u32, &'static str);

/// The stacks as a tree: for each parent and frame, the child.
struct Stacks {
    children: HashMap<(usize, Frame), usize>,
    nodes: Vec<Node>,
}

struct Node {
    parent: usize,
    frame: Frame,
    own: u64,
}

impl Stacks {
    fn child(&mut self, parent: usize, frame: Frame) -> usize {
        let next = self.nodes.len();
        let child = *self.children.entry((parent, frame)).or_insert(next);
        if child == next {
            self.nodes.push(Node {
                parent,
                frame,
                own: 0,
            });
        }
        child
    }
}

fn frame(slice: &Slice) -> Frame {
    match slice.site {
        NO_SITE => (NO_SITE, names::of_slice(slice.kind)),
        site => (site, ""),
    }
}

/// The folded stacks of all threads together, sorted by their text.
pub(super) fn folded(trace: &Trace) -> String {
    let mut stacks = Stacks {
        children: HashMap::new(),
        nodes: vec![Node {
            parent: 0,
            frame: (NO_SITE, ""),
            own: 0,
        }],
    };
    for track in &trace.tracks {
        let lane = lay_out(track, trace.taken);
        segments(&lane.slices, |open, from, to| {
            let node = open
                .iter()
                .fold(0, |node, slice| stacks.child(node, frame(slice)));
            stacks.nodes[node].own += to - from;
        });
    }
    let sites: Vec<String> = trace.sites.iter().map(|site| word(&site.name)).collect();
    let root = word(&trace.pool);
    let mut paths: Vec<String> = vec![root.clone()];
    let mut lines = Vec::new();
    for node in &stacks.nodes[1..] {
        let name = match sites.get(node.frame.0 as usize) {
            Some(name) => name.as_str(),
            None if node.frame.1.is_empty() => "(not known)",
            None => node.frame.1,
        };
        // A parent comes before its children.
        let path = format!("{};{name}", paths[node.parent]);
        if node.own > 0 {
            lines.push((path.clone(), node.own));
        }
        paths.push(path);
    }
    lines.sort();
    let mut text = String::new();
    let mut lines = lines.into_iter().peekable();
    while let Some((path, mut own)) = lines.next() {
        // Different sites can have the same name.
        while let Some((_, more)) = lines.next_if(|next| next.0 == path) {
            own += more;
        }
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{path} {own}");
    }
    text
}

/// The name without what separates frames and lines.
fn word(name: &str) -> String {
    names::shown(name, NAME_LIMIT).replace(';', ":")
}
