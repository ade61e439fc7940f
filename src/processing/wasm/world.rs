//! The world of a guest: WASI 0.2 with nothing in it, the same in each run, and Hydrant's `log`.
//!
//! Always true: nothing a guest can ask for depends on the machine, the time or another guest, and no call of it waits.
//! Clocks and random numbers follow from the seed alone, which is set before each call.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView};
use wasmtime_wasi::p2::bindings::clocks::{monotonic_clock, wall_clock};
use wasmtime_wasi::p2::bindings::random::{insecure, insecure_seed, random};
use wasmtime_wasi::p2::bindings::{cli, filesystem, sockets, sync};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};
use wasmtime_wasi::sockets::{WasiSockets, WasiSocketsView};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::bindings;
use super::limits::{Deadline, MemoryLimit};
use super::log::{GuestLog, Line};

/// The monotonic clock moves on by so many nanoseconds each time somebody looks at it.
const CLOCK_STEP: u64 = 1_000;
/// Random bytes that one call may ask for.
const RANDOM_BYTES_MAX: u64 = 16 << 20;
/// Streams, pollables and descriptors that a guest may hold at a time.
const RESOURCES_MAX: usize = 10_000;

/// What clocks and random numbers follow from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed {
    /// The batch's arrival time: milliseconds since 1970.
    pub arrival_ms: u64,
    /// The file of the batch's first record, by its number in the journal, and the place in it. Copies of that record in other
    /// batches, of which an earlier step has made several, have the same.
    pub partition: i64,
    pub position: u64,
    /// The step that the batch is for.
    pub step: u32,
    /// The first record's place among those that the step was given together.
    pub index: u32,
}

impl Seed {
    fn key(&self) -> [u8; 32] {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.arrival_ms.to_le_bytes());
        key[8..16].copy_from_slice(&self.partition.to_le_bytes());
        key[16..24].copy_from_slice(&self.position.to_le_bytes());
        key[24..28].copy_from_slice(&self.step.to_le_bytes());
        key[28..].copy_from_slice(&self.index.to_le_bytes());
        key
    }
}

/// What belongs to one instance.
pub(super) struct Guest {
    wasi: WasiCtx,
    table: ResourceTable,
    clock: Clock,
    random: Random,
    pub memory: MemoryLimit,
    pub deadline: Deadline,
    pub log: GuestLog,
}

impl Guest {
    pub fn new(memory: MemoryLimit, log: GuestLog) -> Self {
        let mut wasi = WasiCtx::builder();
        wasi.allow_tcp(false).allow_udp(false).allow_ip_name_lookup(false);
        wasi.stdout(log.lines("stdout")).stderr(log.lines("stderr"));
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES_MAX);
        let (clock, random) = (Clock::default(), Random::default());
        Self { wasi: wasi.build(), table, clock, random, memory, deadline: Deadline::default(), log }
    }

    /// Makes the next call's world: the same for the same seed.
    pub fn set(&mut self, seed: Seed) {
        self.clock = Clock { wall: seed.arrival_ms.saturating_mul(1_000_000), passed: Arc::default() };
        self.random = Random { key: seed.key(), drawn: 0 };
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl bindings::hydrant::transform::types::Host for Guest {}

impl bindings::Host for Guest {
    fn log(&mut self, level: bindings::Level, message: String) {
        self.log.write(&Line::new(level, &message));
    }
}

/// All that a component may import.
pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let l = linker;
    bindings::Transform::add_to_linker::<_, OwnGuest>(l, |guest| guest)?;
    wall_clock::add_to_linker::<_, Clocks>(l, |guest| ClockView::of(guest))?;
    monotonic_clock::add_to_linker::<_, Clocks>(l, |guest| ClockView::of(guest))?;
    random::add_to_linker::<_, RandomView>(l, |guest| &mut guest.random)?;
    insecure::add_to_linker::<_, RandomView>(l, |guest| &mut guest.random)?;
    insecure_seed::add_to_linker::<_, RandomView>(l, |guest| &mut guest.random)?;
    sync::io::poll::add_to_linker::<_, Table>(l, |guest| &mut guest.table)?;
    sync::io::streams::add_to_linker::<_, Table>(l, |guest| &mut guest.table)?;
    wasmtime_wasi::p2::bindings::io::error::add_to_linker::<_, Table>(l, |guest| &mut guest.table)?;
    cli::exit::add_to_linker::<_, WasiCli>(l, Guest::cli)?;
    cli::environment::add_to_linker::<_, WasiCli>(l, Guest::cli)?;
    cli::stdin::add_to_linker::<_, WasiCli>(l, Guest::cli)?;
    cli::stdout::add_to_linker::<_, WasiCli>(l, Guest::cli)?;
    cli::stderr::add_to_linker::<_, WasiCli>(l, Guest::cli)?;
    cli::terminal_input::add_to_linker::<_, WasiCli>(l, Guest::cli)?;
    cli::terminal_output::add_to_linker::<_, WasiCli>(l, Guest::cli)?;
    cli::terminal_stdin::add_to_linker::<_, WasiCli>(l, Guest::cli)?;
    cli::terminal_stdout::add_to_linker::<_, WasiCli>(l, Guest::cli)?;
    cli::terminal_stderr::add_to_linker::<_, WasiCli>(l, Guest::cli)?;
    filesystem::preopens::add_to_linker::<_, WasiFilesystem>(l, Guest::filesystem)?;
    sync::filesystem::types::add_to_linker::<_, WasiFilesystem>(l, Guest::filesystem)?;
    sockets::instance_network::add_to_linker::<_, WasiSockets>(l, Guest::sockets)?;
    sockets::network::add_to_linker::<_, WasiSockets>(l, &sockets::network::LinkOptions::default(), Guest::sockets)?;
    sockets::ip_name_lookup::add_to_linker::<_, WasiSockets>(l, Guest::sockets)?;
    sockets::tcp_create_socket::add_to_linker::<_, WasiSockets>(l, Guest::sockets)?;
    sync::sockets::tcp::add_to_linker::<_, WasiSockets>(l, Guest::sockets)?;
    sync::sockets::udp::add_to_linker::<_, WasiSockets>(l, Guest::sockets)?;
    sync::sockets::udp_create_socket::add_to_linker::<_, WasiSockets>(l, Guest::sockets)
}

