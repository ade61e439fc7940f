//! The data of an answer's records, read out of a guest's memory into one buffer.
//!
//! Always true: between [`begin`] and [`end`] on one thread, each [`Data`] that is read stands for bytes of its own in the buffer
//! that [`end`] returns, in the order in which they are read. A `Vec` for each record would cost more than the guest does.

use std::cell::RefCell;
use std::ops::Range;

use wasmtime::component::__internal::{CanonicalAbiInfo, InstanceType, InterfaceType, LiftContext};
use wasmtime::component::{ComponentType, Lift, WasmList};
use wasmtime::{Result, bail};

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A `list<u8>` of an answer: where its bytes are in the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Data {
    start: u32,
    end: u32,
}

impl Data {
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// An answer is going to be read on this thread, into `buffer`.
pub(super) fn begin(buffer: Vec<u8>) {
    BUFFER.set(buffer);
}

/// All that was read since [`begin`].
pub(super) fn end() -> Vec<u8> {
    BUFFER.take()
}

// SAFETY: everything is as `WasmList<u8>` has it, which is the library's own type for a `list<u8>`.
unsafe impl ComponentType for Data {
    type Lower = <WasmList<u8> as ComponentType>::Lower;
    const ABI: CanonicalAbiInfo = <WasmList<u8> as ComponentType>::ABI;

    fn typecheck(ty: &InterfaceType, types: &InstanceType<'_>) -> Result<()> {
        <WasmList<u8> as ComponentType>::typecheck(ty, types)
    }
}

// SAFETY: the list is read and checked by the library; here its bytes are only copied.
unsafe impl Lift for Data {
    fn linear_lift_from_flat(cx: &mut LiftContext<'_>, ty: InterfaceType, src: &Self::Lower) -> Result<Self> {
        let list = WasmList::linear_lift_from_flat(cx, ty, src)?;
        copied(cx, &list)
    }

    fn linear_lift_from_memory(cx: &mut LiftContext<'_>, ty: InterfaceType, bytes: &[u8]) -> Result<Self> {
        let list = WasmList::linear_lift_from_memory(cx, ty, bytes)?;
        copied(cx, &list)
    }
}

fn copied(cx: &mut LiftContext<'_>, list: &WasmList<u8>) -> Result<Data> {
    BUFFER.with_borrow_mut(|buffer| {
        let start = buffer.len();
        u8::linear_lift_into_from_memory(cx, list, buffer)?;
        match (u32::try_from(start), u32::try_from(buffer.len())) {
            (Ok(start), Ok(end)) => Ok(Data { start, end }),
            _ => bail!("an answer has more than 4 GiB"),
        }
    })
}
