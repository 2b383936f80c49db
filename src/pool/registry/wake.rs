//! Who gets a thread for what was published, and how threads are started.

use super::Registry;
use crate::job::{Fate, Task};
use crate::lineage::{self, Origin};
use crate::pool::context;
use crate::pool::slot::{Helping, Seat, Slot};
use crate::pool::threads::{self, PoolThread};
use crate::sleep::{Need, Recruit};
use crate::sync::{Ordering, fence, lock};
use crate::{barrier, ring};

impl Registry {
    /// After work was made visible that descends from `origin`: gets a thread for it if that is of use.
    #[inline]
    pub(crate) fn published(&self, need: Need, origin: Origin) {
        let recruit = self.sleep.published(need);
        if recruit != Recruit::None {
            self.dispatch_to(recruit, || self.helper_above(origin));
        }
    }

    /// A searcher has looked, and found something, or may not take what it has not found: somebody else searches on, if there is more.
    pub(crate) fn pass_on(&self) {
        let recruit = self.sleep.found(|| {
            self.request_all();
            self.look()
        });
        match recruit {
            // A helper sees less than the searcher that it follows, so that this one looks for it, as whoever parks last does.
            Recruit::Helper { .. } if self.visible_helper().is_none() => {
                self.announce();
                self.dispatch(recruit);
            }
            // Of a guest that searched the last worker that parked has relied on a look at what only workers run.
            Recruit::None
                if self.sleep.counts().workers == 0 && self.sleep.still_wanted(Need::Worker) =>
            {
                self.fill_vacancy();
            }
            _ => self.dispatch(recruit),
        }
    }

    /// A searcher has something else to do first: somebody else searches, if there is anything.
    pub(crate) fn put_off(&self) {
        if self.sleep.put_off() && !self.fill_vacancy() {
            // Where nothing is ordered a look says too little.
            self.dispatch(self.sleep.recruit(Need::Help));
        }
    }

    /// Wakes or starts the recruit, after a look at all work that there is.
    pub(crate) fn dispatch(&self, recruit: Recruit) {
        self.dispatch_to(recruit, || self.visible_helper());
    }

    /// Wakes or starts the recruit; if it is to be a helper, the one that `find` says.
    fn dispatch_to<'a>(
        &'a self,
        mut recruit: Recruit,
        find: impl FnOnce() -> Option<(&'a Slot, Helping)>,
    ) {
        let mut find = Some(find);
        loop {
            recruit = match recruit {
                Recruit::None => return,
                Recruit::Unpark(slot) => return self.wake(slot),
                Recruit::StartWorker(index) => {
                    // Whoever published goes on without: the failure is counted and the next publisher tries again.
                    let _ = self.start(Seat::Worker(index));
                    return;
                }
                Recruit::StartSpare => {
                    let _ = self.start(Seat::Spare);
                    return;
                }
                Recruit::Helper { or_spare } => {
                    let found = match find.take() {
                        Some(find) => find(),
                        None => self.visible_helper(),
                    };
                    match found {
                        Some((helper, helping)) if self.rouse(helper, helping) => return,
                        // Others may have relied on the helper that was claimed: another look, as after a search.
                        Some(_) => match self.last_look() {
                            Ok(Some(need)) => self.sleep.recruit_for(need),
                            Ok(None) | Err(Unordered) => return,
                        },
                        None if or_spare => self.sleep.recruit_spare(),
                        None => return,
                    }
                }
            }
        }
    }

    // ---- helpers ----

    /// Wakes a helper, unless that is no longer wanted. False: it has woken by itself after it was counted, and is not counted any more.
    fn rouse(&self, helper: &Slot, helping: Helping) -> bool {
        if !self.sleep.claim_helper(helping.is_guest()) {
            return true;
        }
        let claimed = helper.claim_help(helping);
        if claimed {
            self.sleep.unregister_helper();
            self.wake(helper.id);
        } else {
            self.sleep.unclaim_helper(helping.is_guest());
        }
        claimed
    }

    /// `origin` and all from which it descends.
    fn ancestors(&self, origin: Origin) -> impl Iterator<Item = Origin> {
        lineage::ancestors(origin, |id| Some(&*self.slots.get(id)?.lineage))
    }

    /// Whether `origin` is `ancestor` or descends from it.
    pub(crate) fn descends(&self, origin: Origin, ancestor: Origin) -> bool {
        lineage::descends(origin, ancestor, |id| Some(&*self.slots.get(id)?.lineage))
    }

