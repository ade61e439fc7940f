//! `hydrant delivered`: has all of a file been delivered?
//!
//! Always true: status 0 means that every delivery stream that reads a file has delivered all of it, as far as it reached
//! when it was looked at; whatever is not known counts as not delivered.

use std::fs::{File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use crate::chain::chain;
use crate::config::model::Config;
use crate::delivered::{Progress, Readers, Records, Standing, State};
use crate::journal::JournalView;

/// Tells how much of each FILE is delivered, in flight (in a delivery that is not settled), skipped (never read, as the stream
/// began at the file's end with `initial_position: latest`) and unread (all else), for each delivery stream that reads it.
///
/// Exits with 0 only when all of every FILE is delivered by every delivery stream that reads it: those whose paths match it,
/// and those that read it under another name. 1 otherwise, also for a file that no delivery stream reads or has seen. A
/// last line without its delimiter is unread until it is delivered. Works while the daemon runs and while it does not.
#[derive(Args)]
#[command(after_help = "Example:
  hydrant delivered --quiet /var/log/app.log.1 && rm /var/log/app.log.1

Standard output is tab separated, with a header: file, stream, state (delivered, not_delivered, \
never_seen, not_read), size, then bytes and records that are delivered, in flight, unread and skipped.

Ask about files that nobody writes to any more: what comes to a file after the answer is not part of it.")]
pub struct Arguments {
    /// The files; a symbolic link stands for the file that it leads to.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "/etc/hydrant/hydrant.yaml")]
    config: PathBuf,
    /// Print one JSON object a line.
    #[arg(long, conflicts_with = "quiet")]
    json: bool,
    /// Print nothing on standard output, and count no records: that reads the whole file.
    #[arg(long, short)]
    quiet: bool,
}

const HEADER: &str = "file\tstream\tstate\tsize\tdelivered_bytes\tdelivered_records\tin_flight_bytes\tin_flight_records\t\
                      unread_bytes\tunread_records\tskipped_bytes\tskipped_records";

/// Why a file does not count as delivered.
#[derive(Debug, thiserror::Error)]
enum Reason {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("this is not a file")]
    NoFile,
    #[error("no delivery stream reads it")]
    NotRead,
    #[error("{0}")]
    NotDelivered(String),
}

/// One file in one delivery stream.
#[derive(Serialize)]
struct Line<'a> {
    file: String,
    /// `None` where no delivery stream reads the file.
    stream: Option<&'a str>,
    state: &'static str,
    /// Bytes in the file, without the NULs behind its text.
    size: u64,
    delivered: Amount,
    in_flight: Amount,
    unread: Amount,
    skipped: Amount,
}

#[derive(Serialize)]
struct Amount {
    bytes: u64,
    /// `None` where no delivery stream says what a record is.
    records: Option<u64>,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    let config = match super::or_shown(crate::config::load_to_look(&arguments.config)) {
        Ok(config) => config,
        Err(status) => return status,
    };
    let (readers, view) = match look(&config) {
        Ok(looked) => looked,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(super::FAILED);
        }
    };
    let mut is_all_delivered = true;
    let mut say_no = |path: &Path, error: &dyn std::fmt::Display| {
        eprintln!("{}: {error}", path.display());
        is_all_delivered = false;
    };
    let mut print = Printer { arguments, has_begun: false };
    let mut delivered = Vec::new();
    for path in &arguments.files {
        match examine(path, &readers, &view, &mut print) {
            Ok(before) => delivered.push((path, before)),
            Err(reason) => say_no(path, &reason),
        }
    }
    // Counting may have taken a while.
    for (path, before) in delivered {
        if !std::fs::metadata(path).is_ok_and(|now| is_unchanged(&before, &now)) {
            say_no(path, &"it has changed while it was looked at");
        }
    }
    if is_all_delivered { ExitCode::SUCCESS } else { ExitCode::from(super::FAILED) }
}

/// The journal first: what comes to a file behind it counts as unread.
fn look(config: &Config) -> Result<(Readers, JournalView), String> {
    let view = JournalView::read(&config.state_dir)
        .map_err(|error| format!("the state database cannot be read: {}", chain(&error)))?;
    let view = view.unwrap_or_else(|| {
        eprintln!("there is no state database in {}: nothing was delivered yet", config.state_dir.display());
        JournalView::default()
    });
    let mut readers =
        Readers::new(&config.delivery_streams).map_err(|error| format!("a glob cannot be used: {error}"))?;
    readers.scan();
    Ok((readers, view))
}

