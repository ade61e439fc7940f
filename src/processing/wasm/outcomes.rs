//! A guest's answer: the outcomes of a batch, their data read out of the guest's memory into one buffer.
//!
//! Always true: between [`begin`] and [`end`] on one thread, each [`Data`] that is read stands for bytes of its own in the buffer
//! that [`end`] returns, in the order in which they are read. A `Vec` for each record would cost more than the guest does.

use std::cell::RefCell;
use std::ops::Range;

use wasmtime::component::__internal::{CanonicalAbiInfo, InstanceType, InterfaceType, LiftContext};
use wasmtime::component::{ComponentType, Lift, WasmList};
use wasmtime::{Result, bail};

use super::bindings::{Fate, MadeRecord};

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A `list<u8>` of an answer: where its bytes are in the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Data {
    pub start: u32,
    /// Behind the last of its bytes.
    pub end: u32,
}

/// The `list<outcome>` that an answer is.
pub struct Fates(pub Vec<Fate>);

impl Data {
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// Copies what a list of bytes at `pointer` has.
    fn copied(cx: &mut LiftContext<'_>, (pointer, length): (u32, u32)) -> Result<Self> {
        let Some(bytes) = cx.memory().get(pointer as usize..).and_then(|rest| rest.get(..length as usize)) else {
            bail!("list pointer/length out of bounds of memory");
        };
        cx.consume_fuel_array(bytes.len(), 1)?;
        BUFFER.with_borrow_mut(|buffer| {
            let start = buffer.len();
            buffer.extend_from_slice(bytes);
            match (u32::try_from(start), u32::try_from(buffer.len())) {
                (Ok(start), Ok(end)) => Ok(Self { start, end }),
                _ => bail!("an answer has more than 4 GiB"),
            }
        })
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

// SAFETY: nothing is read but a pointer and a length, and `copied` believes neither.
unsafe impl Lift for Data {
    fn linear_lift_from_flat(cx: &mut LiftContext<'_>, _: InterfaceType, [at, length]: &Self::Lower) -> Result<Self> {
        Self::copied(cx, (at.get_u32(), length.get_u32()))
    }

    fn linear_lift_from_memory(cx: &mut LiftContext<'_>, _: InterfaceType, bytes: &[u8]) -> Result<Self> {
        Self::copied(cx, pair(bytes))
    }
}

/// Where the fields of an `outcome` are: those of the case `ok`.
const DATA: usize = 4;
const KEYS: usize = 12;
const SIZE: usize = <Fate as ComponentType>::SIZE32;
const OK: u8 = 0;
const _: () =
    assert!(SIZE == 20 && <Fate as ComponentType>::ALIGN32 == 4 && <MadeRecord as ComponentType>::SIZE32 == 16);

// SAFETY: everything is as `WasmList<Fate>` has it, which is the library's own type for it.
unsafe impl ComponentType for Fates {
    type Lower = <WasmList<Fate> as ComponentType>::Lower;
    const ABI: CanonicalAbiInfo = <WasmList<Fate> as ComponentType>::ABI;

    fn typecheck(ty: &InterfaceType, types: &InstanceType<'_>) -> Result<()> {
        <WasmList<Fate> as ComponentType>::typecheck(ty, types)
    }
}

// SAFETY: the library checks the list and reads all of its elements but those that are `ok` without keys, of which `plain` reads
// the data.
unsafe impl Lift for Fates {
    fn linear_lift_from_flat(cx: &mut LiftContext<'_>, ty: InterfaceType, src: &Self::Lower) -> Result<Self> {
        WasmList::<Fate>::linear_lift_from_flat(cx, ty, src)?;
        let [at, length] = src;
        lifted(cx, ty, (at.get_u32(), length.get_u32()))
    }

    fn linear_lift_from_memory(cx: &mut LiftContext<'_>, ty: InterfaceType, bytes: &[u8]) -> Result<Self> {
        WasmList::<Fate>::linear_lift_from_memory(cx, ty, bytes)?;
        lifted(cx, ty, pair(bytes))
    }
}

/// The outcomes of a list that has been checked.
fn lifted(cx: &mut LiftContext<'_>, ty: InterfaceType, (at, length): (u32, u32)) -> Result<Fates> {
    let InterfaceType::List(list) = ty else { bail!("outcomes are no list") };
    let ty = cx.types[list].element;
    let outcomes = &cx.memory()[at as usize..][..length as usize * SIZE];
    let mut fates = Vec::with_capacity(length as usize);
    for outcome in outcomes.chunks_exact(SIZE) {
        fates.push(match plain(cx, outcome) {
            Some(data) => Fate::Ok(MadeRecord { data: data?, partition_keys: Vec::new() }),
            None => Fate::linear_lift_from_memory(cx, ty, outcome)?,
        });
    }
    Ok(Fates(fates))
}

/// The data of an outcome that is `ok` without keys, as most are.
fn plain(cx: &mut LiftContext<'_>, outcome: &[u8]) -> Option<Result<Data>> {
    let (keys, count) = pair(&outcome[KEYS..]);
    let is_plain = outcome[0] == OK && count == 0 && keys % 4 == 0 && keys as usize <= cx.memory().len();
    is_plain.then(|| Data::copied(cx, pair(&outcome[DATA..])))
}

/// Pointer and length of a list, as they are in memory.
fn pair(bytes: &[u8]) -> (u32, u32) {
    let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    (number(0), number(4))
}
