//! What heist could do differently: a set of named options.

use crate::workload::Ns;

/// How the scheduler behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What the user called it: a base and the options that were switched on.
    pub name: String,
    /// A thief looks whether a deque is empty before it pins an epoch.
    pub checks_deques: bool,
    /// A thief forces once a request has stood unanswered for this many percent of the average duration of a heavy barrier. `None`: in the
    /// fifth round.
    pub patience_percent: Option<Ns>,
    /// At most one thread of the pool forces at a time.
    pub one_forcer: bool,
    /// A thread that needs a heavy barrier while one is under way shares the next one.
    pub shares_barriers: bool,
    /// A thread that parks looks plainly before it pays for a heavy barrier.
    pub looks_first: bool,
    /// A searcher is wanted while fewer than half of the awake threads search, not only while none does.
    pub crowds: bool,
    /// A free worker that has found something and sees more wakes a second one while fewer than half of the awake threads search.
    pub spreads: bool,
    /// With `spreads`, such a worker wakes up to two others.
    pub spreads_twice: bool,
    /// A wait spins for at least four times what a heavy barrier takes before it parks.
    pub lingers: bool,
    /// Searches and waits end by the clock, a thief waits at least 1 us before it forces, and pauses take 31 ns at first.
    pub by_clock: bool,
    /// Searches skip the slots of workers that are parked.
    pub skips_parked: bool,
    /// A worker that parks makes no heavy barrier if each ring still has a request from before an earlier one.
    pub remembers: bool,
    /// Each thread counts the tasks of a scope on a line of its own, and on the scope's line only when it begins and ends to take part.
    pub counts_apart: bool,
    /// A finder or publisher wakes two threads if there is work for both.
    pub wakes_pairs: bool,
    /// A worker that finds half of the awake threads searching parks at once.
    pub caps_searchers: bool,
    /// Victims are visited in steps that are coprime to their number, not one after the other.
    pub jumps: bool,
    /// A thread that waits for a stolen fork looks at its thief only. It looks at all rings after some rounds otherwise, and can be woken for
    /// what descends from the fork while it is parked.
    pub narrow_waits: bool,
    /// A thread that waits looks beyond its thief only when it is about to park.
    pub near_waits: bool,
    /// A thread that waits ends its look at all rings once its fork is done.
    pub peeks: bool,
    /// A thread that parks in a wait makes a heavy barrier only if its parking makes room in the pool.
    pub light_waits: bool,
    /// Threads that wait never force.
    pub patient_waits: bool,
}

/// The options, by the names that the command line uses.
pub const OPTIONS: &[(&str, &str)] = &[
    ("check", "look whether a deque is empty before a steal"),
    ("patience", "force after 1.5x the barrier's own cost"),
    ("patience2", "force after 2x the barrier's own cost"),
    ("one", "one forcer at a time in a pool"),
    ("share", "share the next barrier while one is under way"),
    ("look", "look plainly before the barrier of a parker"),
    (
        "spread",
        "a finder that sees more wakes a second worker while few search",
    ),
    ("two", "with spread: it wakes up to two"),
    (
        "linger",
        "waits spin for 4x the barrier's own cost at least",
    ),
    ("crowd", "search with up to half of the awake threads"),
    ("clock", "searches and waits by the clock"),
    ("skip", "searches skip the slots of parked workers"),
    (
        "remember",
        "no barrier for a parker while all requests stand from before an earlier one",
    ),
    (
        "leaves",
        "each thread counts the tasks of a scope on a line of its own",
    ),
    ("pair", "wake two threads if there is work for both"),
    ("cap", "park at once if half of the awake threads search"),
    ("jump", "visit victims in coprime steps"),
    ("narrow", "waits look at their thief only"),
    (
        "near",
        "waits look beyond their thief only before they park",
    ),
    ("peek", "waits end a look once their fork is done"),
    (
        "light",
        "a wait parks without a barrier unless that makes room",
    ),
    ("calm", "waits never force"),
];

/// The bases, by the names that the command line uses, with the options that each includes.
pub const BASES: &[(&str, &[&str])] = &[
    ("before", &[]),
    (
        "heist",
        &[
            "check", "clock", "patience", "one", "share", "skip", "remember", "spread", "peek",
        ],
    ),
];

impl Policy {
    /// Parses a base and options: `heist`, `heist+jump`, `before+check+look`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = text.split('+');
        let base = parts.next().unwrap_or_default();
        let included = BASES.iter().find(|(name, _)| *name == base);
        let Some((_, included)) = included else {
            let names: Vec<_> = BASES.iter().map(|(name, _)| *name).collect();
            return Err(format!("a policy begins with one of {}", names.join(", ")));
        };
        let mut policy = Self::none(text);
        for option in included.iter().copied().chain(parts) {
            policy.switch_on(option)?;
        }
        Ok(policy)
    }

    fn none(name: &str) -> Self {
        Policy {
            name: name.to_owned(),
            checks_deques: false,
            patience_percent: None,
            one_forcer: false,
            shares_barriers: false,
            looks_first: false,
            crowds: false,
            spreads: false,
            spreads_twice: false,
            lingers: false,
            by_clock: false,
            skips_parked: false,
            remembers: false,
            counts_apart: false,
            wakes_pairs: false,
            caps_searchers: false,
            jumps: false,
            narrow_waits: false,
            near_waits: false,
            peeks: false,
            light_waits: false,
            patient_waits: false,
        }
    }

    fn switch_on(&mut self, option: &str) -> Result<(), String> {
        match option {
            "check" => self.checks_deques = true,
            "patience" => self.patience_percent = Some(150),
            "patience2" => self.patience_percent = Some(200),
            "one" => self.one_forcer = true,
            "share" => self.shares_barriers = true,
            "look" => self.looks_first = true,
            "spread" => self.spreads = true,
            "two" => self.spreads_twice = true,
            "linger" => self.lingers = true,
            "crowd" => self.crowds = true,
            "clock" => self.by_clock = true,
            "skip" => self.skips_parked = true,
            "remember" => self.remembers = true,
            "leaves" => self.counts_apart = true,
            "pair" => self.wakes_pairs = true,
            "cap" => self.caps_searchers = true,
            "jump" => self.jumps = true,
            "narrow" => self.narrow_waits = true,
            "near" => self.near_waits = true,
            "peek" => self.peeks = true,
            "light" => self.light_waits = true,
            "calm" => self.patient_waits = true,
            _ => {
                let names: Vec<_> = OPTIONS.iter().map(|(name, _)| *name).collect();
                return Err(format!(
                    "no option {option:?}: there are {}",
                    names.join(", ")
                ));
            }
        }
        Ok(())
    }

    /// How many threads may search when `awake` threads are awake, before no further one is woken.
    pub fn wanted_searchers(&self, awake: usize) -> usize {
        if self.crowds { (awake / 2).max(1) } else { 1 }
    }
}
