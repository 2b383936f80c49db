//! What `#[heist::task]` writes beside the function.

use crate::options::Options;
use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote};
use syn::{Error, FnArg, ItemFn, ReturnType, Type, Visibility};

/// Returns the function and its task, or says why the function cannot be a task.
pub(crate) fn expand(options: &Options, function: &ItemFn) -> syn::Result<TokenStream> {
    check(function)?;
    let types = parameters(function)?;
    let name = &function.sig.ident;
    let visibility = &function.vis;
    let locals: Vec<_> = (0..types.len())
        .map(|n| format_ident!("argument_{n}"))
        .collect();
    let (args, pattern) = match (&types[..], &locals[..]) {
        ([only], [local]) => (quote!(#only), quote!(#local)),
        _ => (quote!((#(#types),*)), quote!((#(#locals),*))),
    };
    let output = match &function.sig.output {
        ReturnType::Default => quote!(()),
        ReturnType::Type(_, output) => quote!(#output),
    };
    let signature = format!("{} -> {}", plain(&quote!((#(#types),*))), plain(&output));
    let text = match &options.name {
        Some(name) => quote!(#name),
        None => {
            let name = name.to_string();
            let name = name.trim_start_matches("r#");
            quote!(::core::concat!(::core::module_path!(), "::", #name))
        }
    };
    let tries = options.tries.unwrap_or(1);
    let timeout = match options.timeout_ms {
        Some(ms) => quote!(::core::option::Option::Some(::core::time::Duration::from_millis(#ms))),
        None => quote!(::core::option::Option::None),
    };
    let about = format!("The task of the function [`{name}`](fn@{name}), for an executor.");
    let cfgs: Vec<_> = function
        .attrs
        .iter()
        .filter(|attribute| attribute.path().is_ident("cfg"))
        .collect();
    // The constant has to be seen wherever the function is.
    let constant = match visibility {
        Visibility::Inherited => quote!(pub),
        visibility => quote!(#visibility),
    };
    Ok(quote! {
        #function

        #(#cfgs)*
        #[doc = #about]
        #[allow(non_camel_case_types, clippy::allow_attributes, reason = "the type has the name of the function")]
        #[derive(Clone, Copy)]
        #visibility struct #name { _task: () }

        #(#cfgs)*
        #[allow(dead_code, clippy::allow_attributes, reason = "a task may be run by name only")]
        impl #name {
            /// The task, for an executor.
            #constant const TASK: Self = Self { _task: () };
        }

        #(#cfgs)*
        const _: () = {
            impl ::heist::Task for #name {
                type Args = #args;
                type Output = #output;
                const NAME: &'static str = #text;
                const SIGNATURE: &'static str = #signature;
                const PLACE: (&'static str, u32) = (::core::file!(), ::core::line!());
                const TRIES: u32 = #tries;
                const TIMEOUT: ::core::option::Option<::core::time::Duration> = #timeout;

                fn run(#pattern: Self::Args) -> Self::Output {
                    #name(#(#locals),*)
                }
            }

            #[::heist::__private::linkme::distributed_slice(::heist::__private::TASKS)]
            #[linkme(crate = ::heist::__private::linkme)]
            static ENTRY: ::heist::TaskEntry = ::heist::TaskEntry::of::<#name>();
        };
    })
}

/// Refuses functions that mean nothing in another process.
fn check(function: &ItemFn) -> syn::Result<()> {
    let signature = &function.sig;
    let refuse =
        |at: &dyn ToTokens, text: &str| Err(Error::new_spanned(at.to_token_stream(), text));
    if let Some(generics) = signature.generics.params.first() {
        return refuse(
            generics,
            "a task cannot be generic: another process finds it by its name. Write one task for each type, \
             which calls the generic function",
        );
    }
    if let Some(asyncness) = &signature.asyncness {
        return refuse(
            asyncness,
            "a task is not async: its process runs one task at a time. Call `heist::block_on` in it",
        );
    }
    if let syn::Safety::Unsafe(unsafety) = &signature.safety {
        return refuse(
            unsafety,
            "a task cannot be unsafe, because it is called in another process: wrap the call in a safe function",
        );
    }
    if let Some(abi) = &signature.abi {
        return refuse(
            abi,
            "a task is a plain `fn`: call the foreign function in it",
        );
    }
    Ok(())
}

/// Returns the types of the parameters.
fn parameters(function: &ItemFn) -> syn::Result<Vec<&Type>> {
    let inputs = &function.sig.inputs;
    if inputs.len() > 12 {
        let text = "a task has at most 12 parameters: put them in a struct";
        return Err(Error::new_spanned(inputs, text));
    }
    let types = inputs.iter().map(|input| match input {
        FnArg::Receiver(receiver) => Err(Error::new_spanned(
            receiver,
            "a task is not a method: make it a function that takes the value as a parameter",
        )),
        FnArg::Typed(parameter) => owned(&parameter.ty).map(|()| &*parameter.ty),
    });
    let types: Vec<_> = types.collect::<syn::Result<_>>()?;
    if let ReturnType::Type(_, output) = &function.sig.output {
        owned(output)?;
    }
    Ok(types)
}

/// Refuses types that borrow, and `impl Trait`.
fn owned(of: &Type) -> syn::Result<()> {
    let refuse = |span: Span, text: &str| Err(Error::new(span, text));
    let mut trees: Vec<_> = of.to_token_stream().into_iter().collect();
    while let Some(tree) = trees.pop() {
        match tree {
            TokenTree::Group(group) => trees.extend(group.stream()),
            TokenTree::Punct(punct) if punct.as_char() == '&' => {
                return refuse(
                    punct.span(),
                    "a task cannot borrow, because its data travel to another process: take `String` in place \
                     of `&str`, and `Vec<T>` in place of `&[T]`",
                );
            }
            TokenTree::Ident(ident) if ident == "impl" => {
                return refuse(
                    ident.span(),
                    "a task cannot have `impl Trait` in its signature: another process must know the type",
                );
            }
            _ => {}
        }
    }
    Ok(())
}

/// The text of a type as one writes it.
fn plain(tokens: &TokenStream) -> String {
    let mut text = String::new();
    let spaced = tokens.to_string();
    for (at, next) in spaced.char_indices() {
        let before = text.chars().next_back();
        let after = spaced[at + next.len_utf8()..].chars().next();
        let is_glue = |c: Option<char>| {
            matches!(c, Some('<' | '>' | '(' | ')' | ',' | ':' | '[' | ']' | ';'))
        };
        let wanted = matches!(before, Some(',' | ';')) && next == ' ';
        if next == ' ' && !wanted && (is_glue(before) || is_glue(after)) {
            continue;
        }
        text.push(next);
    }
    text
}
