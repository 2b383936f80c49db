use super::*;
use crate::job::Fate;
use crate::pool::Priority;
use crate::pool::injector::PriorityQueues;
use crate::sleep::Sleep;
use std::ptr;
use std::sync::Mutex;

/// Queues tasks that note `thread` and a number, on a thread of its own.
fn queue(parts: &Shards<Injector>, noted: &Mutex<Vec<(usize, usize)>>, thread: usize) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..100 {
                let note = move |_: Fate| noted.lock().unwrap().push((thread, number));
                // SAFETY: the test ends each task, and then what the tasks borrow.
                parts
                    .own()
                    .push(unsafe { Task::new(ptr::null(), None, note) });
            }
        });
    });
}

#[test]
fn the_tasks_of_each_thread_keep_their_order() {
    for threads in [1, 4, 8, 32, 256] {
        let parts = Shards::new(threads, Injector::new);
        assert_eq!(
            parts.iter().count(),
            (threads / THREADS_EACH).clamp(1, MOST)
        );
        let noted = Mutex::default();
        for thread in 0..5 {
            queue(&parts, &noted, thread);
        }
        let mut search = 0;
        while let Some(task) = parts.steal(search) {
            task.resolve(Fate::Run, None);
            search += 1;
        }
        let mut noted = noted.into_inner().unwrap();
        assert_eq!(noted.len(), 500);
        // A stable sort keeps the order of each thread's tasks.
        noted.sort_by_key(|(thread, _)| *thread);
        let all = (0..5).flat_map(|thread| (0..100).map(move |number| (thread, number)));
        assert!(noted.into_iter().eq(all));
    }
}

#[test]
fn a_thread_has_one_part_and_the_next_thread_another() {
    let parts = Shards::new(64, || 0_u8);
    let own = || ptr::from_ref(parts.own()).addr();
    assert_eq!(own(), own());
    let own_of_others: std::collections::BTreeSet<_> = (0..8)
        .map(|_| std::thread::scope(|scope| scope.spawn(own).join().unwrap()))
        .collect();
    assert!(own_of_others.len() > 1);
}

#[test]
fn all_parts_are_looked_at() {
    let (queues, sleep) = (PriorityQueues::new(64), Sleep::new(64, 0, false));
    for queued in 1..=20 {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // SAFETY: the task borrows nothing.
                let task = unsafe { Task::new(ptr::null(), None, |_| ()) };
                queues.push(task, Priority::Normal);
            });
        });
        assert_eq!(queues.len(), queued);
    }
    for (search, left) in (0..20).rev().enumerate() {
        assert!(!queues.offers_none(&sleep));
        assert!(queues.steal_next(search as u32, &sleep).is_some());
        assert_eq!(queues.len(), left);
    }
    assert!(queues.offers_none(&sleep) && queues.steal().is_none());
}
