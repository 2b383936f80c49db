//! The attributes `#[heist::task]` and `#[heist::main]`. The crate `heist` re-exports them, with the feature `process`.

mod options;
mod task;

use proc_macro::TokenStream;
use quote::quote;
use syn::{ItemFn, parse_macro_input};

/// Makes a function a task, which can run in another process.
///
/// The function stays what it is: it can be called, passed as a value and shadowed by a local variable. Beside
/// it, in the namespace of types, stands a type of the same name, and its constant `TASK` is what
/// [`Executor::submit`](https://docs.rs/heist) takes.
///
/// A task has a name, which travels to the worker: the module path and the name of the function, or what
/// `name = ".."` says. Its parameters and its result are serialised with serde. One parameter is the argument of
/// `submit` itself, several are a tuple, and none is `()`.
///
/// # Options
///
/// - `name = "resize.v2"`: the name of the task.
/// - `tries = 3`: the task is started again, up to three times in all, if the process that runs it ends. The
///   default is 1. More than 1 says that the task can safely be run again.
/// - `timeout = "30s"`: the time that the task may run. The units are `ms`, `s`, `min` and `h`.
///
/// # Errors
///
/// The compiler refuses a function that is generic, `async` or `unsafe`, that takes `self`, or that borrows:
/// such a function cannot be named in another process, or has no meaning there.
#[proc_macro_attribute]
pub fn task(options: TokenStream, item: TokenStream) -> TokenStream {
    let options = parse_macro_input!(options as options::Options);
    let function = parse_macro_input!(item as ItemFn);
    let expanded = task::expand(&options, &function).unwrap_or_else(|error| {
        let error = error.to_compile_error();
        quote!(#function #error)
    });
    expanded.into()
}

/// Makes a program one whose processes can be workers: calls `heist::init()` before the first statement of
/// `main`.
///
/// In a worker process that call runs the worker and never returns, so the rest of `main` runs only in the
/// process that a user starts.
#[proc_macro_attribute]
pub fn main(options: TokenStream, item: TokenStream) -> TokenStream {
    let mut function = parse_macro_input!(item as ItemFn);
    let error = if !options.is_empty() {
        Some("#[heist::main] takes no options")
    } else if function.sig.asyncness.is_some() {
        Some(
            "#[heist::main] needs a plain `fn main`: call `heist::init()` as its first statement, then start the \
             asynchronous part with `heist::block_on` or the runtime of your choice",
        )
    } else {
        None
    };
    if let Some(error) = error {
        let error = syn::Error::new_spanned(&function.sig, error).to_compile_error();
        return quote!(#function #error).into();
    }
    let init = syn::parse_quote!(::heist::init(););
    function.block.stmts.insert(0, init);
    quote!(#function).into()
}
