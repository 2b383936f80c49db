//! The feature `tracing`: work runs in the span in which it was submitted, and has a span of its own if a subscriber wants that.
//!
//! One subscriber records the spans of all tests. Each test has names of its own.

use heist::ThreadPool;
use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::{Arc, LazyLock, Mutex, mpsc};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Subscriber, info_span};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};

/// What the subscriber has seen.
#[derive(Default)]
struct Seen {
    /// The spans that have begun, by name: the names of those around each, the inner one first.
    around: HashMap<String, Vec<Vec<&'static str>>>,
    /// How often a span was entered and left, by name.
    entered: HashMap<&'static str, (u32, u32)>,
    closed: Vec<String>,
    /// The fields of the spans of tasks, by the name of the span around them.
    fields: HashMap<&'static str, HashMap<&'static str, String>>,
}

static SEEN: LazyLock<Mutex<Seen>> = LazyLock::new(Mutex::default);

struct Recorder;

struct Fields(HashMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

/// The name of a span. That of a task has the name of the span around it behind it, so that tests can tell them apart.
fn name_of<S: Subscriber + for<'a> LookupSpan<'a>>(id: &Id, context: &Context<'_, S>) -> String {
    let span = context.span(id).expect("a span that has not been closed");
    let around = span.parent().map_or("", |parent| parent.name());
    match span.name() {
        "runtime.spawn" => format!("task in {around}"),
        name => name.to_owned(),
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Recorder {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let span = context.span(id).expect("a span that begins");
        let around: Vec<_> = span.scope().skip(1).map(|span| span.name()).collect();
        let mut seen = SEEN.lock().unwrap();
        if span.name() == "runtime.spawn" {
            let mut fields = Fields(HashMap::new());
            attributes.record(&mut fields);
            let parent = around.first().copied().unwrap_or("");
            seen.fields.insert(parent, fields.0);
        }
        let name = name_of(id, &context);
        seen.around.entry(name).or_default().push(around);
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        let name = context.span(id).expect("a span that is entered").name();
        SEEN.lock().unwrap().entered.entry(name).or_default().0 += 1;
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        let name = context.span(id).expect("a span that is left").name();
        SEEN.lock().unwrap().entered.entry(name).or_default().1 += 1;
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let name = name_of(&id, &context);
        SEEN.lock().unwrap().closed.push(name);
    }
}

/// Runs `body` on a thread, with pools of several sizes, and fails if it hangs.
fn with_pools(body: impl Fn(&ThreadPool) + Send + 'static) {
    static SUBSCRIBER: LazyLock<()> = LazyLock::new(|| {
        tracing::subscriber::set_global_default(Registry::default().with(Recorder))
            .expect("the only subscriber");
    });
    LazyLock::force(&SUBSCRIBER);
    let sizes = match std::env::var("HEIST_TEST_THREADS") {
        Ok(count) => vec![count.parse().expect("a number of threads")],
        Err(_) => vec![1, 2, 8],
    };
    let (sender, receiver) = mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        let _sender = sender;
        for size in sizes {
            body(&ThreadPool::with_threads(size).expect("a pool"));
        }
    });
    let ended = receiver.recv_timeout(Duration::from_secs(60));
    let hangs = ended == Err(mpsc::RecvTimeoutError::Timeout);
    assert!(!hangs, "the test hangs");
    if let Err(payload) = thread.join() {
        std::panic::resume_unwind(payload);
    }
}

/// Asserts that each span of this name has begun in a task that was submitted in the span `outer`.
fn assert_in_task(name: &str, outer: &str) {
    let seen = SEEN.lock().unwrap();
    let all = &seen.around[name];
    assert!(!all.is_empty());
    for around in all {
        assert_eq!(around, &["runtime.spawn", outer], "{name}");
    }
}

/// Waits until all spans of this name have been closed, and asserts that there are as many as have begun.
fn assert_closed(name: &str) {
    let limit = Instant::now() + Duration::from_secs(20);
    loop {
        let seen = SEEN.lock().unwrap();
        let closed = seen.closed.iter().filter(|closed| *closed == name).count();
        let begun = seen.around[name].len();
        if closed == begun {
            return;
        }
        assert!(Instant::now() < limit, "{name}: {closed} of {begun}");
        drop(seen);
        thread::yield_now();
    }
}

#[test]
fn closures_run_in_the_span_in_which_they_were_submitted() {
    with_pools(|pool| {
        let outer = info_span!("closures").entered();
        let inner = || drop(info_span!("in closures").entered());
        pool.submit(inner).join().unwrap();
        pool.try_submit(inner).unwrap().join().unwrap();
        pool.task().name("named").submit(inner).join().unwrap();
        pool.submit_many([inner, inner])
            .into_iter()
            .for_each(|handle| handle.join().unwrap());
        pool.spawn(inner);
        let mut set = heist::JoinSet::new(pool);
        set.spawn(inner);
        set.join_next().unwrap().unwrap();
        pool.scope(|s| s.submit(|_| inner()).join().unwrap());
        pool.wait_idle();
        drop(outer);
        assert_in_task("in closures", "closures");
        assert_closed("task in closures");
        assert_closed("closures");
    });
}

