//! The task queues: crossbeam's, or, under loom, a mutex around a list, since crossbeam's atomics are not the model's. Under shuttle
//! each operation is one step.

#[cfg(not(loom))]
pub(crate) use real::*;

#[cfg(loom)]
pub(crate) use model::*;

#[cfg(not(loom))]
mod real {
    use crate::job::Task;
    use crate::sync::turn;
    use crossbeam_deque as deque;

    /// The owner's end of a worker's deque, last in first out.
    pub(crate) struct Local(deque::Worker<Task>);
    /// The thieves' end, first in first out.
    pub(crate) struct Stealer(deque::Stealer<Task>);
    /// The pool's queue, first in first out.
    pub(crate) struct Injector(deque::Injector<Task>);

    impl Local {
        pub(crate) fn new() -> Self {
            Local(deque::Worker::new_lifo())
        }
        pub(crate) fn stealer(&self) -> Stealer {
            Stealer(self.0.stealer())
        }
        #[inline]
        pub(crate) fn push(&self, task: Task) {
            turn();
            self.0.push(task);
        }
        #[inline]
        pub(crate) fn pop(&self) -> Option<Task> {
            turn();
            self.0.pop()
        }
    }

    impl Stealer {
        pub(crate) fn steal(&self) -> Option<Task> {
            turn();
            insist(|| self.0.steal())
        }
        pub(crate) fn len(&self) -> usize {
            turn();
            self.0.len()
        }
    }

    impl Injector {
        pub(crate) fn new() -> Self {
            Injector(deque::Injector::new())
        }
        pub(crate) fn push(&self, task: Task) {
            turn();
            self.0.push(task);
        }
        pub(crate) fn steal(&self) -> Option<Task> {
            turn();
            // The check keeps idle searchers from writing to the queue's lines.
            if self.0.is_empty() {
                return None;
            }
            insist(|| self.0.steal())
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

    /// Each retry means that another thief got on.
    fn insist(steal: impl Fn() -> deque::Steal<Task>) -> Option<Task> {
        loop {
            match steal() {
                deque::Steal::Success(task) => return Some(task),
                deque::Steal::Empty => return None,
                deque::Steal::Retry => std::hint::spin_loop(),
            }
        }
    }
}

#[cfg(loom)]
mod model {
    use crate::job::Task;
    use crate::sync::{Arc, AtomicUsize, Mutex, Ordering, lock};
    use std::collections::VecDeque;

    /// Its length can be read without the lock. Crossbeam's queues are no locks either: one taken for each look
    /// would order the looker's other words, and hide a fence that is missing.
    struct List {
        tasks: Mutex<VecDeque<Task>>,
        len: AtomicUsize,
    }

    impl List {
        fn new() -> Self {
            List {
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
            if self.len() == 0 {
                return None;
            }
            self.change(take)
        }

        fn len(&self) -> usize {
            self.len.load(Ordering::Acquire)
        }
    }

    pub(crate) struct Local(Arc<List>);
    pub(crate) struct Stealer(Arc<List>);
    pub(crate) struct Injector(List);

    impl Local {
        pub(crate) fn new() -> Self {
            Local(Arc::new(List::new()))
        }
        pub(crate) fn stealer(&self) -> Stealer {
            Stealer(Arc::clone(&self.0))
        }
        pub(crate) fn push(&self, task: Task) {
            self.0.change(|tasks| tasks.push_back(task));
        }
        pub(crate) fn pop(&self) -> Option<Task> {
            self.0.take(VecDeque::pop_back)
        }
    }

    impl Stealer {
        pub(crate) fn steal(&self) -> Option<Task> {
            self.0.take(VecDeque::pop_front)
        }
        pub(crate) fn len(&self) -> usize {
            self.0.len()
        }
    }

    impl Injector {
        pub(crate) fn new() -> Self {
            Injector(List::new())
        }
        pub(crate) fn push(&self, task: Task) {
            self.0.change(|tasks| tasks.push_back(task));
        }
        pub(crate) fn steal(&self) -> Option<Task> {
            self.0.take(VecDeque::pop_front)
        }
        pub(crate) fn len(&self) -> usize {
            self.0.len()
        }
        pub(crate) fn is_empty(&self) -> bool {
            self.0.len() == 0
        }
    }
}
