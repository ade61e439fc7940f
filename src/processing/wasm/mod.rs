//! `wasm`: records through a WebAssembly component of the user's, a batch at a time.
//!
//! Always true: a component takes no more memory and time than it may, sees nothing of the machine, and whatever it does each
//! record has a fate. The interface is `transforms/wit`; what Lambda is to Firehose, a component is here.
//!
//! `component` (file, `cache`, `engine`) makes code of a file; `call` (`inputs`, `outcomes`, `world`, `limits`, `log`) runs one batch in an instance;
//! `transform` (`isolate`, `health`) decides what a failing call means for the records.

mod bindings;
mod cache;
mod call;
mod component;
mod config;
mod engine;
mod health;
mod inputs;
mod isolate;
mod limits;
mod log;
mod outcomes;
mod transform;
mod world;

pub use call::{Batch, Place};
pub use component::{CodeCache, Component, ComponentError};
pub use config::{Instances, OnFailure, WasmConfig};
pub use transform::{BATCH_RECORDS_MAX, FirstFailure, Handling, Pace, Record, Sink, Stop, Transform};
pub use world::Seed;
