//! Sealed traits: public traits that no other crate can implement.

/// A public type that other crates cannot name.
#[derive(Debug)]
pub struct Private;

/// Declares, or with `here` implements, a method that only this crate can name the type of.
macro_rules! private {
    () => {
        #[doc(hidden)]
        fn private(&self) -> $crate::private::Private;
    };
    (here) => {
        fn private(&self) -> $crate::private::Private {
            $crate::private::Private
        }
    };
}
