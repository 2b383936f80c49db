//! How values become bytes.

use crate::executor::remote::{Failure, describe_panic};
use crate::unwind::{self, Payload};
use postcard::ser_flavors::Flavor;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::ops::Deref;
use std::sync::Arc;

/// How values become bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// postcard, whose format needs no names: both sides are one program.
    Compact,
    /// MessagePack with the names of fields: the sides can be different versions of a program, or in different languages.
    #[cfg(feature = "nats")]
    Named,
}

/// A vector to which postcard appends.
struct Append<'a>(&'a mut Vec<u8>);

impl Flavor for Append<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Appends a value.
pub(crate) fn encode<T: Serialize>(
    format: Format,
    value: &T,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    match format {
        Format::Compact => {
            postcard::serialize_with_flavor(value, Append(out)).map_err(|error| error.to_string())
        }
        #[cfg(feature = "nats")]
        Format::Named => {
            rmp_serde::encode::write_named(out, value).map_err(|error| error.to_string())
        }
    }
}

/// Reads a value that takes up all of `bytes`.
pub(crate) fn decode<T: DeserializeOwned>(format: Format, bytes: &[u8]) -> Result<T, String> {
    match format {
        Format::Compact => match postcard::take_from_bytes(bytes) {
            Ok((value, [])) => Ok(value),
            Ok(_) => Err(postcard::Error::DeserializeBadEncoding.to_string()),
            Err(error) => Err(error.to_string()),
        },
        #[cfg(feature = "nats")]
        Format::Named => rmp_serde::from_slice(bytes).map_err(|error| error.to_string()),
    }
}

/// What travels of a panic.
#[derive(Serialize, Deserialize)]
struct Panic {
    message: Option<String>,
    /// File, line and column.
    location: Option<(String, u32, u32)>,
}

pub(super) fn encode_panic(format: Format, payload: &Payload, out: &mut Vec<u8>) {
    let (message, location) = describe_panic(payload);
    let location = location.map(|at| (at.file().to_owned(), at.line(), at.column()));
    // Text and numbers always become bytes.
    let _ = encode(format, &Panic { message, location }, out);
}

pub(super) fn decode_panic(format: Format, bytes: &[u8]) -> Failure {
    let panic = decode(format, bytes).unwrap_or(Panic {
        message: None,
        location: None,
    });
    let location = panic
        .location
        .map(|(file, line, column)| crate::PanicLocation::from_parts(&file, line, column));
    Failure::Panic(panic.message, location)
}

/// The message of a panic, if the tag is that of one.
pub(super) fn decode_failure(tag: u8, bytes: &[u8]) -> Option<String> {
    match decode_panic(Format::Compact, bytes) {
        Failure::Panic(message, _) if tag == super::wire::PANIC => {
            Some(message.unwrap_or_else(|| "without a message".to_owned()))
        }
        _ => None,
    }
}

/// The text of a panic of a `Serialize` or `Deserialize` implementation.
pub(super) fn panic_text(payload: Payload) -> String {
    let (message, _) = describe_panic(&payload);
    unwind::drop_quietly(payload);
    match message {
        Some(message) => format!("a panic: {message}"),
        None => "a panic".to_owned(),
    }
}

/// Encoded arguments. A small body has one block of memory. A large one keeps the vector in which it was made, because copying it would cost more.
#[derive(Clone)]
pub(crate) enum Body {
    Small(Arc<[u8]>),
    Large(Arc<Vec<u8>>),
}

/// The most bytes of a small body. Copying so many costs about as much as one system call.
const SMALL: usize = 16 << 10;

impl Body {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        if bytes.len() <= SMALL {
            Body::Small(bytes.into())
        } else {
            Body::Large(Arc::new(bytes))
        }
    }
}

impl Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Body::Small(bytes) => bytes,
            Body::Large(bytes) => bytes,
        }
    }
}
