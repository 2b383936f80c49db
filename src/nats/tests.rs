//! What is read from subjects, headers and answers.

use super::names::{Address, key_of_id};
use super::record::{KINDS, Record, Stored, stored};
use super::station::delivery_of;
use bytes::Bytes;
use std::time::Duration;

#[test]
fn an_address_has_hosts_a_queue_and_perhaps_a_login() {
    let address = Address::parse("nats://a%40b:p%3Aq@one:1,two:2/thumbs").expect("an address");
    assert_eq!(address.servers, ["nats://one:1", "nats://two:2"]);
    assert_eq!(address.login, Some(("a@b".to_owned(), "p:q".to_owned())));
    assert_eq!(address.queue, "thumbs");
    assert_eq!(address.shown(), "nats://one:1,nats://two:2/thumbs");
}

#[test]
fn a_wrong_address_is_refused_without_its_password() {
    for text in [
        "nats",
        "http://u:secret@h/q",
        "nats://u:secret@h",
        "nats://u:secret@h/a.b",
        "nats://u:secret@/q",
        "nats://u:secret@h/a_b",
        "nats://u:secret@h/",
    ] {
        let error = Address::parse(text).err().expect("no address");
        assert!(
            error.contains("nats://host:4222/queue") && !error.contains("secret"),
            "{error}"
        );
    }
}

#[test]
fn keys_of_ids_differ_and_are_one_part_of_a_subject() {
    assert_eq!(&*key_of_id("order-17"), "id.order-17");
    assert_eq!(&*key_of_id("a.b"), "id.a=2eb");
    assert_ne!(key_of_id("a=2eb"), key_of_id("a.b"));
}

#[test]
fn a_record_survives_its_headers() {
    for (kind, _) in KINDS {
        let mut record = Record::new(kind, "a::task", Bytes::from_static(b"body"));
        record.worker = "w".to_owned();
        record.starts = 3;
        record.ran = Duration::from_nanos(17);
        (record.pid, record.signal) = (5, Some(9));
        let read = Record::parse(Some(&record.headers()), record.body.clone()).expect("a record");
        assert_eq!((read.kind, read.starts, read.ran), (kind, 3, record.ran));
        assert_eq!(
            (read.worker, read.task, read.signal),
            ("w".to_owned(), record.task, Some(9))
        );
    }
}

#[test]
fn the_answers_of_a_server_are_told_apart() {
    let of = |text: &str| stored(text.as_bytes());
    assert!(matches!(of(r#"{"stream":"S","seq":1}"#), Stored::Yes));
    assert!(matches!(
        of(r#"{"stream":"S","seq":1,"duplicate":true}"#),
        Stored::Yes
    ));
    let refusal =
        |text| format!(r#"{{"error":{{"code":503,"err_code":10077,"description":"{text}"}}}}"#);
    assert!(matches!(
        of(&refusal("maximum messages per subject exceeded")),
        Stored::Taken
    ));
    assert!(matches!(
        of(&refusal("maximum messages exceeded")),
        Stored::Full
    ));
    assert!(matches!(of(&refusal("no space left")), Stored::Unsure));
    assert!(matches!(of("rubbish"), Stored::Unsure));
}

#[test]
fn both_forms_of_an_acknowledgement_are_read() {
    assert_eq!(
        delivery_of("$JS.ACK.HEIST_q.high.3.10.11.1700000000.42"),
        (3, 42)
    );
    assert_eq!(
        delivery_of("$JS.ACK._.hash.HEIST_q.high.3.10.11.1700000000.42.rnd"),
        (3, 42)
    );
    assert_eq!(delivery_of("rubbish"), (1, 0));
}
