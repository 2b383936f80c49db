use super::synth::{Plan, trace};
use crate::trace::forms::analysis::{Analysis, STATES};
use crate::trace::forms::slices::{NO_SITE, SliceKind, State, lay_out, segments};
use crate::trace::model::{Event, EventKind, Outcome, Trace, Track, TrackRole, Wait, Work};

/// A track with these events.
pub(super) fn track(lost: u64, events: &[(u64, EventKind)]) -> Track {
    let events: Vec<Event> = events
        .iter()
        .map(|&(time, kind)| Event { time, kind })
        .collect();
    Track {
        role: TrackRole::Worker(0),
        name: "w".to_owned(),
        thread_id: 1,
        written: lost + events.len() as u64,
        lost,
        older: 0,
        events,
    }
}

const RUN: EventKind = EventKind::RunBegin {
    what: Work::Task,
    id: 7,
    site: 1,
};
const RETURN: EventKind = EventKind::RunEnd {
    outcome: Outcome::Returned,
};
const WAIT: EventKind = EventKind::WaitBegin {
    on: Wait::Fork,
    id: 0,
};

fn shape(track: &Track, taken: u64) -> Vec<(u64, u64, u16, State)> {
    let lane = lay_out(track, taken);
    let slices = lane.slices.iter();
    slices
        .map(|slice| (slice.begin, slice.end, slice.level, slice.state()))
        .collect()
}

#[test]
fn runs_inside_of_waits_are_help() {
    let events = [
        (10, RUN),
        (20, WAIT),
        (30, RUN),
        (40, RETURN),
        (50, EventKind::WaitEnd),
    ];
    let found = shape(&track(0, &events), 100);
    let expected = [
        (10, 100, 0, State::Run),
        (20, 50, 1, State::Wait),
        (30, 40, 2, State::Help),
    ];
    assert_eq!(found, expected);
}

#[test]
fn slices_whose_beginnings_were_lost_begin_with_the_record() {
    let events = [
        (10, EventKind::Unpark),
        (20, EventKind::WaitEnd),
        (25, WAIT),
        (30, RETURN),
    ];
    let found = shape(&track(5, &events), 100);
    let expected = [
        (10, 30, 0, State::Run),
        (10, 20, 1, State::Wait),
        (10, 10, 2, State::Parked),
        (25, 30, 1, State::Wait),
    ];
    assert_eq!(found, expected);
    assert_eq!(lay_out(&track(5, &events), 100).slices[0].site, NO_SITE);
}

#[test]
fn ends_of_spans_that_belong_elsewhere_are_left_out() {
    let span = EventKind::SpanBegin { site: 2 };
    let events = [
        (1, EventKind::SpanEnd),
        (2, span),
        (3, RUN),
        (4, EventKind::SpanEnd),
        (6, RETURN),
        (8, EventKind::SpanEnd),
    ];
    let found = shape(&track(0, &events), 10);
    assert_eq!(found, [(2, 8, 0, State::Run), (3, 6, 1, State::Run)]);
}

#[test]
fn a_batch_begins_after_its_sibling() {
    let batch = EventKind::Batch {
        begin: 5,
        count: 9,
        site: 1,
    };
    let events = [(1, RUN), (8, RETURN), (20, batch)];
    let found = shape(&track(0, &events), 30);
    assert_eq!(found, [(1, 8, 0, State::Run), (8, 20, 0, State::Run)]);
}

#[test]
fn slices_nest_and_segments_add_up_whatever_was_lost() {
    for seed in 0..40 {
        let lost = seed as usize * 2;
        let trace = trace(Plan {
            seed,
            events: 3_000,
            lost,
            ..Plan::default()
        });
        for track in &trace.tracks {
            let lane = lay_out(track, trace.taken);
            let mut open: Vec<(u64, u64)> = Vec::new();
            let mut outer = 0;
            for slice in &lane.slices {
                open.truncate(usize::from(slice.level));
                assert_eq!(open.len(), usize::from(slice.level), "{seed}: {slice:?}");
                if let Some(&(begin, end)) = open.last() {
                    assert!(
                        begin <= slice.begin && slice.end <= end,
                        "{seed}: {slice:?}"
                    );
                } else {
                    assert!(slice.begin >= outer, "{seed}: {slice:?}");
                    outer = slice.end;
                }
                open.push((slice.begin, slice.end));
            }
            let mut sum = 0;
            let mut last = 0;
            segments(&lane.slices, |_, from, to| {
                assert!(from >= last && to > from);
                last = to;
                sum += to - from;
            });
            let own: u64 = lane.slices.iter().map(|slice| slice.own()).sum();
            assert_eq!(own, sum);
        }
    }
}

