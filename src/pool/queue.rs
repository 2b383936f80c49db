//! The task queues: crossbeam's, or, under loom, a mutex around a list, since crossbeam's atomics are not the model's.

#[cfg(not(loom))]
pub(crate) use real::*;

#[cfg(loom)]
pub(crate) use model::*;

#[cfg(not(loom))]
mod real {
    use crate::job::Task;
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
            self.0.push(task);
        }
        #[inline]
        pub(crate) fn pop(&self) -> Option<Task> {
            self.0.pop()
        }
    }

    impl Stealer {
        pub(crate) fn steal(&self) -> Option<Task> {
            insist(|| self.0.steal())
        }
        pub(crate) fn len(&self) -> usize {
            self.0.len()
        }
    }

    impl Injector {
        pub(crate) fn new() -> Self {
            Injector(deque::Injector::new())
        }
        pub(crate) fn push(&self, task: Task) {
            self.0.push(task);
        }
        pub(crate) fn steal(&self) -> Option<Task> {
            // The check keeps idle searchers from writing to the queue's lines.
            if self.0.is_empty() {
                return None;
            }
            insist(|| self.0.steal())
        }
        pub(crate) fn len(&self) -> usize {
            self.0.len()
        }
        pub(crate) fn is_empty(&self) -> bool {
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
    use crate::sync::{Arc, Mutex, lock};
    use std::collections::VecDeque;

    type Shared = Arc<Mutex<VecDeque<Task>>>;

    pub(crate) struct Local(Shared);
    pub(crate) struct Stealer(Shared);
    pub(crate) struct Injector(Mutex<VecDeque<Task>>);

    impl Local {
        pub(crate) fn new() -> Self {
            Local(Arc::new(Mutex::new(VecDeque::new())))
        }
        pub(crate) fn stealer(&self) -> Stealer {
            Stealer(self.0.clone())
        }
        pub(crate) fn push(&self, task: Task) {
            lock(&self.0).push_back(task);
        }
        pub(crate) fn pop(&self) -> Option<Task> {
            lock(&self.0).pop_back()
        }
    }

    impl Stealer {
        pub(crate) fn steal(&self) -> Option<Task> {
            lock(&self.0).pop_front()
        }
        pub(crate) fn len(&self) -> usize {
            lock(&self.0).len()
        }
    }

    impl Injector {
        pub(crate) fn new() -> Self {
            Injector(Mutex::new(VecDeque::new()))
        }
        pub(crate) fn push(&self, task: Task) {
            lock(&self.0).push_back(task);
        }
        pub(crate) fn steal(&self) -> Option<Task> {
            lock(&self.0).pop_front()
        }
        pub(crate) fn len(&self) -> usize {
            lock(&self.0).len()
        }
        pub(crate) fn is_empty(&self) -> bool {
            lock(&self.0).is_empty()
        }
    }
}
