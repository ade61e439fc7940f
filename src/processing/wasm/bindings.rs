//! What `transforms/wit` says, as Rust: the one place where the interface's text becomes types.

wasmtime::component::bindgen!({
    path: "transforms/wit",
    world: "transform",
    ownership: Borrowing { duplicate_if_necessary: false },
});

pub use self::hydrant::transform::host::{Host, Level};

use wasmtime::component::{ComponentType, Lift};

use super::inputs::Inputs;
use super::outcomes::{Data, Fates};

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
    /// Calls `transform`; the data of what is made is in the buffer that was begun on this thread, see [`super::outcomes`].
    pub(super) fn call<S: wasmtime::AsContextMut>(
        &self,
        mut store: S,
        records: Inputs<'_>,
    ) -> wasmtime::Result<Vec<Fate>> {
        let function = self.transform.typed::<(Inputs<'_>,), (Fates,)>(&store)?;
        let (Fates(fates),) = function.call(&mut store, (records,))?;
        Ok(fates)
    }
}
