//! The task queues: crossbeam's deques and the queue of [`fifo`](super::fifo), or a mutex around a list under loom, which does not model crossbeam's atomics.
//! Under shuttle each operation of a deque is one step.

#[cfg(not(heist_loom))]
pub(crate) use real::*;

#[cfg(heist_loom)]
pub(crate) use model::*;

#[cfg(not(heist_loom))]
mod real {
    use super::super::fifo::Fifo;
    use crate::job::{Task, TaskHeader};
    use crate::sync::{Deque, turn};
    use crossbeam_deque as deque;

    /// The owner's end of a worker's deque, last in, first out, or first in, first out.
    pub(crate) struct Local {
        deque: deque::Worker<Task>,
        lines: Deque,
        is_fifo: bool,
    }
    /// The thieves' end of a worker's deque, first in, first out.
    pub(crate) struct Stealer {
        deque: deque::Stealer<Task>,
        lines: Deque,
    }
    /// A queue that any thread uses at both ends, first in, first out.
    pub(crate) struct Injector(Fifo<TaskHeader>);

    impl Local {
        pub(crate) fn new() -> Self {
            Self::of(deque::Worker::new_lifo(), false)
        }
        pub(crate) fn new_fifo() -> Self {
            Self::of(deque::Worker::new_fifo(), true)
        }
        fn of(deque: deque::Worker<Task>, is_fifo: bool) -> Self {
            Local {
                deque,
                lines: Deque::new(),
                is_fifo,
            }
        }
        pub(crate) fn stealer(&self) -> Stealer {
            Stealer {
                deque: self.deque.stealer(),
                lines: self.lines.clone(),
            }
        }
        #[inline]
        pub(crate) fn push(&self, task: Task) {
            turn();
            self.lines.push();
            self.deque.push(task);
        }
        #[inline]
        pub(crate) fn pop(&self) -> Option<Task> {
            turn();
            self.lines.pop(|| self.deque.len(), self.is_fifo);
            self.deque.pop()
        }
        /// Without a fence, unlike the same question at the other end.
        pub(crate) fn is_empty(&self) -> bool {
            turn();
            self.lines.look();
            self.deque.is_empty()
        }
    }

    impl Stealer {
        pub(crate) fn steal(&self) -> Option<Task> {
            self.steal_by(|deque| deque.steal())
        }
        /// Steals some tasks, up to half of them, into `own`. Returns the first one.
        pub(crate) fn steal_some(&self, own: &Local) -> Option<Task> {
            self.steal_by(|deque| deque.steal_batch_and_pop(&own.deque))
        }
        #[inline]
        fn steal_by(
            &self,
            steal: impl Fn(&deque::Stealer<Task>) -> deque::Steal<Task>,
        ) -> Option<Task> {
            // A thread that finds nothing thus takes no part in the reclamation of memory, which costs more than the rest of a short
            // thread's life.
            if self.len() == 0 {
                return None;
            }
            loop {
                self.lines.steal();
                match steal(&self.deque) {
                    deque::Steal::Success(task) => return Some(task),
                    deque::Steal::Empty => return None,
                    // Another thief has made progress.
                    deque::Steal::Retry => std::hint::spin_loop(),
                }
            }
        }
        pub(crate) fn len(&self) -> usize {
            turn();
            self.lines.look();
            self.deque.len()
        }
    }

    impl Injector {
        pub(crate) fn new() -> Self {
            Injector(Fifo::new())
        }
        #[inline]
        pub(crate) fn push(&self, task: Task) {
            turn();
            self.0.push(task.header());
            std::mem::forget(task);
        }
        #[inline]
        pub(crate) fn steal(&self) -> Option<Task> {
            turn();
            let header = self.0.pop()?;
            // SAFETY: `push` has put the header of a task into the queue and has forgotten the task.
            Some(unsafe { Task::from_header(header) })
        }
        pub(crate) fn len(&self) -> usize {
            turn();
            self.0.len()
        }
        pub(crate) fn is_empty(&self) -> bool {
            turn();
            self.0.is_empty()
        }
    }

    impl Drop for Injector {
        fn drop(&mut self) {
            while self.steal().is_some() {}
        }
    }
}

#[cfg(heist_loom)]
mod model {
    use crate::job::Task;
    use crate::sync::{Arc, AtomicUsize, Mutex, Ordering, lock};
    use std::collections::VecDeque;

    /// The owner's end of a worker's deque, last in, first out, or first in, first out.
    pub(crate) struct Local {
        tasks: Stealer,
        is_fifo: bool,
    }
    /// The thieves' end of a worker's deque, first in, first out.
    pub(crate) type Stealer = Arc<Injector>;

    /// A queue that any thread uses at both ends, first in, first out.
    ///
    /// Its length is read without the lock. Crossbeam's queues have no lock either: taking one at each look would order the
    /// other accesses of the looking thread and hide a missing fence.
    pub(crate) struct Injector {
        tasks: Mutex<VecDeque<Task>>,
        len: AtomicUsize,
    }

    impl Local {
        pub(crate) fn new() -> Self {
            Local {
                tasks: Arc::new(Injector::new()),
                is_fifo: false,
            }
        }
        pub(crate) fn new_fifo() -> Self {
            Local {
                is_fifo: true,
                ..Self::new()
            }
        }
        pub(crate) fn stealer(&self) -> Stealer {
            Arc::clone(&self.tasks)
        }
        pub(crate) fn push(&self, task: Task) {
            self.tasks.push(task);
        }
        pub(crate) fn pop(&self) -> Option<Task> {
            self.tasks.take(if self.is_fifo {
                VecDeque::pop_front
            } else {
                VecDeque::pop_back
            })
        }
        pub(crate) fn is_empty(&self) -> bool {
            self.tasks.is_empty()
        }
    }

    impl Injector {
        pub(crate) fn new() -> Self {
            Injector {
                tasks: Mutex::new(VecDeque::new()),
                len: AtomicUsize::new(0),
            }
        }
        fn change<R>(&self, change: impl FnOnce(&mut VecDeque<Task>) -> R) -> R {
            let mut tasks = lock(&self.tasks);
            let result = change(&mut tasks);
            self.len.store(tasks.len(), Ordering::Release);
            result
        }
        fn take(&self, take: impl FnOnce(&mut VecDeque<Task>) -> Option<Task>) -> Option<Task> {
            if self.is_empty() {
                return None;
            }
            self.change(take)
        }
        pub(crate) fn push(&self, task: Task) {
            self.change(|tasks| tasks.push_back(task));
        }
        pub(crate) fn steal(&self) -> Option<Task> {
            self.take(VecDeque::pop_front)
        }
        /// Steals a task. Crossbeam's deque moves some into `own` at the same time.
        pub(crate) fn steal_some(&self, _own: &Local) -> Option<Task> {
            self.steal()
        }
        pub(crate) fn len(&self) -> usize {
            self.len.load(Ordering::Acquire)
        }
        pub(crate) fn is_empty(&self) -> bool {
            self.len() == 0
        }
    }
}
