//! What lets a public trait have no implementations elsewhere.

/// Public, but nobody else can name it.
#[derive(Debug)]
pub struct Private;

/// In a trait: a method that only this crate can write.
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
