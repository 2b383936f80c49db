//! What ranks say to each other. All of them are the same program, so the format needs no names.

use serde::{Deserialize, Serialize};

/// From rank 0.
#[derive(Serialize, Deserialize)]
pub(super) enum Order<'a> {
    /// Run a task with each of these arguments.
    Work {
        number: u64,
        task: &'a str,
        #[serde(borrow)]
        items: Vec<&'a [u8]>,
    },
    /// Cancel the token of the work with this number.
    Cancel(u64),
    Stop,
}

/// To rank 0.
#[derive(Serialize, Deserialize)]
pub(super) enum Answer<'a> {
    /// How many nanoseconds all items ran, and the outcome of each, with its tag.
    Done {
        number: u64,
        ran: u64,
        #[serde(borrow)]
        outcomes: Vec<(u8, &'a [u8])>,
    },
    /// This rank ends.
    Bye,
}

pub(super) fn write<T: Serialize>(message: &T) -> Vec<u8> {
    // Numbers, text and bytes always become bytes.
    postcard::to_stdvec(message).unwrap_or_default()
}

pub(super) fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    postcard::from_bytes(bytes).ok()
}
