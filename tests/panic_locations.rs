//! The locations of panics in tasks. This is a separate binary, since the panic hook belongs to the process.

use heist::{JoinError, PanicLocation, ThreadPool};
use std::panic::{catch_unwind, panic_any, resume_unwind};

fn error_of<T: Send + 'static>(
    pool: &ThreadPool,
    f: impl FnOnce() -> T + Send + 'static,
) -> JoinError {
    match pool.submit(f).join() {
        Ok(_) => panic!("an error was expected"),
        Err(error) => error,
    }
}

fn line_of(error: &JoinError) -> Option<u32> {
    error.location().map(PanicLocation::line)
}

#[test]
fn errors_say_where_the_task_panicked_once_the_hook_is_set() {
    let pool = ThreadPool::with_threads(2).unwrap();
    assert_eq!(error_of(&pool, || panic!("unrecorded")).location(), None);
    heist::record_panic_locations();
    heist::record_panic_locations();

    let line = line!() + 1;
    let error = error_of(&pool, || panic!("no luck"));
    let location = error.location().unwrap();
    assert!(location.file().ends_with("panic_locations.rs"));
    assert_eq!(location.line(), line);
    assert!(location.column() > 1);
    let text = format!("{}:{line}:{}", location.file(), location.column());
    assert_eq!(location.to_string(), text);

    // Messages that are formatted at run time, and payloads that are no text.
    let line = line!() + 1;
    let error = error_of(&pool, || panic!("no luck with {}", 7));
    assert_eq!(line_of(&error), Some(line));
    let line = line!() + 1;
    let error = error_of(&pool, || panic_any(7_u32));
    assert_eq!(line_of(&error), Some(line));

    // A panic that a task catches itself, and another panic after it.
    let line = line!() + 3;
    let error = error_of(&pool, || {
        let _ = catch_unwind(|| panic!("caught"));
        panic!("not caught")
    });
    assert_eq!(line_of(&error), Some(line));

    // A payload that no hook has seen has no location, although another panic came before it.
    let error = error_of(&pool, || {
        let _ = catch_unwind(|| panic!("caught"));
        resume_unwind(Box::new("made by hand"));
    });
    assert_eq!(error.location(), None);

    // Errors of other kinds have no location.
    let token = heist::CancelToken::new();
    token.cancel();
    let cancelled = pool.task().token(&token).submit(|| ()).join();
    assert_eq!(cancelled.unwrap_err().location(), None);

    // Tasks of a scope, and items of a stream.
    let line = line!() + 1;
    let error = pool.scope(|s| s.submit(|_| panic!("in a scope")).join().unwrap_err());
    assert_eq!(line_of(&error), Some(line));
    let line = line!() + 1;
    let error = pool.imap(0..1, |_| -> u8 { panic!("an item") }).next();
    assert_eq!(line_of(&error.unwrap().unwrap_err()), Some(line));
}
