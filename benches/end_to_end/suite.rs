//! The usual run: every case of every workload, several times in turn, as one table; then the aims.

use std::error::Error;
use std::path::Path;

use crate::Settings;
use crate::bare::{self, Codec};
use crate::hydrant::{self, BUFFER_MB, Compression, Processing};
use crate::process::Usage;
use crate::workload::Workload;

/// The levels of `compression: gzip` and `compression: zstd` in src/config/hints.rs.
const GZIP_LEVEL_DEFAULT: i32 = 1;
const ZSTD_LEVEL_DEFAULT: i32 = 1;

/// Fluent Bit 5.1, tail → gzip → S3, on a machine like the one of the README's figures.
struct Peer {
    /// 10^6 bytes of input for each CPU second.
    rate: f64,
    ratio: f64,
}

fn fluent_bit(workload: Workload) -> Peer {
    match workload {
        Workload::Nginx => Peer { rate: 56.0, ratio: 7.4 },
        Workload::Json => Peer { rate: 46.0, ratio: 5.3 },
    }
}

enum Case {
    Bare(Codec),
    /// With the bare codecs that it is held against, the one that it uses first.
    Hydrant(Compression, Vec<Codec>),
    /// The same with a component in its path that gives every record back, held against the one without.
    PassThrough(Compression),
}

struct Measured {
    case: Case,
    usage: Usage,
    /// Bytes that came out.
    output: u64,
}

pub fn run(settings: &Settings) -> Result<(), Box<dyn Error>> {
    println!("# End to end\n");
    println!(
        "{:.2} GB of each workload from the page cache, buffers of {BUFFER_MB} MB, best of {} runs (memory: the most). \
         GB and MB are 10^9 and 10^6 bytes.\n",
        settings.bytes as f64 / 1e9,
        settings.runs
    );
    let mut aims = Vec::new();
    for workload in [Workload::Nginx, Workload::Json] {
        let input = workload.file(&settings.cache, settings.bytes)?;
        let fitting = fitting_level(settings, workload, &input)?;
        let measured = measure(settings, cases(fitting), &input)?;
        print_table(settings, workload, &measured);
        aims.extend(judge(settings, workload, fitting, &measured));
    }
    println!("## Aims\n\n| aim | measured | |\n| --- | ---: | --- |");
    aims.iter().for_each(|aim| println!("{aim}"));
    Ok(())
}

/// The lowest level of gzip whose output is no larger than Fluent Bit's, judged by the first tenth of a GB.
fn fitting_level(settings: &Settings, workload: Workload, input: &Path) -> Result<i32, Box<dyn Error>> {
    let sample = settings.bytes.min(100_000_000);
    for level in 1..=12 {
        let (_, output) = bare::run(Codec::Libdeflate(level), input, sample, &settings.cache)?;
        if sample as f64 / output as f64 >= fluent_bit(workload).ratio {
            return Ok(level);
        }
    }
    Err(format!("no level reaches Fluent Bit's ratio on {}", workload.name()).into())
}

fn cases(fitting: i32) -> Vec<Case> {
    let mut levels = vec![GZIP_LEVEL_DEFAULT, 6, fitting];
    levels.sort_unstable();
    levels.dedup();

    let mut cases = vec![Case::Bare(Codec::Copy), Case::Hydrant(Compression::None, vec![Codec::Copy])];
    for level in levels {
        let bare = [Codec::Libdeflate(level), Codec::Flate2(level.min(9))];
        cases.extend(bare.map(Case::Bare));
        let compression = if level == GZIP_LEVEL_DEFAULT { Compression::GzipDefault } else { Compression::Gzip(level) };
        cases.push(Case::Hydrant(compression, bare.to_vec()));
    }
    cases.extend([Compression::None, Compression::Gzip(6)].map(Case::PassThrough));
    for (compression, codec) in
        [(Compression::ZstdDefault, Codec::Zstd(ZSTD_LEVEL_DEFAULT)), (Compression::SnappyDefault, Codec::Snappy)]
    {
        cases.extend([Case::Bare(codec), Case::Hydrant(compression, vec![codec])]);
    }
    cases
}

/// All cases once, then all again: what else the machine does falls on all of them.
fn measure(settings: &Settings, cases: Vec<Case>, input: &Path) -> Result<Vec<Measured>, Box<dyn Error>> {
    let mut measured: Vec<Measured> = Vec::new();
    for case in cases {
        let (usage, output) = once(settings, &case, input)?;
        measured.push(Measured { case, usage, output });
    }
    for _ in 1..settings.runs {
        for row in &mut measured {
            let (usage, _) = once(settings, &row.case, input)?;
            row.usage = row.usage.best(usage);
        }
    }
    Ok(measured)
}

fn once(settings: &Settings, case: &Case, input: &Path) -> Result<(Usage, u64), Box<dyn Error>> {
    match case {
        Case::Bare(codec) => bare::run(*codec, input, settings.bytes, &settings.cache),
        Case::Hydrant(compression, _) => hydrant::drain(&settings.cache, input, Processing::None, compression),
        Case::PassThrough(compression) => hydrant::drain(&settings.cache, input, Processing::PassThrough, compression),
    }
}

