//! Raw items of a stream: items so short that the consumer runs them itself, without a task for each.
//!
//! A raw item counts as a task in the pool's statistics and histograms, and its panic is its error. It is raw only while nothing asks for more than that: a token, a
//! time limit, a recording, a queue with a capacity, a shutdown, workers that must run it.
//!
//! The consumer adds and takes them under a lock that nobody else wants, as long as it comes back for the next one soon. If it does not, or if another thread needs
//! an item for another reason, that thread makes tasks of all raw items under the lock ([`RawItems::submit`]), and leaves their handles to the consumer. So an item
//! that waits for a later one of the window, or for the consumer, is no worse off than among tasks.
//!
//! **Invariant.** The items under way are in the order of the input: those that were submitted by the consumer, then those in `submitted`, then those in `items`.

use super::chunk::{Apply, Chunk, ChunkTask, Queued};
use crate::clock;
use crate::executor::complete::{begin_measured, end_measured};
use crate::executor::error::{JoinError, TaskId};
use crate::executor::handle::JoinHandle;
use crate::executor::submit::make_plain;
use crate::executor::{location, token};
use crate::job::Task;
use crate::pool::{Member, RawItems, Registry};
use crate::sync::{Arc, Mutex, lock};
use crate::unwind;
use std::collections::VecDeque;
use std::fmt;

/// The time of one item in so many is measured, and counts for all. Two readings of the clock cost 5 ns.
const TIMED: u64 = 8;

/// The raw items of one stream. See the [module](self).
pub(super) struct RawQueue<I, R, F> {
    /// The number of the pool.
    pool: u64,
    f: Arc<Queued<F>>,
    state: Mutex<State<I, R>>,
}

struct State<I, R> {
    items: VecDeque<RawItem<I>>,
    /// The handles of items that another thread has submitted, until the consumer takes them.
    submitted: Vec<JoinHandle<Chunk<R>>>,
}

/// An item, and when it was pulled, in nanoseconds, if it is measured; or else 0.
struct RawItem<I> {
    item: I,
    queued_ns: u64,
}

impl<I, R, F> fmt::Debug for RawQueue<I, R, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawQueue").finish_non_exhaustive()
    }
}

impl<I, R, F> RawItems for RawQueue<I, R, F>
where
    I: Send + 'static,
    R: Send + 'static,
    F: Fn(I) -> R + Send + Sync + 'static,
{
    fn len(&self) -> usize {
        lock(&self.state).items.len()
    }

    fn submit(&self, push: &mut dyn FnMut(Task)) {
        let mut state = lock(&self.state);
        let State { items, submitted } = &mut *state;
        for RawItem { item, queued_ns } in items.drain(..) {
            let task = ChunkTask::One(item, Arc::clone(&self.f));
            let (task, handle) = make_plain(self.pool, move || task.run());
            if queued_ns != 0 {
                task.get().measure();
            }
            push(task.into_task());
            submitted.push(handle);
        }
        self.f.1.raw_count.clear();
    }
}

impl<I, R, F> RawQueue<I, R, F>
where
    F: Fn(I) -> R,
{
    pub(super) fn new(pool: &Registry, f: Arc<Queued<F>>) -> Self {
        let state = Mutex::new(State {
            items: VecDeque::new(),
            submitted: Vec::new(),
        });
        let pool = pool.id;
        RawQueue { pool, f, state }
    }

    /// Counts an item that was pulled. `here` is the member of this pool as which the consumer acts.
    fn admit(&self, registry: &Registry, here: Option<Member<'_>>, item: I) -> RawItem<I> {
        registry.end_idle_moment(here.map(|member| member.slot));
        let before = match here {
            Some(member) => {
                let before = member.counters.submitted.get();
                member.counters.submitted.add(1);
                before
            }
            None => registry.outside.own().submitted.fetch_add_shared(1),
        };
        let queued_ns = match registry.sampling.measures(before) {
            true => clock::now_ns(),
            false => 0,
        };
        RawItem { item, queued_ns }
    }

    /// Consumer: adds an item that was pulled.
    pub(super) fn push(&self, registry: &Registry, here: Option<Member<'_>>, item: I) {
        let item = self.admit(registry, here, item);
        let mut state = lock(&self.state);
        state.items.push_back(item);
        self.f.1.raw_count.change(state.items.len());
        drop(state);
        registry.added_raw();
    }

    /// Consumer, which acts as `member`: adds the item that was pulled, if there is one, and runs the first one. Returns `None` if there is none that is not submitted.
    pub(super) fn run_next(
        &self,
        member: Member<'_>,
        pulled: Option<I>,
    ) -> Option<Result<R, JoinError>> {
        let registry = member.registry;
        let pulled = pulled.map(|item| self.admit(registry, Some(member), item));
        let (next, left) = self.exchange(pulled);
        if left > 0 {
            registry.added_raw();
        }
        Some(self.run(member, next?))
    }

    /// Adds an item, and takes the first one. Returns how many are left.
    fn exchange(&self, pulled: Option<RawItem<I>>) -> (Option<RawItem<I>>, usize) {
        let mut state = lock(&self.state);
        state.items.extend(pulled);
        let next = match state.submitted.is_empty() {
            true => state.items.pop_front(),
            false => None,
        };
        let left = state.items.len();
        self.f.1.raw_count.change(left);
        (next, left)
    }

    /// Consumer: takes the handles of the items that were submitted.
    pub(super) fn take_submitted(&self) -> Vec<JoinHandle<Chunk<R>>> {
        std::mem::take(&mut lock(&self.state).submitted)
    }

    /// Runs an item as its task would run.
    fn run(&self, member: Member<'_>, next: RawItem<I>) -> Result<R, JoinError> {
        let RawItem { item, queued_ns } = next;
        let id = TaskId::next();
        member.counters.executed.add(1);
        let outer = member.running.begin(id.0.get());
        let token = token::enter(member.slot, None);
        // An item hides the name of a task further down on the stack.
        let named = outer != 0 && member.running.is_named();
        let outer_name = named.then(|| member.running.set_name(None)).flatten();
        let begun_ns = (queued_ns != 0).then(|| begin_measured(member, queued_ns));
        let is_timed = id.0.get().is_multiple_of(TIMED);
        let running = is_timed.then(|| self.f.begin());
        let result = unwind::catch(|| self.f.apply(item));
        drop(running);
        if let Some(begun_ns) = begun_ns {
            end_measured(member, begun_ns);
        }
        if named {
            member.running.set_name(outer_name);
        }
        drop(token);
        let result = match result {
            Ok(value) => {
                member.counters.completed.add(1);
                Ok(value)
            }
            Err(payload) => {
                member.counters.failed.add(1);
                let location = location::of(&payload);
                Err(JoinError::panicked(payload, id, None).at(location))
            }
        };
        member.running.back(outer);
        result
    }
}
