//! A pool that the current thread belongs to. This is a separate binary, because the thread belongs to the pool forever.

use rayon_core::{ThreadPoolBuilder, Yield, current_thread_index, join, spawn};
use std::error::Error;
use std::sync::mpsc::channel;

#[test]
#[expect(deprecated, reason = "`initialize` is what is asked about")]
fn the_current_thread_is_thread_0_of_the_global_pool() {
    let builder = ThreadPoolBuilder::new().num_threads(2).use_current_thread();
    builder.build_global().unwrap();
    assert_eq!(current_thread_index(), Some(0));
    assert_eq!(rayon_core::current_num_threads(), 2);
    assert_eq!(join(current_thread_index, || 1), (Some(0), 1));
    let (sender, receiver) = channel();
    spawn(move || sender.send(current_thread_index()).unwrap());
    assert_eq!(
        receiver.recv(),
        Ok(Some(1)),
        "thread 0 is blocked, so the other thread runs the task"
    );
    assert_eq!(rayon_core::yield_now(), Some(Yield::Idle));

    let error = ThreadPoolBuilder::new().build_global().unwrap_err();
    assert_eq!(
        error.to_string(),
        "The global thread pool has already been initialized."
    );
    assert!(error.source().is_none());
    assert!(rayon_core::initialize(rayon_core::Configuration::new()).is_err());
    let part = ThreadPoolBuilder::new().use_current_thread().build();
    assert!(
        part.unwrap_err()
            .to_string()
            .contains("already part of another")
    );
}
