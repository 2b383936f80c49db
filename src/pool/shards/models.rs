//! Loom models of an injector in two parts.

use crate::barrier::Flavour;
use crate::pool::models::{end, model, pool};
use crate::sync::model as settings;

/// A thread whose part is not the first one submits a task while the only worker finds nothing more and goes to sleep. The task runs.
#[test]
fn the_second_part_against_a_worker_that_goes_to_sleep() {
    model(Flavour::Strict, move || {
        loom::stop_exploring();
        settings::set_parts(2);
        let pool = pool(1, 0);
        assert!(pool.submit(|| ()).join().is_ok());
        loom::explore();
        settings::set_thread_number(1);
        assert!(pool.submit(|| ()).join().is_ok());
        end(pool);
    });
}
