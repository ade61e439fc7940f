//! What `--drain` and `redrive` show while they run, and the summary of a drain: a bar on a terminal, plain lines elsewhere.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::account::Account;
use crate::config::model::DestinationConfig;
use crate::daemon::Statuses;
use crate::status::StreamStatus;

const BAR_INTERVAL: Duration = Duration::from_millis(100);
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Shows progress. Cheap to clone.
#[derive(Clone)]
pub struct Display {
    bar: Option<ProgressBar>,
    began: Instant,
}

impl Display {
    pub fn new() -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            let template = "{bar:30} {percent:>3}%  {msg}";
            bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        Self { bar, began: Instant::now() }
    }

    pub fn is_terminal(&self) -> bool {
        self.bar.is_some()
    }

    /// Shows the figures until it is aborted.
    pub async fn follow(self, statuses: Statuses) {
        let mut interval = self.interval().await;
        loop {
            interval.tick().await;
            let all = statuses.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let figures = Figures::of(&all);
            let text = figures.line(self.began.elapsed());
            self.show(figures.bytes_read, figures.bytes_read + figures.bytes_behind, text);
        }
    }

    /// Ticks when something is to be shown, for the first time after its period.
    pub async fn interval(&self) -> tokio::time::Interval {
        let mut interval = tokio::time::interval(if self.bar.is_some() { BAR_INTERVAL } else { LINE_INTERVAL });
        interval.tick().await;
        interval
    }

    /// So much of so much is done.
    pub fn show(&self, done: u64, all: u64, text: String) {
        match &self.bar {
            Some(bar) => {
                bar.set_length(all);
                bar.set_position(done);
                bar.set_message(text);
            }
            None => eprintln!("{text}"),
        }
    }

    /// Writes data to standard output, a header before it unless that is empty, without harm to the bar.
    pub fn print_data(&self, header: &str, line: &str) -> io::Result<()> {
        let print = || {
            let mut stdout = io::stdout().lock();
            if !header.is_empty() {
                writeln!(stdout, "{header}")?;
            }
            writeln!(stdout, "{line}")
        };
        self.bar.as_ref().map_or_else(print, |bar| bar.suspend(print))
    }

    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// Where the log goes: above the bar.
    pub fn writer(&self) -> impl Write + use<> {
        LogWriter { bar: self.bar.clone() }
    }
}

struct LogWriter {
    bar: Option<ProgressBar>,
}

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &self.bar {
            Some(bar) => bar.suspend(|| io::stderr().write_all(bytes))?,
            None => io::stderr().write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[derive(Default)]
struct Figures {
    bytes_read: u64,
    bytes_behind: u64,
    /// Of Kinesis streams.
    millis_behind: Option<u64>,
    records: u64,
    delivered: u64,
    objects: u64,
    problem: Option<String>,
}

impl Figures {
    fn of(all: &[Arc<StreamStatus>]) -> Self {
        let mut figures = Self::default();
        for status in all {
            figures.bytes_read += status.bytes_read();
            figures.bytes_behind += status.source.behind.load(Ordering::Relaxed);
            figures.millis_behind = figures.millis_behind.max(status.source.millis_behind_latest());
            figures.records += status.source.records.load(Ordering::Relaxed);
            figures.delivered += status.records_delivered.load(Ordering::Relaxed);
            figures.objects += status.objects.load(Ordering::Relaxed);
            figures.problem = figures.problem.or_else(|| status.problem().map(|p| format!("{}: {p}", status.name)));
        }
        figures
    }

    fn line(&self, elapsed: Duration) -> String {
        let rate = self.bytes_read as f64 / elapsed.as_secs_f64().max(0.001);
        let mut text = format!(
            "{} read ({}/s), {} records, {} delivered in {} objects",
            HumanBytes(self.bytes_read),
            HumanBytes(rate as u64),
            HumanCount(self.records),
            HumanCount(self.delivered),
            HumanCount(self.objects),
        );
        if let Some(millis) = self.millis_behind {
            let _ = write!(text, ", {} ms behind the newest record", HumanCount(millis));
        }
        if let Some(problem) = &self.problem {
            let _ = write!(text, "; {problem}");
        }
        text
    }
}

/// What a drain did, and whether everything was read and every record is accounted for.
pub fn summary(all: &[Arc<StreamStatus>], places: &[DestinationConfig]) -> (String, bool) {
    let mut text = String::new();
    let mut is_whole = true;
    for status in all {
        let (fate, copy) = status.accounts();
        let _ = writeln!(text, "delivery stream {}", status.name);
        let _ = writeln!(
            text,
            "  {} in {} records read, {} in {} objects written",
            HumanBytes(status.bytes_read()),
            HumanCount(status.source.records.load(Ordering::Relaxed)),
            HumanBytes(status.object_bytes.load(Ordering::Relaxed)),
            HumanCount(status.objects.load(Ordering::Relaxed)),
        );
        let mut show = |what: &str, account: Account| {
            let _ = writeln!(text, "  {what}: {account}");
            if account.difference() != 0 || account.in_flight != 0 {
                is_whole = false;
                let difference = account.difference();
                let _ = writeln!(text, "  THE ACCOUNT DOES NOT BALANCE: difference {difference}");
            }
        };
        show("account of records", fate);
        if copy != Account::default() {
            show("copies in the backup", copy);
        }
        for (what, bytes) in [
            ("cut from records over the limit", status.source.cut_bytes.load(Ordering::Relaxed)),
            ("lost before they could be read", status.source.lost_bytes.load(Ordering::Relaxed)),
        ] {
            if bytes > 0 {
                let _ = writeln!(text, "  {what}: {bytes} bytes");
            }
        }
        let refused = status.source.refused.load(Ordering::Relaxed);
        if refused > 0 {
            is_whole = false;
            let _ = writeln!(text, "  {refused} files or folders could not be read: see the log");
        }
        if status.imbalances.load(Ordering::Relaxed) > 0 {
            is_whole = false;
            let _ = writeln!(text, "  the account did not balance at some moment: see the log");
        }
    }
    let mut seen = Vec::new();
    for place in places {
        let place = place.place();
        if !seen.contains(&place) {
            let _ = writeln!(text, "look in {place}");
            seen.push(place);
        }
    }
    (text, is_whole)
}
