//! What a profiled thread did, as a list of strands between brackets, from which the graph of the program is made.
//!
//! A `join` is `Open`, the entries of its first closure, `Next`, those of its second one, `Close`. A scope is `ScopeOpen`, the entries of its body, in which
//! `Spawn` stands where a task was spawned, `TaskEnd`, then for each task `Task`, its entries, `TaskEnd`, and at last `ScopeClose`.
//!
//! A bracket with little work is replaced by leaves, one for each site, with the work and the share of the span that the site has in it. One with very little
//! work is replaced by a single leaf. A log has a bounded number of entries, too. When it is full, the bound is doubled until the log is half empty.

use super::site::SiteRef;

/// The least room for entries that a log has.
const FIRST: usize = 64;

/// The most entries of a log.
pub(super) const MOST: usize = 1 << 17;

#[derive(Clone, Copy, Debug)]
pub(super) enum Entry {
    /// Code that ran on one thread, in nanoseconds.
    Strand {
        time: u64,
        site: SiteRef,
    },
    /// Something of which only the work and the span are known, in nanoseconds.
    Leaf {
        work: u64,
        span: u64,
        site: SiteRef,
    },
    Open,
    Next,
    Close,
    ScopeOpen,
    /// A task of this number begins here.
    Spawn(u32),
    /// The entries of the task of this number follow.
    Task(u32),
    /// The end of a task, or of the body of a scope.
    TaskEnd,
    ScopeClose,
}

/// A list of entries.
#[derive(Clone, Debug)]
pub(super) struct Log {
    pub(super) entries: Vec<Entry>,
    /// The number of entries at which the log is made smaller.
    limit: usize,
    /// Brackets with less work are replaced by one leaf.
    least: u64,
    /// Brackets with less work are replaced by one leaf for each site.
    bound: u64,
    /// Whether there are scopes in it, or tasks of scopes. Then a bracket is replaced only if there is nothing but leaves in it.
    pub(super) has_scopes: bool,
    /// The sum of the lengths at which the log was made smaller.
    shrunk: usize,
    /// Whether nothing is added: what happens is a part of one entry that follows.
    pub(super) is_muted: bool,
}

/// Where a bracket was opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opened {
    at: usize,
    /// [`Log::shrunk`] at that time.
    shrunk: usize,
}

impl Log {
    /// An empty log. Brackets with less work than `least` are replaced by one leaf when they are closed.
    pub(super) fn new(least: u64) -> Self {
        Log {
            entries: Vec::new(),
            limit: MOST,
            least,
            bound: least,
            has_scopes: false,
            shrunk: 0,
            is_muted: false,
        }
    }