impl Measured {
    /// 10^6 bytes of input for each CPU second.
    fn rate(&self, settings: &Settings) -> f64 {
        settings.bytes as f64 / 1e6 / self.usage.cpu.as_secs_f64()
    }

    fn ratio(&self, settings: &Settings) -> f64 {
        settings.bytes as f64 / self.output as f64
    }

    fn peak_mb(&self) -> f64 {
        self.usage.peak as f64 / 1e6
    }
}

/// CPU time of `row` in multiples of the bare codec's.
fn times_bare(measured: &[Measured], row: &Measured, codec: Codec) -> f64 {
    let bare = measured.iter().find(|row| matches!(row.case, Case::Bare(bare) if bare == codec));
    bare.map_or(f64::NAN, |bare| row.usage.cpu.as_secs_f64() / bare.usage.cpu.as_secs_f64())
}

/// Processor seconds of the run without the component that `row` has.
fn without_component(measured: &[Measured], compression: &Compression) -> f64 {
    let same = |row: &&Measured| matches!(&row.case, Case::Hydrant(other, _) if other == compression);
    measured.iter().find(same).map_or(f64::NAN, |row| row.usage.cpu.as_secs_f64())
}

fn print_table(settings: &Settings, workload: Workload, measured: &[Measured]) {
    println!("## {}\n", workload.name());
    println!("| case | MB/s | CPU s/GB | MB/CPU s | peak MB | ratio | CPU against bare |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | --- |");
    for row in measured {
        let (name, against) = match &row.case {
            Case::Bare(codec) => (codec.to_string(), String::new()),
            Case::Hydrant(compression, codecs) => {
                let times = codecs.iter().map(|codec| format!("{:.2} × {codec}", times_bare(measured, row, *codec)));
                (format!("**Hydrant, {}**", compression.label()), times.collect::<Vec<_>>().join(", "))
            }
            Case::PassThrough(compression) => {
                let times = row.usage.cpu.as_secs_f64() / without_component(measured, compression);
                let name = format!("**Hydrant, pass-through component, {}**", compression.label());
                (name, format!("{times:.2} × Hydrant without it"))
            }
        };
        println!(
            "| {name} | {:.0} | {:.2} | {:.0} | {:.0} | {:.2} | {against} |",
            settings.bytes as f64 / 1e6 / row.usage.wall.as_secs_f64(),
            1000.0 / row.rate(settings),
            row.rate(settings),
            row.peak_mb(),
            row.ratio(settings),
        );
    }
    println!();
}

/// One line for each aim.
fn judge(settings: &Settings, workload: Workload, fitting: i32, measured: &[Measured]) -> Vec<String> {
    let peer = fluent_bit(workload);
    let mut aims = Vec::new();
    let mut aim = |text: String, value: String, met: bool| {
        aims.push(format!("| {}: {text} | {value} | {} |", workload.name(), if met { "met" } else { "**missed**" }));
    };
    for row in measured {
        if let Case::PassThrough(compression) = &row.case {
            let (with, without) = (row.usage.cpu.as_secs_f64(), without_component(measured, compression));
            match compression {
                Compression::None => {
                    let rate = settings.bytes as f64 / 1e6 / (with - without);
                    let text = "a pass-through component takes at least 1,000 MB for each CPU second of its own";
                    aim(text.into(), format!("{rate:.0}"), rate >= 1000.0);
                }
                _ => {
                    let text = format!("{}: a pass-through component adds at most 20 % of CPU", compression.label());
                    aim(text, format!("{:.0} %", 100.0 * (with / without - 1.0)), with <= 1.2 * without);
                }
            }
        }
        let Case::Hydrant(compression, codecs) = &row.case else { continue };
        let (label, rate, ratio) = (compression.label(), row.rate(settings), row.ratio(settings));
        aim(format!("{label}: peak memory under 150 MB"), format!("{:.0}", row.peak_mb()), row.peak_mb() < 150.0);
        let level = match compression {
            Compression::None => {
                aim(format!("{label}: at least 1,200 MB for each CPU second"), format!("{rate:.0}"), rate >= 1200.0);
                continue;
            }
            Compression::GzipDefault => GZIP_LEVEL_DEFAULT,
            Compression::Gzip(level) => *level,
            Compression::SnappyDefault | Compression::ZstdDefault => continue,
        };
        let times = times_bare(measured, row, codecs[0]);
        aim(format!("{label}: at most 1.25 times the CPU of {}", codecs[0]), format!("{times:.2}"), times <= 1.25);
        let against_peer = format!("{:.1} times, ratio {ratio:.2}", rate / peer.rate);
        if level == GZIP_LEVEL_DEFAULT {
            aim(
                format!(
                    "{label}: five times Fluent Bit's {} MB/CPU s, ratio at least {:.2}",
                    peer.rate,
                    peer.ratio / 1.2
                ),
                against_peer.clone(),
                rate >= 5.0 * peer.rate && ratio >= peer.ratio / 1.2,
            );
        }
        if level == fitting {
            aim(
                format!("{label}: three times Fluent Bit's {} MB/CPU s, ratio at least {}", peer.rate, peer.ratio),
                against_peer,
                rate >= 3.0 * peer.rate && ratio >= peer.ratio,
            );
        }
    }
    aims
}
