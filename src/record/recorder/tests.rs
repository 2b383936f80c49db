//! What a recorder writes, event by event.

use super::*;
use crate::record::ring::EVENT_SIZE;
use crate::record::{Named, Recording, Snapshot, TraceSettings};

fn recorder() -> Recorder {
    let recorder = Recorder::new(1 << 10, Arc::default(), Arc::default(), true);
    recorder.begin(1_000_000_000_000);
    recorder
}

fn entries(recorder: &Recorder) -> Vec<(u64, Entry)> {
    let copied = recorder.copy();
    // SAFETY: the recorder has made the words.
    let unpack = |words| unsafe { Entry::unpack(words) };
    copied.events.into_iter().map(unpack).collect()
}

fn site() -> SiteWord {
    SiteWord::of(Named::<u8>::SCOPE)
}

#[test]
#[cfg_attr(
    any(heist_loom, heist_shuttle),
    ignore = "uses the types of a model outside of one"
)]
fn short_runs_are_one_batch() {
    let recorder = recorder();
    recorder.found_work();
    recorder.put(Entry::Park);
    for _ in 0..10 {
        recorder.short_run_begins(site());
        recorder.short_run_ends(false);
    }
    recorder.finds_nothing();
    let entries = entries(&recorder);
    let [
        (begin, Entry::Park),
        (end, batch),
        (idle, Entry::WaitBegin { on: Wait::Idle, .. }),
    ] = entries[..]
    else {
        panic!("{entries:?}");
    };
    let Entry::Batch {
        ticks, count: 10, ..
    } = batch
    else {
        panic!("{batch:?}");
    };
    assert!(begin <= end - ticks && end <= idle);
}

#[test]
#[cfg_attr(
    any(heist_loom, heist_shuttle),
    ignore = "uses the types of a model outside of one"
)]
fn an_event_within_a_short_run_lies_between_its_begin_and_its_end() {
    let recorder = recorder();
    recorder.short_run_begins(site());
    recorder.short_run_ends(false);
    recorder.short_run_begins(site());
    recorder.short_run_begins(site());
    recorder.put(Entry::Park);
    recorder.put(Entry::Unpark);
    recorder.short_run_ends(false);
    recorder.short_run_ends(true);
    let entries = entries(&recorder);
    let kinds: Vec<_> = entries.iter().map(|(_, entry)| *entry).collect();
    let begin = Entry::RunBegin {
        what: Work::ScopeTask,
        id: 0,
        name: Name::Site(site()),
    };
    assert!(matches!(kinds[0], Entry::Batch { count: 1, .. }));
    let rest = [
        begin,
        begin,
        Entry::Park,
        Entry::Unpark,
        Entry::RunEnd(Outcome::Returned),
        Entry::RunEnd(Outcome::Panicked),
    ];
    assert_eq!(kinds[1..], rest);
    assert!(entries.is_sorted_by_key(|&(time, _)| time));
}

#[test]
#[cfg_attr(
    any(heist_loom, heist_shuttle),
    ignore = "uses the types of a model outside of one"
)]
fn the_end_of_a_run_is_the_begin_of_the_next() {
    let recorder = recorder();
    let name = Name::Site(SiteWord::UNKNOWN);
    for id in 1..=2 {
        recorder.run_begins(Work::Task, id, name);
        recorder.run_ends(Outcome::Returned);
    }
    recorder.finds_nothing();
    let times: Vec<_> = entries(&recorder).iter().map(|&(time, _)| time).collect();
    assert_eq!((times[1], times[3]), (times[2], times[4]));
}

#[test]
#[cfg_attr(
    any(heist_loom, heist_shuttle),
    ignore = "uses the types of a model outside of one"
)]
fn a_stolen_run_begins_at_the_steal() {
    let recorder = recorder();
    recorder.finds_nothing();
    recorder.stole(3, Work::ScopeTask, false);
    recorder.short_run_begins(site());
    recorder.short_run_ends(false);
    let entries = entries(&recorder);
    let [
        _,
        (_, Entry::WaitEnd),
        (steal, Entry::Steal { victim: 3, .. }),
        (begin, run),
        (_, end),
    ] = entries[..]
    else {
        panic!("{entries:?}");
    };
    assert!(matches!(
        run,
        Entry::RunBegin {
            what: Work::ScopeTask,
            ..
        }
    ));
    assert_eq!((steal, end), (begin, Entry::RunEnd(Outcome::Returned)));
}

#[test]
#[cfg_attr(
    any(heist_loom, heist_shuttle),
    ignore = "uses the types of a model outside of one"
)]
fn a_recording_stays_within_its_budget() {
    let recording = Recording::default();
    let settings = TraceSettings::new(std::time::Duration::MAX).max_bytes(1 << 16);
    recording.start(settings, 2, None);
    let recorders: Vec<_> = (0..100)
        .map(|slot| recording.attach(Some(slot), true).expect("a recording"))
        .collect();
    let bytes: usize = recorders
        .iter()
        .map(|recorder| recorder.ring.capacity() * EVENT_SIZE)
        .sum();
    assert!(bytes <= 1 << 16 && bytes > 1 << 15, "{bytes}");
    for recorder in &recorders {
        (0..100).for_each(|_| recorder.put(Entry::Park));
    }
    let snapshot: Snapshot<()> = recording.snapshot().expect("a recording");
    for track in &snapshot.tracks {
        assert_eq!(track.written, 100);
        assert_eq!(track.lost + track.events.len() as u64, track.written);
    }
    recording.stop();
    assert!(recording.snapshot::<()>().is_none());
}
