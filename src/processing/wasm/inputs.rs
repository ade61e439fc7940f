//! A batch on its way into a guest: `list<input>`, written by hand.
//!
//! Always true: what a guest finds in its memory is what the library would have put there for the generated `Input`s. Field by
//! field it would find the guest's memory again for each of them, which costs as much as copying the record.

use std::mem::MaybeUninit;

use wasmtime::component::__internal::wasmtime_environ::component::StringEncoding;
use wasmtime::component::__internal::{CanonicalAbiInfo, InstanceType, InterfaceType, LowerContext};
use wasmtime::component::{ComponentType, Lower};
use wasmtime::{Result, ValRaw};

use crate::record::Origins;
use crate::sequence_number::DIGITS_ROOM;

use super::bindings::Input;
use super::call::{Batch, Given, Place};

/// Where the fields of an `input` are.
const DATA: usize = 0;
const ARRIVAL: usize = 8;
const SOURCE: usize = 16;
/// Of a file.
const PATH: usize = 24;
const OFFSET: usize = 32;
/// Of a shard.
const SHARD_ID: usize = 24;
const PARTITION_KEY: usize = 32;
const SEQUENCE_NUMBER: usize = 40;
const SUBSEQUENCE_NUMBER: usize = 48;
const SIZE: usize = 56;
const ALIGN: u32 = 8;
const _: () = assert!(<Input<'_> as ComponentType>::SIZE32 == SIZE && <Input<'_> as ComponentType>::ALIGN32 == ALIGN);

/// The cases of a `source`.
const FILE: u8 = 0;
const KINESIS: u8 = 1;

/// All records of a batch.
pub(super) struct Inputs<'a> {
    pub batch: Batch<'a>,
    pub records: &'a [Given<'a>],
}

impl Inputs<'_> {
    fn store<T>(&self, cx: &mut LowerContext<'_, T>) -> Result<usize> {
        let at = cx.realloc(0, 0, ALIGN, SIZE * self.records.len())?;
        match self.batch.place {
            Place::File { path } => self.store_of_file(cx, at, path)?,
            Place::Shard { shard_id, origins } => self.store_of_shard(cx, at, shard_id, origins)?,
        }
        Ok(at)
    }

    fn store_of_file<T>(&self, cx: &mut LowerContext<'_, T>, at: usize, path: &str) -> Result<()> {
        let is_utf8 = matches!(cx.options().string_encoding, StringEncoding::Utf8);
        for (record, at) in self.records.iter().zip((at..).step_by(SIZE)) {
            let data_at = cx.realloc(0, 0, 1, record.data.len())?;
            let path_at = if is_utf8 { cx.realloc(0, 0, 1, path.len())? } else { 0 };
            let memory = cx.as_slice_mut();
            memory[data_at..][..record.data.len()].copy_from_slice(record.data);
            let input = &mut memory[at..][..SIZE];
            put_list(&mut input[DATA..], data_at, record.data.len());
            input[ARRIVAL..][..8].copy_from_slice(&self.batch.seed.arrival_ms.to_le_bytes());
            input[SOURCE] = FILE;
            input[OFFSET..][..8].copy_from_slice(&record.position.offset().to_le_bytes());
            if is_utf8 {
                put_list(&mut input[PATH..], path_at, path.len());
                memory[path_at..][..path.len()].copy_from_slice(path.as_bytes());
            } else {
                path.linear_lower_to_memory(cx, InterfaceType::String, at + PATH)?;
            }
        }
        Ok(())
    }

    fn store_of_shard<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        at: usize,
        shard_id: &str,
        origins: &Origins,
    ) -> Result<()> {
        let mut room = [0; DIGITS_ROOM];
        for (record, at) in self.records.iter().zip((at..).step_by(SIZE)) {
            let (number, sub_sequence_number) = record.position.record().unwrap_or_default();
            let source = record.source as usize;
            let arrival = origins.arrival(source).map(|arrival| arrival.as_millisecond().unsigned_abs());
            let data_at = cx.realloc(0, 0, 1, record.data.len())?;
            let memory = cx.as_slice_mut();
            memory[data_at..][..record.data.len()].copy_from_slice(record.data);
            let input = &mut memory[at..][..SIZE];
            put_list(&mut input[DATA..], data_at, record.data.len());
            input[ARRIVAL..][..8].copy_from_slice(&arrival.unwrap_or(self.batch.seed.arrival_ms).to_le_bytes());
            input[SOURCE] = KINESIS;
            input[SUBSEQUENCE_NUMBER..][..8].copy_from_slice(&sub_sequence_number.to_le_bytes());
            put_text(cx, shard_id, at + SHARD_ID)?;
            put_text(cx, origins.partition_key(source), at + PARTITION_KEY)?;
            put_text(cx, number.digits(&mut room), at + SEQUENCE_NUMBER)?;
        }
        Ok(())
    }
}

/// A string of its own, and at `at` where it is.
fn put_text<T>(cx: &mut LowerContext<'_, T>, text: &str, at: usize) -> Result<()> {
    if !matches!(cx.options().string_encoding, StringEncoding::Utf8) {
        return text.linear_lower_to_memory(cx, InterfaceType::String, at);
    }
    let text_at = cx.realloc(0, 0, 1, text.len())?;
    let memory = cx.as_slice_mut();
    memory[text_at..][..text.len()].copy_from_slice(text.as_bytes());
    put_list(&mut memory[at..], text_at, text.len());
    Ok(())
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