#[test]
fn the_analysis_counts_what_the_pool_counts() {
    for workers in [1, 2, 8, 64] {
        let trace = trace(Plan {
            workers,
            events: 20_000,
            ..Plan::default()
        });
        let found = Analysis::of(&trace);
        let sum = |of: fn(&crate::trace::forms::analysis::TrackTotals) -> u64| -> u64 {
            found.tracks.iter().map(of).sum()
        };
        assert_eq!(sum(|track| track.steals), trace.stats.steals);
        assert_eq!(sum(|track| track.parks), trace.stats.parks);
        let cancelled: u64 = found.rows.iter().map(|row| row.cancelled).sum();
        assert_eq!(cancelled, trace.stats.cancelled);
        let panicked: u64 = found.rows.iter().map(|row| row.panicked).sum();
        assert_eq!(panicked, trace.stats.failed);
        assert_eq!(
            found.waits.count,
            trace.stats.submitted - trace.stats.cancelled
        );
        let runs: u64 = trace
            .stats
            .workers
            .iter()
            .map(|worker| worker.executed)
            .sum();
        let events = trace.tracks.iter().flat_map(|track| &track.events);
        let batched: u64 = events
            .map(|event| match event.kind {
                EventKind::Batch { count, .. } => u64::from(count),
                _ => 0,
            })
            .sum();
        assert_eq!(found.runs.count, runs + batched);
        let times = found.times(&trace, |role| matches!(role, TrackRole::Worker(_)));
        let present: u64 = (0..workers as u64)
            .map(|w| trace.taken - 1_000 - 700 * w)
            .sum();
        assert_eq!(times.iter().sum::<u64>(), present);
        assert!(times[STATES.iter().position(|s| *s == State::Help).unwrap()] > 0);
    }
}

/// A trace of workers with these events.
fn by_hand(workers: Vec<Vec<(u64, EventKind)>>, taken: u64) -> Trace {
    let mut trace = trace(Plan {
        workers: workers.len(),
        events: 10,
        ..Plan::default()
    });
    trace.taken = taken;
    trace.tracks = workers.iter().map(|events| track(0, events)).collect();
    trace
}

#[test]
fn a_serial_stretch_is_found_with_what_ran_in_it() {
    let first = vec![
        (5, EventKind::Mark { site: 10 }),
        (10, RUN),
        (900, RETURN),
        (901, RUN),
        (1_000, RETURN),
    ];
    let second = vec![(20, RUN), (30, RETURN), (950, RUN), (990, RETURN)];
    let found = Analysis::of(&by_hand(vec![first, second], 1_000));
    assert_eq!(found.stretch, (30, 950));
    assert_eq!(found.serial, 10 + 870 + 49 + 10);
    assert_eq!((found.stretch_site, found.stretch_after), (1, 10));
}

#[test]
fn a_blocked_worker_is_found() {
    let wait = EventKind::WaitBegin {
        on: Wait::Handle,
        id: 3,
    };
    let events = vec![
        (0, RUN),
        (10, wait),
        (20, EventKind::Park),
        (700, EventKind::Unpark),
        (710, EventKind::WaitEnd),
        (800, RETURN),
    ];
    let found = Analysis::of(&by_hand(vec![events], 1_000));
    let blocked = found.blocked.expect("a worker that waits for a handle");
    assert_eq!((blocked.track, blocked.site, blocked.time), (0, 1, 700));
    assert_eq!(blocked.on, Wait::Handle);
}

#[test]
fn a_queue_that_grows_is_found_and_one_that_does_not_is_not() {
    let depths = |of: fn(u64) -> u64| {
        let depth = |time| EventKind::Depth {
            injector: of(time) as u32,
            deque: 0,
            ring: 0,
        };
        vec![(0..1_000).map(|time| (time, depth(time))).collect()]
    };
    let grows = Analysis::of(&by_hand(depths(|time| time), 1_000));
    let (time, from, to) = grows.growth.expect("it grows");
    assert!(time > 900 && from < 10 && to > 900);
    let stays = Analysis::of(&by_hand(depths(|time| 50 + time % 9), 1_000));
    assert_eq!(stays.growth, None);
}

#[test]
fn an_empty_trace_is_no_error() {
    let mut trace = trace(Plan {
        events: 0,
        ..Plan::default()
    });
    trace.tracks.clear();
    trace.sites.clear();
    trace.taken = 0;
    let found = Analysis::of(&trace);
    assert_eq!((found.runs.count, found.serial), (0, 0));
    let lane = lay_out(&track(0, &[]), 0);
    assert!(
        lane.slices
            .iter()
            .all(|slice| slice.kind == SliceKind::Park)
    );
}
