//! For how long what was seen in a pool has not changed, as far as those know who look now and then.

/// What is compared of a thread between two looks.
pub(crate) type Signature = [u64; 4];

/// What earlier looks have seen.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    /// By slot: what was seen, and when it was seen first.
    slots: Vec<(Signature, u64)>,
    queue: Queue,
}

/// What a look has seen of the queues.
#[derive(Debug, Default)]
struct Queue {
    entries: usize,
    runs: u64,
    seen_ns: u64,
}

impl Looks {
    /// Compares what is seen of a slot with earlier looks. Returns for how long it has been the same at least, in nanoseconds.
    pub(crate) fn same_for(&mut self, slot: usize, signature: Signature, now_ns: u64) -> u64 {
        if self.slots.len() <= slot {
            self.slots.resize(slot + 1, (Signature::default(), now_ns));
        }
        let seen = &mut self.slots[slot];
        if seen.0 != signature {
            *seen = (signature, now_ns);
        }
        now_ns.saturating_sub(seen.1)
    }

    /// Compares what is seen of the queues with earlier looks. `runs` is the number of things that have run in the pool. Returns how long the oldest entry
    /// has been queued at least, in nanoseconds.
    ///
    /// If fewer things have run since a look than it saw entries, one of these entries is still there.
    pub(crate) fn queued_for(&mut self, entries: usize, runs: u64, now_ns: u64) -> u64 {
        let queue = &mut self.queue;
        let taken = usize::try_from(runs.saturating_sub(queue.runs)).unwrap_or(usize::MAX);
        if entries == 0 || taken >= queue.entries {
            *queue = Queue {
                entries,
                runs,
                seen_ns: now_ns,
            };
        }
        now_ns.saturating_sub(queue.seen_ns)
    }
}

#[cfg(all(test, not(any(heist_loom, heist_shuttle))))]
mod tests {
    use super::Looks;

    #[test]
    fn what_does_not_change_gets_older() {
        let mut looks = Looks::default();
        assert_eq!(looks.same_for(3, [1, 0, 0, 0], 100), 0);
        assert_eq!(looks.same_for(3, [1, 0, 0, 0], 170), 70);
        assert_eq!(looks.same_for(2, [1, 0, 0, 0], 180), 0);
        assert_eq!(looks.same_for(3, [1, 2, 0, 0], 190), 0);
        assert_eq!(looks.same_for(3, [1, 2, 0, 0], 191), 1);
    }

    #[test]
    fn an_entry_is_as_old_as_the_look_whose_entries_have_not_all_run() {
        let mut looks = Looks::default();
        assert_eq!(looks.queued_for(5, 10, 100), 0);
        assert_eq!(looks.queued_for(9, 14, 200), 100);
        assert_eq!(looks.queued_for(8, 15, 300), 0);
        assert_eq!(looks.queued_for(1, 22, 400), 100);
        assert_eq!(looks.queued_for(0, 22, 500), 0);
        assert_eq!(looks.queued_for(0, 22, 600), 0);
    }
}
