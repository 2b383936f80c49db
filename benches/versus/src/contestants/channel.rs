//! A pool of threads on a crossbeam channel, and an ordered stream over two bounded channels: what a user can build from good parts.

use super::peer::{Peer, SpawnPeer};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use std::collections::VecDeque;
use std::thread::{self, JoinHandle};

type Task = Box<dyn FnOnce() + Send>;

/// Threads that take boxed tasks from a channel. Results come by a oneshot channel.
pub struct Channel {
    /// `None` while the pool is dropped.
    tasks: Option<Sender<Task>>,
    threads: Vec<JoinHandle<()>>,
}

impl Peer for Channel {
    const NAME: &'static str = "channel";

    fn build(threads: usize) -> Self {
        let (sender, receiver) = unbounded::<Task>();
        let threads = (0..threads)
            .map(|_| {
                let receiver = receiver.clone();
                thread::spawn(move || receiver.into_iter().for_each(|task| task()))
            })
            .collect();
        Self {
            tasks: Some(sender),
            threads,
        }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.tasks = None;
        for thread in self.threads.drain(..) {
            thread.join().expect("a worker panicked");
        }
    }
}

impl SpawnPeer for Channel {
    fn spawn_task<F>(&self, task: F)
    where
        F: FnOnce() + Send + 'static,
    {
        let tasks = self.tasks.as_ref().expect("dropped last");
        tasks.send(Box::new(task)).expect("a worker panicked");
    }
}

/// Threads that map numbered items from one bounded channel into another. The reader of the results feeds the items and
/// puts the results in order.
pub struct OrderedChannels<I, R> {
    /// `None` while the pool is dropped.
    items: Option<Sender<(usize, I)>>,
    results: Receiver<(usize, R)>,
    window: usize,
    threads: Vec<JoinHandle<()>>,
}

impl<I, R> OrderedChannels<I, R>
where
    I: Send + 'static,
    R: Send + 'static,
{
    /// Starts the threads. At most `window` items are running, or finished and not read.
    pub fn new(threads: usize, window: usize, f: fn(I) -> R) -> Self {
        let (items, to_map) = bounded::<(usize, I)>(window);
        let (mapped, results) = bounded(window);
        let threads = (0..threads)
            .map(|_| {
                let (to_map, mapped) = (to_map.clone(), mapped.clone());
                thread::spawn(move || {
                    for (index, item) in to_map {
                        if mapped.send((index, f(item))).is_err() {
                            return;
                        }
                    }
                })
            })
            .collect();
        Self {
            items: Some(items),
            results,
            window,
            threads,
        }
    }

    /// The results in the order of the input. The iterator must be read to its end.
    pub fn map(&mut self, mut input: impl Iterator<Item = I>) -> impl Iterator<Item = R> {
        let this = &*self;
        let items = this.items.as_ref().expect("dropped last");
        // The results from the next one to return to the last one whose item was fed.
        let mut unread: VecDeque<Option<R>> = VecDeque::with_capacity(self.window);
        let mut first = 0;
        std::iter::from_fn(move || {
            while unread.len() < this.window
                && let Some(item) = input.next()
            {
                items
                    .send((first + unread.len(), item))
                    .expect("a worker panicked");
                unread.push_back(None);
            }
            while unread.front()?.is_none() {
                let (index, result) = this.results.recv().expect("a worker panicked");
                unread[index - first] = Some(result);
            }
            first += 1;
            unread.pop_front()?
        })
    }
}

impl<I, R> Drop for OrderedChannels<I, R> {
    fn drop(&mut self) {
        self.items = None;
        for thread in self.threads.drain(..) {
            thread.join().expect("a worker panicked");
        }
    }
}
