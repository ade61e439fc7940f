//! What `transforms/wit` says, as Rust: the one place where the interface's text becomes types.

wasmtime::component::bindgen!({
    path: "transforms/wit",
    world: "transform",
    ownership: Borrowing { duplicate_if_necessary: false },
});

pub use self::hydrant::transform::host::{Host, Level};
pub use self::hydrant::transform::types::{FileSource, Source};

use wasmtime::component::{ComponentType, Lift};

use super::data::Data;

/// One record that leaves the transform; as `Output` of the generated types, but for where its data is kept.
#[derive(Debug, Clone, ComponentType, Lift)]
#[component(record)]
pub struct MadeRecord {
    pub data: Data,
    #[component(name = "partition-keys")]
    pub partition_keys: Vec<(String, String)>,
}

/// What has become of a record.
#[derive(Debug, Clone, ComponentType, Lift)]
#[component(variant)]
pub enum Fate {
    #[component(name = "ok")]
    Ok(MadeRecord),
    #[component(name = "many")]
    Many(Vec<MadeRecord>),
    #[component(name = "dropped")]
    Dropped,
    #[component(name = "processing-failed")]
    ProcessingFailed(String),
}

impl Transform {
    /// Calls `transform`; the data of what is made is in the buffer that was begun on this thread, see [`super::data`].
    pub fn call<S: wasmtime::AsContextMut>(&self, mut store: S, records: &[Input<'_>]) -> wasmtime::Result<Vec<Fate>> {
        let function = self.transform.typed::<(&[Input<'_>],), (Vec<Fate>,)>(&store)?;
        Ok(function.call(&mut store, (records,))?.0)
    }
}
