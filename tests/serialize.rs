//! What the feature `serde` adds: `cargo test --all-features --test serialize`.
#![cfg(feature = "serde")]

use heist::{ThreadPool, Timing};
use serde_json::{Value, to_value};
use std::sync::mpsc;
use std::time::Duration;

#[test]
fn stats_and_histograms_are_written() {
    let pool = ThreadPool::builder().timing(Timing::All).build().unwrap();
    (0..10).for_each(|_| pool.spawn(|| ()));
    pool.wait_idle();
    let stats = to_value(pool.stats()).unwrap();
    assert_eq!(stats["completed"], 10);
    let buckets = stats["run_time"]["buckets"].as_array().unwrap();
    let counts = buckets
        .iter()
        .map(|bucket| bucket["count"].as_u64().unwrap());
    assert_eq!(counts.sum::<u64>(), 10);
}

#[test]
fn dumps_and_reports_are_written_whatever_the_names() {
    let (sender, reports) = mpsc::channel();
    let pool = ThreadPool::builder()
        .num_threads(1)
        .stall_after(Duration::from_millis(50), move |report| {
            drop(sender.send(to_value(report).unwrap()))
        })
        .build()
        .unwrap();
    let name = "</script>\"\n\0\u{202e}";
    let (go, gate) = mpsc::channel::<()>();
    let handle = pool.task().name(name).submit(move || gate.recv().is_ok());
    let report = reports.recv().unwrap();
    let dump = to_value(pool.dump()).unwrap();
    for dump in [&report["dump"], &dump] {
        let thread = &dump["pools"][0]["threads"][0];
        assert_eq!(thread["task"]["name"], name);
        assert_eq!(thread["role"]["Worker"], 0);
        let text = serde_json::to_string(dump).unwrap();
        assert_eq!(&serde_json::from_str::<Value>(&text).unwrap(), dump);
    }
    go.send(()).unwrap();
    assert!(handle.join().unwrap());
}
