//! How a thread waits for a task: it runs the task itself if it may, then blocks.

pub(crate) use super::awaited::Target;
use super::task::TaskRef;
use super::{awaited, suspend, timer, tombstones};
use crate::job::Task;
use crate::latch::Latch;
use crate::pool::{self, Member, Registry, Role, context, worker};
use crate::record::Wait;
use crate::sleep::{Event, Parker, Waited};
use crate::sync::{Arc, MODEL, now, thread};
use crate::unwind;
use std::time::Instant;

/// Waits for a task. Returns false if the deadline has passed. See [`timer::block`].
pub(super) fn wait(task: &TaskRef, deadline: Option<Instant>) -> bool {
    task.check_fork();
    timer::block(task, deadline)
}

/// Waits for a task, which the current thread runs itself if it takes part in a pool and the task is queued: a closure that has not begun, a future whenever it was
/// woken. It may be the only thread that can.
pub(super) fn join(task: &TaskRef) {
    run_here(task);
    if !task.state.is_future() || context::member().is_none() {
        wait(task, None);
        return;
    }
    let mut glances = Glances::default();
    while !task.state.is_finished() {
        task.check_fork();
        suspend::with_waker(task, |waker| {
            let target = Target::Waker(waker);
            if task.state.is_to_run() {
                glances.run_awaited(target);
            } else {
                block_for(&Progress(task), target);
            }
        });
        run_here(task);
    }
}

/// Blocks until the event, which comes with a notification of the target. Where no other thread can, the current one runs tasks whose ends lead to it, and returns.
pub(crate) fn block_for(event: &impl Event, target: Target<'_>) {
    let unset = block_or_find(event, target).into_iter();
    unset
        .take_while(|_| !event.is_set())
        .for_each(|task| run_here(&task));
}

/// Blocks until the event, or returns tasks whose ends lead to the target and that no other thread can run.
pub(super) fn block_or_find(event: &impl Event, target: Target<'_>) -> Vec<TaskRef> {
    let mut patience = awaited::PATIENCE;
    while !event.is_set() {
        let Some(member) = context::member() else {
            timer::block(event, None);
            break;
        };
        let tasks = find_awaited(member, target, awaited::find);
        if !tasks.is_empty() {
            return tasks;
        }
        // A wait with a time limit runs nothing unrelated. A model has no time.
        let is_limited = !MODEL && !worker::waits_any(member.registry);
        let until = now().checked_add(patience).filter(|_| is_limited);
        if timer::block(event, until) {
            break;
        }
        patience = (patience * 2).min(awaited::MOST_PATIENCE);
    }
    Vec::new()
}

/// Finds tasks whose ends lead to the target, in the pools in which the thread takes part and in the target's.
fn find_awaited(
    member: Member<'_>,
    target: Target<'_>,
    find: impl Fn(Member<'_>, Target<'_>) -> Vec<TaskRef>,
) -> Vec<TaskRef> {
    let mut tasks = find(member, target);
    // A thread that acts in another pool than its own is missing there.
    let home = context::home().filter(|home| !home.is_of(member.registry));
    tasks.extend(home.into_iter().flat_map(|home| find(home, target)));
    let is_here =
        |pool| pool == member.registry.id || home.is_some_and(|home| home.registry.id == pool);
    if let Some(pool) = target.pool().filter(|&pool| !MODEL && !is_here(pool)) {
        pool::with_pool(pool, |registry| {
            worker::as_guest(registry, |guest| tasks.extend(find(guest, target)));
        });
    }
    tasks
}

/// Looks now and then for what the target awaits, while the thread always finds a future to poll. Meanwhile no spare thread stands in for it.
#[derive(Default)]
pub(super) struct Glances(Option<Instant>);

impl Glances {
    /// Runs a task whose end leads to the target, if it is time to look for one.
    pub(super) fn run_awaited(&mut self, target: Target<'_>) {
        if MODEL {
            return;
        }
        let now = now();
        let last = *self.0.get_or_insert(now);
        if now.saturating_duration_since(last) < awaited::PATIENCE {
            return;
        }
        let tasks = context::member().map(|member| find_awaited(member, target, awaited::find_all));
        if let Some(task) = tasks.unwrap_or_default().first() {
            run_here(task);
        }
        self.0 = Some(crate::sync::now());
    }
}

/// The event that a future is queued, is left, or has finished.
struct Progress<'a>(&'a TaskRef);