#[test]
fn a_task_of_a_task_is_in_its_span() {
    with_pools(|pool| {
        let outer = info_span!("nested").entered();
        let own = pool.clone();
        pool.submit(move || own.submit(|| drop(info_span!("in nested"))).join().unwrap())
            .join()
            .unwrap();
        drop(outer);
        let seen = SEEN.lock().unwrap();
        for around in &seen.around["in nested"] {
            assert_eq!(around, &["runtime.spawn", "runtime.spawn", "nested"]);
        }
    });
}

#[test]
fn a_future_enters_its_span_at_each_poll() {
    with_pools(|pool| {
        let outer = info_span!("future").entered();
        let mut polls = 0;
        let future = poll_fn(move |context| {
            polls += 1;
            drop(info_span!("in future"));
            if polls == 4 {
                return Poll::Ready(());
            }
            // Another thread, which is in no span, wakes it.
            let own = context.waker().clone();
            thread::spawn(move || own.wake());
            Poll::Pending
        });
        pool.submit_async(future).join().unwrap();
        pool.scope(|s| {
            s.submit_async(async { drop(info_span!("in future")) })
                .join()
                .unwrap();
        });
        pool.spawn_async(async { drop(info_span!("in future")) });
        pool.wait_idle();
        drop(outer);
        assert_in_task("in future", "future");
        assert_closed("task in future");
        assert_closed("future");
    });
}

#[test]
fn a_panic_leaves_the_span() {
    with_pools(|pool| {
        let outer = info_span!("panic").entered();
        let quiet = || std::panic::resume_unwind(Box::new("on purpose"));
        assert!(pool.submit(quiet).join().is_err());
        assert!(pool.submit_async(async move { quiet() }).join().is_err());
        drop(outer);
        // On the same threads.
        for _ in 0..16 {
            pool.submit(|| drop(info_span!("after panic")))
                .join()
                .unwrap();
        }
        let seen = SEEN.lock().unwrap();
        for around in &seen.around["after panic"] {
            assert_eq!(around, &["runtime.spawn"]);
        }
        drop(seen);
        assert_closed("task in panic");
    });
}

/// Begins a span when it is dropped.
struct Dropped(&'static str);

impl Drop for Dropped {
    fn drop(&mut self) {
        drop(match self.0 {
            "closure" => info_span!("dropped closure"),
            _ => info_span!("dropped future"),
        });
    }
}

#[test]
fn what_is_cancelled_is_dropped_in_its_span_and_does_not_keep_it() {
    with_pools(|pool| {
        let token = heist::CancelToken::new();
        token.cancel();
        let outer = info_span!("cancelled").entered();
        let value = Dropped("closure");
        let handle = pool.task().token(&token).submit(move || drop(value));
        assert!(handle.join().is_err());
        let value = Dropped("future");
        let handle = pool.submit_async(async move {
            let _value = value;
            std::future::pending::<()>().await;
        });
        handle.cancel();
        assert!(handle.join().is_err());
        drop(outer);
        assert_in_task("dropped closure", "cancelled");
        assert_in_task("dropped future", "cancelled");
        assert_closed("task in cancelled");
        assert_closed("cancelled");
    });
}

#[test]
fn the_span_is_closed_before_the_handle_resolves() {
    with_pools(|pool| {
        let outer = info_span!("kept").entered();
        let handle = pool.submit(|| 1);
        drop(outer);
        while !handle.is_finished() {
            thread::yield_now();
        }
        let seen = SEEN.lock().unwrap();
        let closed = seen.closed.iter().filter(|name| *name == "task in kept");
        assert_eq!(closed.count(), seen.around["task in kept"].len());
        drop((seen, handle));
    });
}

#[test]
fn a_task_has_the_fields_that_tokio_console_shows() {
    with_pools(|pool| {
        let outer = info_span!("fields").entered();
        let line = line!() + 1;
        pool.task().name("thumbnail").submit(|| ()).join().unwrap();
        drop(outer);
        let seen = SEEN.lock().unwrap();
        let fields = &seen.fields["fields"];
        assert_eq!(fields["kind"], "task");
        assert_eq!(fields["task.name"], "thumbnail");
        assert_eq!(fields["loc.file"], format!("{:?}", file!()));
        assert_eq!(fields["loc.line"], line.to_string());
        assert!(fields["fn"].starts_with("spans::a_task_has_the_fields"));
    });
}

/// Refuses the spans of tasks.
struct NoTasks(Arc<Mutex<Vec<Vec<&'static str>>>>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for NoTasks {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.name() != "runtime.spawn"
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        let span = context.span(id).expect("a span that is entered");
        let scope = span.scope().map(|span| span.name()).collect();
        self.0.lock().unwrap().push(scope);
    }
}

#[test]
fn without_spans_of_tasks_the_submitters_span_is_entered() {
    with_pools(|pool| {
        let entered = Arc::new(Mutex::new(Vec::new()));
        let subscriber = Registry::default().with(NoTasks(Arc::clone(&entered)));
        tracing::subscriber::with_default(subscriber, || {
            let outer = info_span!("submitter").entered();
            pool.submit(|| ()).join().unwrap();
            pool.submit_async(async {}).join().unwrap();
            drop(outer);
        });
        let entered = entered.lock().unwrap();
        assert!(entered.len() >= 3, "{entered:?}");
        assert!(entered.iter().all(|scope| scope == &["submitter"]));
    });
}
