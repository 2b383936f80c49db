//! Events that are packed and unpacked.

use super::*;

fn back(entry: Entry) -> (u64, Entry) {
    // SAFETY: `words` makes the words.
    unsafe { Entry::unpack(entry.words(12345)) }
}

#[test]
fn events_come_back_as_they_were() {
    let site = SiteWord::of(Named::<str>::JOIN);
    let mut entries = vec![
        Entry::ThreadBegin,
        Entry::GuestEnter,
        Entry::GuestLeave,
        Entry::WaitEnd,
        Entry::Park,
        Entry::Unpark,
        Entry::SpanEnd,
        Entry::Wake { whom: 7 },
        Entry::Finished { id: u32::MAX },
        Entry::Cancelled { id: 1 },
        Entry::TimedOut { id: 2 },
        Entry::Mark("a mark"),
        Entry::SpanBegin(""),
    ];
    entries.push(Entry::Depth {
        injector: 1 << 20,
        deque: 77,
        ring: 128,
    });
    for name in [Name::Site(site), Name::User(u32::MAX)] {
        entries.push(Entry::Made { id: 9, name });
        let begins = Work::ALL.iter().map(|&what| Entry::RunBegin {
            what,
            id: u32::MAX,
            name,
        });
        entries.extend(begins);
    }
    entries.extend(Outcome::ALL.iter().map(|&outcome| Entry::RunEnd(outcome)));
    for &what in Work::ALL {
        entries.extend([false, true].map(|forced| Entry::Steal {
            victim: 3,
            what,
            forced,
        }));
    }
    entries.extend(Wait::ALL.iter().map(|&on| Entry::WaitBegin { on, id: 5 }));
    for entry in entries {
        assert_eq!(back(entry), (12345, entry));
    }
}

#[test]
fn durations_of_batches_are_rounded_down_a_little() {
    let site = SiteWord::of(Named::<u8>::SCOPE);
    for ticks in [0, 1, 2_500, 32_767, 32_768, 1 << 40, u64::MAX] {
        let batch = Entry::Batch {
            ticks,
            count: 64,
            site,
        };
        let (_, Entry::Batch { ticks: read, .. }) = back(batch) else {
            panic!("no batch");
        };
        assert!(
            read <= ticks && ticks - read <= ticks >> 14,
            "{read} of {ticks}"
        );
    }
}

#[test]
fn sites_are_found_by_their_words() {
    let site = SiteWord::of(Named::<Vec<u8>>::TASK).site();
    let site = site.expect("a site of this program");
    assert_eq!(
        (site.kind, (site.name)()),
        (SiteKind::Task, type_name::<Vec<u8>>())
    );
    assert!(SiteWord::UNKNOWN.site().is_none());
}

#[test]
fn long_texts_are_cut_at_a_character() {
    let text: &'static str = Box::leak("ä".repeat(40_000).into_boxed_str());
    let (_, Entry::Mark(read)) = back(Entry::Mark(text)) else {
        panic!("no mark");
    };
    assert!(text.starts_with(read) && read.len() == usize::from(u16::MAX) - 1);
}