    /// Whether the next [`push`](Self::push) takes long.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.entries.len() == self.entries.capacity()
    }

    #[inline]
    pub(super) fn push(&mut self, entry: Entry) {
        if self.is_muted {
            return;
        }
        if self.is_full() {
            self.make_room();
        }
        self.entries.push(entry);
    }

    /// Opens the bracket of a `join`.
    #[inline]
    pub(super) fn open(&mut self) -> Opened {
        let at = self.entries.len();
        self.push(Entry::Open);
        Opened {
            at,
            shrunk: self.shrunk,
        }
    }

    /// Closes the bracket of a `join` that has this work and this span. If it is replaced by one leaf, that is of the given site.
    #[inline]
    pub(super) fn close(&mut self, opened: Opened, work: u64, span: u64, site: SiteRef) {
        if self.is_muted {
            return;
        }
        if opened.shrunk != self.shrunk || work >= self.bound {
            self.push(Entry::Close);
        } else if work < self.least && !self.has_scopes {
            self.entries.truncate(opened.at);
            self.entries.push(Entry::Leaf { work, span, site });
        } else if !self.replace(opened.at) {
            self.push(Entry::Close);
        }
    }

    /// Replaces a bracket that is about to be closed by leaves. Returns `false` if there is more in it than leaves of a few sites.
    fn replace(&mut self, at: usize) -> bool {
        const FEW: usize = 4;
        let Some(&Entry::Strand { site, .. } | &Entry::Leaf { site, .. }) =
            self.entries.get(at + 1)
        else {
            return false;
        };
        let none = Portion {
            site,
            work: 0,
            span: 0,
        };
        // For each site: the work, the share of the span of the longest branch, and that of the present branch.
        let mut portions = [(none, 0); FEW];
        let (mut count, mut longest, mut length) = (0, 0, 0);
        let mut end_branch = |portions: &mut [(Portion, u64)], length: &mut u64| {
            let is_longest = *length > longest;
            longest = longest.max(*length);
            *length = 0;
            for (portion, span) in portions {
                if is_longest {
                    portion.span = *span;
                }
                *span = 0;
            }
        };
        for entry in &self.entries[at + 1..] {
            let (site, work, span) = match *entry {
                Entry::Strand { time, site } => (site, time, time),
                Entry::Leaf { work, span, site } => (site, work, span),
                Entry::Next => {
                    end_branch(&mut portions[..count], &mut length);
                    continue;
                }
                _ => return false,
            };
            let known = portions[..count]
                .iter()
                .position(|(portion, _)| portion.site == site);
            let index = match known {
                Some(index) => index,
                None if count == FEW => return false,
                None => {
                    portions[count].0.site = site;
                    count += 1;
                    count - 1
                }
            };
            portions[index].0.work += work;
            portions[index].1 += span;
            length += span;
        }
        end_branch(&mut portions[..count], &mut length);
        self.entries.truncate(at);
        for (Portion { site, work, span }, _) in portions.into_iter().take(count) {
            self.entries.push(Entry::Leaf { work, span, site });
        }
        true
    }

    /// Adds the entries of another log.
    pub(super) fn extend(&mut self, other: Log) {
        if !self.is_muted {
            self.bound = self.bound.max(other.bound);
            self.has_scopes |= other.has_scopes;
            self.entries.extend(other.entries);
        }
    }

    /// Makes room for more entries, and touches the new memory, so that later pushes take the same time.
    #[cold]
    #[inline(never)]
    fn make_room(&mut self) {
        if self.entries.len() >= self.limit {
            self.shrink();
        }
        let more = self.entries.len().clamp(FIRST, MOST);
        self.entries.reserve(more);
        for place in self.entries.spare_capacity_mut() {
            place.write(Entry::Open);
        }
    }

    #[cold]
    fn shrink(&mut self) {
        self.shrunk += self.entries.len();
        self.bound = self.bound.max(self.mean_work());
        for _ in 0..u64::BITS {
            self.entries = Shrinking::new(self.bound).run(&self.entries);
            if self.entries.len() <= self.limit / 2 {
                return;
            }
            self.bound = self.bound.saturating_mul(2).max(1);
        }
        // What is left are brackets that are open, or scopes whose tasks are not here yet.
        self.limit = 2 * self.entries.len();
    }

    /// The work of an entry, on average.
    fn mean_work(&self) -> u64 {
        let works = self.entries.iter().map(|entry| match entry {
            Entry::Strand { time, .. } => *time,
            Entry::Leaf { work, .. } => *work,
            _ => 0,
        });
        works.sum::<u64>() / self.entries.len().max(1) as u64
    }
}

/// The work of a site within a bracket, and its share of the span.
#[derive(Clone, Copy, Debug)]
struct Portion {
    site: SiteRef,
    work: u64,
    span: u64,
}

/// A sequence within a bracket.
#[derive(Default)]
struct Sequence {
    portions: Vec<Portion>,
}

impl Sequence {
    fn add(&mut self, site: SiteRef, work: u64, span: u64) {
        match self
            .portions
            .iter_mut()
            .find(|portion| portion.site == site)
        {
            Some(portion) => {
                portion.work += work;
                portion.span += span;
            }
            None => self.portions.push(Portion { site, work, span }),
        }
    }

    fn span(&self) -> u64 {
        self.portions.iter().map(|portion| portion.span).sum()
    }

    fn work(&self) -> u64 {
        self.portions.iter().map(|portion| portion.work).sum()
    }

    /// Adds what runs beside this sequence.
    fn join(mut self, mut other: Sequence) -> Sequence {
        if self.span() < other.span() {
            std::mem::swap(&mut self, &mut other);
        }
        for portion in other.portions {
            self.add(portion.site, portion.work, 0);
        }
        self
    }

    fn append(&mut self, other: Sequence) {
        for portion in other.portions {
            self.add(portion.site, portion.work, portion.span);
        }
    }
}

