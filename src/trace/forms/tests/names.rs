use crate::trace::forms::names::{count, duration, short, shown};

#[test]
fn short_names_are_the_last_two_words_of_the_path() {
    let short = |name| short(name, 40);
    assert_eq!(
        short("a::sort::quick::{{closure}}::{{closure}}"),
        "sort::quick"
    );
    assert_eq!(short("main"), "main");
    assert_eq!(
        short("a::b::f<x::y::Z, fn() -> q::r::S>"),
        "b::f<x::y::Z, fn() -> q::r::S>"
    );
    assert_eq!(short(""), "(no name)");
    assert_eq!(short("::{{closure}}"), "(no name)");
    assert_eq!(short("größe::über::maß"), "über::maß");
}

#[test]
fn shown_names_are_short_and_print_on_one_line() {
    assert_eq!(shown("a\0b\n\u{202e}c", 9), "a\\u{0}b\\n\\u{202e}c");
    assert_eq!(shown(&"x".repeat(1 << 20), 5), "xxxxx…");
    assert_eq!(shown("héé", 3), "héé");
}

#[test]
fn durations_and_counts_read_well() {
    assert_eq!(duration(999), "999 ns");
    assert_eq!(duration(1_500), "1.50 us");
    assert_eq!(duration(4_100_000_000), "4.10 s");
    assert_eq!(duration(123_456_789), "123 ms");
    assert_eq!(
        (count(999), count(1_234_567)),
        ("999".to_owned(), "1,234,567".to_owned())
    );
}