    /// A parked thread that may run what descends from `origin`.
    fn helper_above(&self, origin: Origin) -> Option<(&Slot, Helping)> {
        self.ancestors(origin).find_map(|origin| {
            let place = origin.place()?;
            let slot = self.slots.get(place.slot())?;
            Some((slot, slot.helps(place)?))
        })
    }

    /// A parked thread that may run some of what lies in rings and deques.
    fn visible_helper(&self) -> Option<(&Slot, Helping)> {
        self.slots().find_map(|slot| {
            let fork = || self.helper_above(slot.oldest_fork()?);
            let task = || {
                let any = slot.tasks.len() > 0;
                self.helper_above(any.then(|| slot.lineage.innermost())?)
            };
            fork().or_else(task)
        })
    }

    /// Wakes the thread of a slot, whatever it sleeps for.
    pub(crate) fn wake(&self, slot: usize) {
        self.count(|counters| &counters.wakeups, 1);
        self.slot(slot).parker.unpark();
        context::note_wake();
    }

    /// Has a letter run by the worker of `index`, whose thread is started if it is not there; where that fails, by the caller.
    pub(crate) fn deliver(&self, index: usize, letter: Task) {
        if self.sleep.claim_worker(index) && self.start(Seat::Worker(index)).is_err() {
            self.read(letter);
        } else {
            self.post(index, letter);
        }
    }

    /// Posts a letter to the worker of `index`, whose thread was started, and wakes it. Where there is none, runs it.
    pub(super) fn post(&self, index: usize, letter: Task) {
        let id = loop {
            // A worker that another thread is just starting gets its slot in a moment.
            if let Some(id) = lock(&self.threads).workers.get(index).copied().flatten() {
                break id;
            }
            // After a shutdown there is none.
            if !self.sleep.is_present(index) {
                self.read(letter);
                return;
            }
            crate::sync::yield_thread();
        };
        let slot = self.slot(id);
        slot.mail().post(letter);
        slot.parker.unpark();
        slot.mail().wake_elsewhere();
        context::note_wake();
        // If that start has failed meanwhile, or the worker has left, nobody would read the letter.
        if self.sleep.claim_worker(index) {
            let _ = self.start(Seat::Worker(index));
        } else if !self.sleep.is_present(index) {
            self.read_mail(slot);
        }
    }

    /// Runs the letters of a worker that is not there.
    pub(crate) fn read_mail(&self, slot: &Slot) {
        while let Some(letter) = slot.mail().take() {
            self.read(letter);
        }
    }

    /// Runs a letter on a thread that may have nothing more to do with the pool: who waits for idleness hears of its end.
    fn read(&self, letter: Task) {
        letter.resolve(Fate::Run, None);
        self.look_idle();
    }

    /// Starts a thread that is already counted awake and searching.
    pub(crate) fn start(&self, seat: Seat) -> std::io::Result<()> {
        let slot = self.acquire(seat);
        // ORDERING: Relaxed, a count; the thread's end lowers it.
        self.count_alive(seat, 1);
        let started = if self.forked() {
            Err(std::io::Error::other("the pool is the parent process's"))
        } else {
            threads::start(self, slot)
        };
        match started {
            Ok(handle) => {
                self.count(|counters| &counters.wakeups, 1);
                let handles = &mut lock(&self.threads).handles;
                // Of threads that have ended, spares and surplus workers, the system would keep the stacks.
                threads::let_go(handles);
                handles.push(handle);
                context::note_wake();
                Ok(())
            }
            Err(error) => {
                self.start_failures.add_shared(1);
                self.not_started(slot);
                Err(error)
            }
        }
    }

    /// There will be no thread on a slot that was acquired for one.
    pub(super) fn not_started(&self, slot: &Slot) {
        self.count_alive(slot.seat, usize::MAX);
        self.release(slot);
        self.sleep.start_failed(slot.seat.worker());
        self.look_idle();
        // To be had again, and nobody searches: the next pushes are to try. Who relied on the thread meanwhile gets
        // another that is there. Where nothing is ordered, threads nap only.
        if let Ok(Some(need)) = self.last_look() {
            self.dispatch(self.sleep.recruit_parked(need));
        }
        self.read_mail(slot);
        // Of two whose starts fail at the same time, the fences let at least one see that the other's is over.
        fence(Ordering::SeqCst);
        self.run_stranded();
    }

    /// The worker of `index`, for whom somebody else has a thread.
    pub(crate) fn foreign_thread(&self, index: usize) -> PoolThread {
        let seat = Seat::Worker(index);
        let slot = self.acquire(seat);
        self.count_alive(seat, 1);
        self.sleep.expect(index, true);
        PoolThread::new(self, slot, index)
    }

