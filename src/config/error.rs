//! What is wrong with a configuration, and where.
//!
//! No secret is ever in here: messages name variables and keys, never the values behind them, and a line of the file is
//! kept for the snippet only if no key on it looks like a secret's. `Debug` is therefore as safe as `Display`.

use std::fmt;
use std::path::PathBuf;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents};
use miette::{SourceCode, SourceSpan, SpanContents};

/// Errors shown at most: whoever has more of them has one mistake many times.
const ERRORS_SHOWN_MAX: usize = 100;

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// As the operator named it; for an included file, the folder of the including file and its name in it.
    pub file: PathBuf,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// For example `delivery_streams[0].buffering.size_mb`; empty where the file as a whole is at fault.
    pub key: String,
    /// What is wrong and what is allowed.
    pub message: String,
    /// What to do about it; may have several lines.
    pub help: Option<String>,
    pub(super) snippet: Option<Snippet>,
}

/// The line that is at fault, kept for the terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Snippet {
    pub line: String,
    /// Bytes of `line`.
    pub start: usize,
    pub length: usize,
}

/// All mistakes of a configuration and of the files it includes, in the order of the files and of their lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    errors: Vec<ConfigError>,
    omitted: usize,
}

impl ConfigErrors {
    /// `errors` in the order in which they are to be shown.
    pub(super) fn new(errors: impl ExactSizeIterator<Item = ConfigError>) -> Self {
        let omitted = errors.len().saturating_sub(ERRORS_SHOWN_MAX);
        Self { errors: errors.take(ERRORS_SHOWN_MAX).collect(), omitted }
    }

    pub fn errors(&self) -> &[ConfigError] {
        &self.errors
    }

    /// For a terminal of `width` columns: each mistake with the line it is on, unless that line may hold a secret.
    pub fn render(&self, width: usize, color: bool) -> String {
        let theme = if color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
        let handler = GraphicalReportHandler::new_themed(theme).with_width(width.max(40)).with_context_lines(0);
        let mut text = String::new();
        for error in &self.errors {
            // Writing into a String does not fail; if miette does, the plain line says the same.
            if handler.render_report(&mut text, error).is_err() {
                text.push_str(&error.in_full());
            }
            text.push('\n');
        }
        if let Some(line) = self.omitted_line() {
            text.push_str(&line);
            text.push('\n');
        }
        text
    }

    fn omitted_line(&self) -> Option<String> {
        (self.omitted > 0).then(|| format!("and {} more mistakes", self.omitted))
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.errors.iter().map(ConfigError::in_full).chain(self.omitted_line());
        f.write_str(&lines.collect::<Vec<_>>().join("\n"))
    }
}

impl std::error::Error for ConfigErrors {}

impl ConfigError {
    /// `file:line:column: message`, the help indented below.
    fn in_full(&self) -> String {
        let mut text = format!("{}:{}:{}: {}", self.file.display(), self.line, self.column, self.message);
        for line in self.help.iter().flat_map(|help| help.lines()) {
            text.push_str("\n    ");
            text.push_str(line);
        }
        text
    }
}

/// Without the place where the snippet's own header names it.
impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.snippet.is_none() {
            write!(f, "{}:{}:{}: ", self.file.display(), self.line, self.column)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConfigError {}

impl Diagnostic for ConfigError {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.snippet.is_some().then_some(self as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let snippet = self.snippet.as_ref()?;
        Some(Box::new(std::iter::once(LabeledSpan::new(None, snippet.start, snippet.length))))
    }
}

/// One line, under its own number: the rest of the file is not kept.
impl SourceCode for ConfigError {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        _lines_before: usize,
        _lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let snippet = self.snippet.as_ref().ok_or(MietteError::OutOfBounds)?;
        if span.offset() + span.len() > snippet.line.len() {
            return Err(MietteError::OutOfBounds);
        }
        let name = self.file.display().to_string();
        let (data, whole_line) = (snippet.line.as_bytes(), SourceSpan::from((0, snippet.line.len())));
        // The header shows the contents' own column: the label's, not the line's start.
        let (line, column) = (self.line - 1, self.column - 1);
        Ok(Box::new(MietteSpanContents::new_named(name, data, whole_line, line, column, 1)))
    }
}