impl Event for Progress<'_> {
    fn is_set(&self) -> bool {
        self.0.state.is_to_run() || self.0.state.is_finished()
    }

    fn kind(&self) -> (Wait, u64) {
        self.0.kind()
    }

    fn register(&self, parker: &Arc<Parker>) -> bool {
        if !self.0.register(parker) {
            return false;
        }
        // ORDERING: setting `JOINED` and queueing the future are read-modify-writes of the same word: whichever comes second sees the other.
        self.0.state.set_joined();
        let waits = !self.is_set();
        if !waits {
            self.unregister(parker);
        }
        waits
    }

    fn unregister(&self, parker: &Arc<Parker>) {
        self.0.unregister(parker);
    }

    fn waited(&self) -> Waited {
        self.0.waited()
    }
}

/// Runs the task on the current thread, if the thread takes part in a pool and the task is queued. Drops a future that is left.
pub(super) fn run_here(task: &TaskRef) {
    if context::member().is_some() && task.state.is_to_run() {
        // A thread of another pool becomes a guest. If it only waited, two pools whose tasks join each other's tasks would wait forever.
        pool::with_pool(task.pool(), |registry| run_in(registry, task));
    }
}

/// Runs a task of this pool on the current thread if the task is queued. A thread that does not take part in the pool becomes its guest for that time.
pub(super) fn run_in(registry: &Registry, task: &TaskRef) {
    if !task.state.is_to_run() {
        return;
    }
    match context::member() {
        Some(member) if member.is_of(registry) => {
            run_at(member, task);
            member.look_idle_after_help();
        }
        _ => worker::as_guest(registry, |member| run_at(member, task)),
    }
}

/// Implements [`run_in`] on a thread that takes part in the pool.
fn run_at(member: Member<'_>, task: &TaskRef) {
    // A thread that unwinds runs no task itself, because in the task `thread::panicking` would return true.
    if context::is_deep() || unwind::panicking() {
        run_on_fresh_stack(member, task);
        return;
    }
    if task.finish_left() {
        note_left_entry(member.registry, task);
        return;
    }
    // If the task is the newest in this thread's own deque, it is taken out, so that it leaves no tombstone.
    if let Some(queued) = pop_own(member, task) {
        member.run_in_place(queued);
    } else if task.run_queued(member) {
        task.leave_tombstone_at(member);
    }
}

/// A future that was left has been dropped, whose entry is still in an injector.
fn note_left_entry(registry: &Registry, task: &TaskRef) {
    match task.is_scoped() {
        true => registry.add_scope_tombstones(1, tombstones::is_dead),
        false => registry.add_tombstones(1, tombstones::is_dead),
    }
}

/// Takes the task from the end of this thread's own deque, together with the tombstones above it, so that a recursion that joins what it has submitted leaves no
/// tombstones. Returns `None` if another task is the newest.
fn pop_own(member: Member<'_>, target: &TaskRef) -> Option<Task> {
    if member.role() == Role::Guest {
        return None;
    }
    while let Some(task) = member.pop_detached() {
        if target.is(&task) {
            return Some(task);
        }
        if !tombstones::is_dead(&task) {
            member.push_detached(task);
            member.registry.after_put_back();
            return None;
        }
        drop(task);
    }
    None
}

/// Starts a thread that runs the task, or polls a future, and waits for that. Called if little stack is left on the current thread, or if it unwinds.
#[cold]
fn run_on_fresh_stack(member: Member<'_>, task: &TaskRef) {
    let registry = member.registry;
    let Some(shared) = registry.this.upgrade() else {
        return;
    };
    let is_left = task.state.is_left();
    if is_left {
        note_left_entry(registry, task);
    } else if task.claim_of(registry).is_some() {
        task.leave_tombstone_at(member);
    } else {
        return;
    }
    let end = move |task: TaskRef, member: Member<'_>| match is_left {
        true => drop(task.finish_left()),
        false => task.run_claimed(member),
    };
    let done = Latch::new(1);
    let ended = done.clone();
    let (claimed, stack) = (task.clone(), registry.config.stack_size_or_default());
    let stands_in = worker::stand_in_for(registry);
    let builder = thread::Builder::new().name("heist-deep".to_owned());
    let run = move || {
        context::begin_fresh_stack(stack / 2, stands_in);
        worker::as_guest(&shared, |member| end(claimed, member));
        ended.count_down();
    };
    // Std panics if the size is larger than the system can be asked for.
    match unwind::catch(|| builder.stack_size(stack).spawn(run)) {
        Ok(Ok(thread)) => {
            timer::block_idly(&done);
            // The thread is about to end, and does not panic.
            let _ = thread.join();
        }
        not_started => {
            unwind::drop_quietly(not_started);
            registry.start_failures.add_shared(1);
            end(task.clone(), member);
        }
    }
}