/// Prints what there is to say of one file: the file as it was looked at if all of it is delivered, else why it is not.
fn examine(path: &Path, readers: &Readers, view: &JournalView, print: &mut Printer<'_>) -> Result<Metadata, Reason> {
    let before = std::fs::metadata(path)?;
    // What is no file (a pipe) might wait without end for somebody who writes to it.
    if !before.is_file() {
        return Err(Reason::NoFile);
    }
    let file = File::open(path)?;
    let standings = readers.standings(&file, path, view)?;
    if standings.is_empty() {
        print.line(&Line::unread(path, None, "not_read", file.metadata()?.len(), None))?;
        return Err(Reason::NotRead);
    }
    for standing in &standings {
        let records = if print.arguments.quiet { Records::default() } else { standing.records(&file)? };
        print.line(&line(path, &file, standing, records)?)?;
    }
    let mut reasons: Vec<_> = standings.iter().filter(|standing| !standing.is_complete()).map(explain).collect();
    if reasons.is_empty() && !is_whole(&standings, &file)? {
        reasons.push(String::from("it cannot be decompressed to its end; all before that is delivered"));
    }
    if reasons.is_empty() { Ok(before) } else { Err(Reason::NotDelivered(reasons.join("; "))) }
}

/// Whether what is delivered is all that the file holds.
fn is_whole(standings: &[Standing<'_>], file: &File) -> io::Result<bool> {
    standings.iter().try_fold(true, |whole, standing| Ok(whole && standing.is_whole(file)?))
}

/// For people: why one delivery stream has not delivered all of a file.
fn explain(standing: &Standing<'_>) -> String {
    let stream = &standing.reader.stream;
    let Some(progress) = &standing.progress else { return format!("delivery stream `{stream}` has never seen it") };
    let (in_flight, unread) = (progress.bytes(State::InFlight), progress.bytes(State::Unread));
    let skipped = progress.bytes(State::Skipped);
    let never = if skipped > 0 { format!(", {skipped} bytes were skipped at first sight") } else { String::new() };
    if in_flight + unread + skipped > 0 {
        return format!(
            "delivery stream `{stream}` has {in_flight} bytes of it in flight, {unread} bytes are unread{never}"
        );
    }
    let Progress { checkpoint, size, .. } = progress;
    format!("in delivery stream `{stream}` all is settled, but the checkpoint is at {checkpoint} of {size}")
}

/// Whether a name still leads to the same file, and that is as it was.
fn is_unchanged(before: &Metadata, now: &Metadata) -> bool {
    let state = |m: &Metadata| (m.dev(), m.ino(), m.len(), m.mtime(), m.mtime_nsec());
    state(before) == state(now)
}

fn line<'a>(path: &Path, file: &File, standing: &Standing<'a>, records: Records) -> io::Result<Line<'a>> {
    let stream = standing.reader.stream.as_str();
    let Some(progress) = &standing.progress else {
        return Ok(Line::unread(path, Some(stream), "never_seen", standing.size(file)?, Some(records.unread)));
    };
    let amount = |state, records| Amount { bytes: progress.bytes(state), records: Some(records) };
    Ok(Line {
        file: path.display().to_string(),
        stream: Some(stream),
        state: if progress.is_complete() && standing.is_whole(file)? { "delivered" } else { "not_delivered" },
        size: progress.size,
        delivered: amount(State::Delivered, records.delivered),
        in_flight: amount(State::InFlight, records.in_flight),
        unread: amount(State::Unread, records.unread),
        skipped: amount(State::Skipped, records.skipped),
    })
}

impl<'a> Line<'a> {
    /// Of a file of which nothing has been delivered.
    fn unread(path: &Path, stream: Option<&'a str>, state: &'static str, size: u64, records: Option<u64>) -> Self {
        let nothing = || Amount { bytes: 0, records: records.map(|_| 0) };
        let unread = Amount { bytes: size, records };
        let file = path.display().to_string();
        Self { file, stream, state, size, delivered: nothing(), in_flight: nothing(), unread, skipped: nothing() }
    }

    fn tab_separated(&self) -> String {
        // A name may hold what would end a column or a line.
        let file: String = self.file.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        let mut columns =
            vec![file, self.stream.unwrap_or("-").to_owned(), self.state.to_owned(), self.size.to_string()];
        for Amount { bytes, records } in [&self.delivered, &self.in_flight, &self.unread, &self.skipped] {
            columns.push(bytes.to_string());
            columns.push(records.map_or_else(|| String::from("-"), |records| records.to_string()));
        }
        columns.join("\t")
    }
}

/// Standard output, in the format that was asked for.
struct Printer<'a> {
    arguments: &'a Arguments,
    has_begun: bool,
}

impl Printer<'_> {
    fn line(&mut self, line: &Line<'_>) -> io::Result<()> {
        if self.arguments.quiet {
            return Ok(());
        }
        let mut stdout = io::stdout().lock();
        if self.arguments.json {
            return writeln!(stdout, "{}", serde_json::to_string(line)?);
        }
        if !std::mem::replace(&mut self.has_begun, true) {
            writeln!(stdout, "{HEADER}")?;
        }
        writeln!(stdout, "{}", line.tab_separated())
    }
}