struct OwnGuest;

impl HasData for OwnGuest {
    type Data<'a> = &'a mut Guest;
}

struct Table;

impl HasData for Table {
    type Data<'a> = &'a mut ResourceTable;
}

/// Begins at the batch's arrival, and moves on only when it is read or slept on.
#[derive(Default, Clone)]
struct Clock {
    /// Nanoseconds since 1970.
    wall: u64,
    /// Nanoseconds.
    passed: Arc<AtomicU64>,
}

impl Clock {
    fn read(&self) -> u64 {
        self.passed.fetch_add(CLOCK_STEP, Ordering::Relaxed).saturating_add(CLOCK_STEP)
    }
}

struct ClockView<'a> {
    clock: &'a Clock,
    table: &'a mut ResourceTable,
}

impl<'a> ClockView<'a> {
    fn of(guest: &'a mut Guest) -> Self {
        Self { clock: &guest.clock, table: &mut guest.table }
    }
}

struct Clocks;

impl HasData for Clocks {
    type Data<'a> = ClockView<'a>;
}

impl wall_clock::Host for ClockView<'_> {
    fn now(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        let now = self.clock.wall.saturating_add(self.clock.read());
        let nanoseconds = (now % 1_000_000_000) as u32;
        Ok(wall_clock::Datetime { seconds: now / 1_000_000_000, nanoseconds })
    }

    fn resolution(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        Ok(wall_clock::Datetime { seconds: 0, nanoseconds: CLOCK_STEP as u32 })
    }
}

impl monotonic_clock::Host for ClockView<'_> {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(self.clock.read())
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(CLOCK_STEP)
    }

    fn subscribe_instant(&mut self, when: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let sleep = self.table.push(Sleep { passed: self.clock.passed.clone(), until: when })?;
        subscribe(self.table, sleep)
    }

    fn subscribe_duration(&mut self, duration: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let until = self.clock.passed.load(Ordering::Relaxed).saturating_add(duration);
        self.subscribe_instant(until)
    }
}

/// Over as soon as somebody waits for it; by then the clock has moved on.
struct Sleep {
    passed: Arc<AtomicU64>,
    until: u64,
}

#[wasmtime_wasi::async_trait]
impl Pollable for Sleep {
    async fn ready(&mut self) {
        self.passed.fetch_max(self.until, Ordering::Relaxed);
    }
}

/// As many numbers as a guest likes, all of them from the seed.
#[derive(Default)]
struct Random {
    key: [u8; 32],
    drawn: u64,
}

struct RandomView;

impl HasData for RandomView {
    type Data<'a> = &'a mut Random;
}

impl Random {
    fn next(&mut self) -> u64 {
        self.drawn += 1;
        xxhash_rust::xxh3::xxh3_64_with_seed(&self.key, self.drawn)
    }

    fn bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        if length > RANDOM_BYTES_MAX {
            wasmtime::bail!(
                "the component asks for {length} random bytes at once, of which there are {RANDOM_BYTES_MAX}"
            );
        }
        let length = length as usize;
        let mut bytes = Vec::with_capacity(length + 7);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(length);
        Ok(bytes)
    }
}

impl random::Host for Random {
    fn get_random_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        self.bytes(length)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(self.next())
    }
}

impl insecure::Host for Random {
    fn get_insecure_random_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        self.bytes(length)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(self.next())
    }
}

impl insecure_seed::Host for Random {
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        Ok((self.next(), self.next()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_numbers_follow_from_all_of_the_seed() {
        let seed = Seed { arrival_ms: 1, partition: 1, position: 1, step: 1, index: 1 };
        let others = [
            Seed { arrival_ms: 2, ..seed },
            Seed { partition: 2, ..seed },
            Seed { position: 2, ..seed },
            Seed { step: 2, ..seed },
            Seed { index: 2, ..seed },
        ];
        let numbers = |seed: Seed| {
            let mut random = Random { key: seed.key(), drawn: 0 };
            [random.next(), random.next()]
        };
        assert_eq!(numbers(seed), numbers(seed));
        let all: std::collections::BTreeSet<_> = others.iter().chain([&seed]).copied().flat_map(numbers).collect();
        assert_eq!(all.len(), 2 * (1 + others.len()));
    }
}
