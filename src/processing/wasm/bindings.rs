//! What `transforms/wit` says, as Rust: the one place where the interface's text becomes types.

wasmtime::component::bindgen!({
    path: "transforms/wit",
    world: "transform",
    ownership: Borrowing { duplicate_if_necessary: false },
});

pub use self::hydrant::transform::host::{Host, Level};
pub use self::hydrant::transform::types::{FileSource, Output, Source};
