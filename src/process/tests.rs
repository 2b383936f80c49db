//! What comes from a worker can end, or be wrong, at any byte.

use super::wire::{self, Inbox, Reader, Rubbish};
use proptest::prelude::*;

/// Messages of several lengths, as they are on the wire.
fn messages() -> (Vec<u8>, Vec<Vec<u8>>) {
    let (mut bytes, mut bodies) = (Vec::new(), Vec::new());
    for length in [0, 1, 7, 200, 70_000] {
        let body = vec![length as u8; length];
        wire::put(&mut bytes, wire::RESULTS, |out| {
            out.extend_from_slice(&body)
        });
        bodies.push(body);
    }
    (bytes, bodies)
}

/// The messages that an inbox understands of what is sent in these pieces.
fn understood<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Result<Vec<Vec<u8>>, Rubbish> {
    let (mut inbox, mut found) = (Inbox::default(), Vec::new());
    for mut piece in pieces {
        while inbox.fill(&mut piece).is_ok_and(|count| count > 0) {
            while let Some(place) = inbox.next(1 << 20)? {
                found.push(inbox.get(place)[1..].to_vec());
            }
        }
    }
    Ok(found)
}

#[test]
fn a_message_that_is_cut_anywhere_is_incomplete_or_whole() {
    let (bytes, bodies) = messages();
    // Each byte of the short messages, and some of the long one.
    for cut in (0..300).chain((300..bytes.len()).step_by(997)) {
        let found = understood([&bytes[..cut]].into_iter()).expect("nothing is wrong");
        assert!(bodies.starts_with(&found));
        assert!(found.len() < bodies.len(), "{cut}");
        let found = understood([&bytes[..cut], &bytes[cut..]].into_iter());
        assert_eq!(found.expect("nothing is wrong"), bodies);
    }
}

#[test]
fn a_length_that_cannot_be_is_refused_before_memory_is_taken() {
    for length in [0_u32, (1 << 20) + 1, u32::MAX] {
        let bytes = length.to_le_bytes();
        assert!(understood([&bytes[..]].into_iter()).is_err());
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut read = Reader(&bytes);
        while read.outcome().is_ok() {}
        let mut read = Reader(&bytes);
        let _ = (read.u64().is_ok(), read.name().is_ok(), read.item().is_ok());
        let _ = understood(bytes.chunks(7)).is_ok();
    }
}
