//! The options of `#[heist::task]`.

use syn::parse::{Parse, ParseStream};
use syn::{Error, Ident, LitInt, LitStr, Token};

/// What stands in the parentheses of `#[heist::task(..)]`.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) name: Option<String>,
    pub(crate) tries: Option<u32>,
    pub(crate) timeout_ms: Option<u64>,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut options = Options::default();
        while !input.is_empty() {
            let key: Ident = input.parse()?;
            input.parse::<Token![=]>()?;
            match key.to_string().as_str() {
                "name" => options.name = Some(name(&input.parse()?)?),
                "tries" => options.tries = Some(tries(&input.parse()?)?),
                "timeout" => options.timeout_ms = Some(timeout(&input.parse()?)?),
                _ => {
                    let text = "unknown option: the options of a task are name, tries and timeout";
                    return Err(Error::new(key.span(), text));
                }
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(options)
    }
}

fn name(text: &LitStr) -> syn::Result<String> {
    let name = text.value();
    if name.is_empty() || name.len() > 1000 {
        return Err(Error::new(text.span(), "a task's name has 1 to 1000 bytes"));
    }
    Ok(name)
}

fn tries(number: &LitInt) -> syn::Result<u32> {
    match number.base10_parse()? {
        0 => Err(Error::new(number.span(), "a task is tried at least once")),
        tries => Ok(tries),
    }
}

/// Parses a time such as `"200ms"`.
fn timeout(text: &LitStr) -> syn::Result<u64> {
    let value = text.value();
    let digits = value.trim_end_matches(|next: char| next.is_ascii_alphabetic());
    let factor = match &value[digits.len()..] {
        "ms" => Some(1),
        "s" => Some(1000),
        "min" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    };
    let number: Option<u64> = digits.trim().parse().ok();
    match number
        .zip(factor)
        .and_then(|(n, factor)| n.checked_mul(factor))
    {
        Some(ms @ 1..) => Ok(ms),
        _ => {
            let advice = "a timeout is a whole number above 0 and a unit, ms, s, min or h: \"30s\"";
            Err(Error::new(text.span(), advice))
        }
    }
}