    /// There will be none.
    pub(crate) fn no_foreign_thread(&self, slot: &Slot, index: usize) {
        self.sleep.expect(index, false);
        self.ended(slot);
        self.read_mail(slot);
    }

    /// The current thread becomes worker 0. It does not look for work.
    pub(crate) fn adopt_current_thread(&self) {
        let slot = self.acquire(Seat::Worker(0));
        if self.config.foreign {
            self.sleep.adopt(0);
        } else {
            self.sleep.claim_worker(0);
        }
        context::settle(slot);
        // Nobody knows when the thread has no use for its slot any more.
        std::mem::forget(self.this.upgrade());
        self.pass_on();
    }

    /// A pool thread, at its very end.
    pub(crate) fn ended(&self, slot: &Slot) {
        self.release(slot);
        self.count_alive(slot.seat, usize::MAX);
        self.look_idle();
    }

    /// Adds 1 or, as `usize::MAX`, takes it away.
    pub(super) fn count_alive(&self, seat: Seat, one: usize) {
        // ORDERING: Relaxed, counts.
        self.alive.fetch_add(one, Ordering::Relaxed);
        if seat == Seat::Spare {
            self.spares.fetch_add(one, Ordering::Relaxed);
        }
    }

    pub(crate) fn alive_spares(&self) -> usize {
        self.spares.load(Ordering::Relaxed)
    }

    pub(crate) fn alive(&self) -> usize {
        self.alive.load(Ordering::Relaxed)
    }

    /// Asks every ring's owner to look for sleepers at its next push. Then whether there is anything now.
    ///
    /// This is the middle of the sleep protocol: the word was changed just before. `Err`: the kernel no longer orders
    /// anything; sleep with a time limit only.
    pub(crate) fn last_look(&self) -> Result<Option<Need>, Unordered> {
        self.last_look_beside(None)
    }

    /// [`last_look`](Self::last_look) by a thread that leaves the forks of its own slot alone: those do not count.
    pub(crate) fn last_look_beside(&self, slot: Option<&Slot>) -> Result<Option<Need>, Unordered> {
        let ordered = self.announce();
        match self.look_beside(slot) {
            None if !ordered => Err(Unordered),
            seen => Ok(seen),
        }
    }

    /// Asks every ring's owner to look for sleepers at its next push; what was pushed before is visible from now on. False: the kernel no
    /// longer orders anything.
    pub(crate) fn announce(&self) -> bool {
        self.request_all();
        self.count(|counters| &counters.barriers, 1);
        barrier::heavy()
    }

    pub(super) fn request_all(&self) {
        ring::announce(self.slots().map(|slot| &*slot.ring));
    }

    pub(super) fn look(&self) -> Option<Need> {
        self.look_beside(None)
    }

    fn look_beside(&self, left_alone: Option<&Slot>) -> Option<Need> {
        let has_help = |slot: &Slot| match left_alone {
            Some(other) if other.id == slot.id => slot.tasks.len() > 0,
            _ => slot.has_help(),
        };
        if self.has_detached() {
            Some(Need::Worker)
        } else if !self.strays.is_empty() || self.slots().any(has_help) {
            Some(Need::Help)
        } else {
            None
        }
    }

    /// The same where no other thread of the pool is awake.
    pub(crate) fn fill_quiet_vacancy(&self) {
        // ORDERING: pairs with the fence in `published`.
        fence(Ordering::SeqCst);
        self.fill_seen_vacancy();
    }

    /// Whether there is something that only a worker will run.
    pub(super) fn has_detached(&self) -> bool {
        !self.lanes.is_empty() || self.slots().any(|slot| slot.detached.len() > 0)
    }

    /// Room was made, and what there is to do is visible: finds a thread for it.
    pub(crate) fn fill_seen_vacancy(&self) {
        if let Some(need) = self.look() {
            self.dispatch(self.sleep.recruit_for(need));
        }
    }

    /// Room was made and nobody searches: finds a thread for what there is to do. Returns whether its heavy fence was in force.
    pub(crate) fn fill_vacancy(&self) -> bool {
        match self.last_look() {
            Ok(Some(need)) => self.dispatch(self.sleep.recruit_for(need)),
            Ok(None) => {}
            Err(Unordered) => return false,
        }
        true
    }
}

/// The heavy fence was refused.
#[derive(Debug)]
pub(crate) struct Unordered;