/// A bracket that has been opened.
struct Frame {
    /// The number of entries in front of it in the new log.
    begin: usize,
    first: Option<Sequence>,
    now: Sequence,
    /// Whether it must remain a bracket.
    stays: bool,
}

/// One pass over a log, which replaces brackets with less work than the bound.
struct Shrinking {
    bound: u64,
    out: Vec<Entry>,
    frames: Vec<Frame>,
    /// What stands outside all brackets.
    outer: Sequence,
}

impl Shrinking {
    fn new(bound: u64) -> Self {
        Shrinking {
            bound,
            out: Vec::new(),
            frames: Vec::new(),
            outer: Sequence::default(),
        }
    }

    fn now(&mut self) -> &mut Sequence {
        match self.frames.last_mut() {
            Some(frame) => &mut frame.now,
            None => &mut self.outer,
        }
    }

    fn run(mut self, entries: &[Entry]) -> Vec<Entry> {
        for &entry in entries {
            match entry {
                Entry::Strand { time, site } => {
                    self.now().add(site, time, time);
                    self.put(entry);
                }
                Entry::Leaf { work, span, site } => {
                    self.now().add(site, work, span);
                    self.put(entry);
                }
                Entry::Open => {
                    self.frames.push(Frame {
                        begin: self.out.len(),
                        first: None,
                        now: Sequence::default(),
                        stays: false,
                    });
                    self.out.push(entry);
                }
                Entry::Next => {
                    if let Some(frame) = self.frames.last_mut() {
                        let ended = std::mem::take(&mut frame.now);
                        frame.first = Some(match frame.first.take() {
                            Some(first) => first.join(ended),
                            None => ended,
                        });
                    }
                    self.out.push(entry);
                }
                Entry::Close => self.close(),
                // Scopes remain, and so do the brackets around them and around what they spawn.
                _ => {
                    for frame in &mut self.frames {
                        frame.stays = true;
                    }
                    self.out.push(entry);
                }
            }
        }
        self.out
    }

    fn close(&mut self) {
        let Some(frame) = self.frames.pop() else {
            return self.out.push(Entry::Close);
        };
        let whole = match frame.first {
            Some(first) => first.join(frame.now),
            None => frame.now,
        };
        if frame.stays || whole.work() >= self.bound {
            self.out.push(Entry::Close);
        } else {
            self.out.truncate(frame.begin);
            for portion in &whole.portions {
                let Portion { site, work, span } = *portion;
                self.put(Entry::Leaf { work, span, site });
            }
        }
        self.now().append(whole);
    }

    /// Adds an entry with work. If it is small and follows another small one of the same site, both become one.
    fn put(&mut self, entry: Entry) {
        let small = |entry: &Entry| match *entry {
            Entry::Strand { time, site } if time < self.bound => Some((site, time, time)),
            Entry::Leaf { work, span, site } if work < self.bound => Some((site, work, span)),
            _ => None,
        };
        let recent = &self.out[self.out.len().saturating_sub(RECENT)..];
        let begin = self.out.len() - recent.len();
        let (Some((site, work, span)), Some(found)) = (small(&entry), self.same(&entry, begin))
        else {
            return self.out.push(entry);
        };
        if let Some((_, more, longer)) = small(&self.out[found]) {
            let (work, span) = (work + more, span + longer);
            self.out[found] = Entry::Leaf { work, span, site };
        }
    }

    /// The index of a small entry of the same site in the present sequence, from `begin` on.
    fn same(&self, entry: &Entry, begin: usize) -> Option<usize> {
        let site = site_of(entry)?;
        for at in (begin..self.out.len()).rev() {
            let is_small = match self.out[at] {
                Entry::Strand { time, .. } => time < self.bound,
                Entry::Leaf { work, .. } => work < self.bound,
                _ => return None,
            };
            if is_small && site_of(&self.out[at]) == Some(site) {
                return Some(at);
            }
        }
        None
    }
}

/// How many entries of a sequence are searched for one of the same site.
const RECENT: usize = 4;

fn site_of(entry: &Entry) -> Option<SiteRef> {
    match *entry {
        Entry::Strand { site, .. } | Entry::Leaf { site, .. } => Some(site),
        _ => None,
    }
}
