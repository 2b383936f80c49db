//! The lists of available threads, behind the mutex of the sleep protocol.

/// The available threads, whose number is `Counts::available`, and the threads that exist.
#[derive(Debug, Default)]
pub(super) struct Idle {
    /// The slots of workers that are parked free.
    pub(super) workers: Vec<usize>,
    /// The slots of threads that are parked in the middle of a wait and may run anything.
    pub(super) waiters: Vec<usize>,
    /// The slots of spares that are parked free.
    pub(super) spares: Vec<usize>,
    /// The indices of workers that have no thread yet. The last one is started first.
    pub(super) unstarted: Vec<usize>,
    /// The number of spares that can still be started.
    pub(super) spares_left: usize,
    /// The number of spares that have a thread or are about to get one.
    pub(super) spares_started: usize,
    /// For each worker's index, whether the worker has a thread or is about to get one.
    pub(super) present: Vec<bool>,
    /// Whether the threads leave when all are idle.
    pub(super) closed: bool,
    /// Whether no thread starts any more.
    pub(super) retired: bool,
    /// Whether the caller of the library provides the threads, each once, so that a worker that has left is not available again.
    pub(super) caller_threads: bool,
    /// The number of threads that never leave.
    pub(super) residents: usize,
}

/// Takes a thread off a list. Returns whether it was on the list.
pub(super) fn take(list: &mut Vec<usize>, thread: usize) -> bool {
    let place = list.iter().position(|&other| other == thread);
    place.map(|place| list.remove(place)).is_some()
}

impl Idle {
    /// Notes that the worker with this index has no thread any more. Returns whether it can be started again.
    pub(super) fn absent(&mut self, index: usize, target: usize) -> bool {
        self.present[index] = false;
        let wanted = index < target && !self.retired && !self.caller_threads;
        if wanted {
            self.unstarted.push(index);
        }
        wanted
    }

    /// Notes that a spare has no thread any more. Returns whether it can be started again.
    pub(super) fn spare_back(&mut self) -> bool {
        self.spares_started -= 1;
        self.spares_left += usize::from(!self.retired);
        !self.retired
    }

    /// Whether a thread other than the caller is neither parked free nor about to leave.
    pub(super) fn others_work(&self) -> bool {
        let workers = self.present.iter().filter(|&&present| present).count();
        let parked = self.workers.len() + self.spares.len();
        workers + self.spares_started > self.residents + parked + 1
    }

    /// Lets no thread start from now on. Returns the number of threads that could have been started.
    pub(super) fn retire(&mut self) -> usize {
        self.retired = true;
        let unstarted = std::mem::take(&mut self.unstarted).len();
        unstarted + std::mem::take(&mut self.spares_left)
    }
}
