//! The C interface of librelora, as its headers declare it. They are the manual; `relora` is the safe crate.
#[rustfmt::skip] // it is written by a program
mod bindings;
pub use bindings::*;
