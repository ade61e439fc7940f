//! A batch on its way into a guest: `list<input>`, written by hand.
//!
//! Always true: what a guest finds in its memory is what the library would have put there for the generated `Input`s. Field by
//! field it would find the guest's memory again for each of them, which costs as much as copying the record.

use std::mem::MaybeUninit;

use wasmtime::component::__internal::wasmtime_environ::component::StringEncoding;
use wasmtime::component::__internal::{CanonicalAbiInfo, InstanceType, InterfaceType, LowerContext};
use wasmtime::component::{ComponentType, Lower};
use wasmtime::{Result, ValRaw};

use super::bindings::Input;
use super::call::{Batch, Given};

/// Where the fields of an `input` are.
const DATA: usize = 0;
const ARRIVAL: usize = 8;
const SOURCE: usize = 16;
const PATH: usize = 24;
const OFFSET: usize = 32;
/// The other kind of source is longer.
const USED: usize = 40;
const SIZE: usize = 56;
const ALIGN: u32 = 8;
const _: () = assert!(<Input<'_> as ComponentType>::SIZE32 == SIZE && <Input<'_> as ComponentType>::ALIGN32 == ALIGN);

/// The case `file` of a `source`.
const FILE: u8 = 0;

/// All records of a batch.
pub(super) struct Inputs<'a> {
    pub batch: Batch<'a>,
    pub records: &'a [Given<'a>],
}

impl Inputs<'_> {
    fn store<T>(&self, cx: &mut LowerContext<'_, T>) -> Result<usize> {
        let at = cx.realloc(0, 0, ALIGN, SIZE * self.records.len())?;
        let path = self.batch.path.as_bytes();
        let is_utf8 = matches!(cx.options().string_encoding, StringEncoding::Utf8);
        for (record, at) in self.records.iter().zip((at..).step_by(SIZE)) {
            let data_at = cx.realloc(0, 0, 1, record.data.len())?;
            let path_at = if is_utf8 { cx.realloc(0, 0, 1, path.len())? } else { 0 };
            let memory = cx.as_slice_mut();
            memory[data_at..][..record.data.len()].copy_from_slice(record.data);
            let input = &mut memory[at..][..USED];
            put_list(&mut input[DATA..], data_at, record.data.len());
            input[ARRIVAL..][..8].copy_from_slice(&self.batch.seed.arrival_ms.to_le_bytes());
            input[SOURCE] = FILE;
            input[OFFSET..][..8].copy_from_slice(&record.position.offset().to_le_bytes());
            if is_utf8 {
                put_list(&mut input[PATH..], path_at, path.len());
                memory[path_at..][..path.len()].copy_from_slice(path);
            } else {
                self.batch.path.linear_lower_to_memory(cx, InterfaceType::String, at + PATH)?;
            }
        }
        Ok(at)
    }
}

/// Where a list is, and of how many elements.
fn put_list(to: &mut [u8], at: usize, length: usize) {
    to[..4].copy_from_slice(&(at as u32).to_le_bytes());
    to[4..8].copy_from_slice(&(length as u32).to_le_bytes());
}

// SAFETY: everything is as `[Input]` has it.
unsafe impl ComponentType for Inputs<'_> {
    type Lower = [ValRaw; 2];
    const ABI: CanonicalAbiInfo = CanonicalAbiInfo::POINTER_PAIR;

    fn typecheck(ty: &InterfaceType, types: &InstanceType<'_>) -> Result<()> {
        <[Input<'_>] as ComponentType>::typecheck(ty, types)
    }
}

// SAFETY: both write all of the pair; the library checks that what the guest's `realloc` has given is its own memory.
unsafe impl Lower for Inputs<'_> {
    fn linear_lower_to_flat<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        _: InterfaceType,
        to: &mut MaybeUninit<[ValRaw; 2]>,
    ) -> Result<()> {
        let at = self.store(cx)?;
        to.write([ValRaw::i64(at as i64), ValRaw::i64(self.records.len() as i64)]);
        Ok(())
    }

    fn linear_lower_to_memory<T>(&self, cx: &mut LowerContext<'_, T>, _: InterfaceType, to: usize) -> Result<()> {
        let at = self.store(cx)?;
        put_list(cx.get::<8>(to), at, self.records.len());
        Ok(())
    }
}
