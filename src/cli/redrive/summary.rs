//! What a redrive has done, for people.

use std::fmt::Write as _;

use indicatif::{HumanBytes, HumanCount};

use crate::redrive::Summary;
use crate::redrive::progress::Problem;

/// Problems that are shown; the log and `--json` have more.
const PROBLEMS_SHOWN: usize = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tense {
    Has,
    /// Nothing was sent.
    Would,
}

/// While it goes on.
pub(super) fn line(summary: &Summary, tense: Tense) -> String {
    let Summary { objects, objects_done, objects_before, read, delivered, failed_again, .. } = summary;
    let done = HumanCount(objects_done + objects_before);
    let (objects, read) = (HumanCount(*objects), HumanCount(*read));
    let mut text = format!("{done} of {objects} objects, {read} failed records read");
    if tense == Tense::Has {
        let _ = write!(text, ", {} delivered, {} failed again", HumanCount(*delivered), HumanCount(*failed_again));
    }
    if let Some(problem) = &summary.problem {
        let _ = write!(text, "; {problem}");
    }
    text
}

/// At its end.
pub(super) fn text(stream: &str, summary: &Summary, tense: Tense) -> String {
    let mut text = String::new();
    let (objects, bytes) = (HumanCount(summary.objects), HumanBytes(summary.object_bytes));
    let what = if summary.objects == 1 { "error object" } else { "error objects" };
    let _ = writeln!(text, "delivery stream {stream}: {objects} {what}, {bytes}");
    let width = summary.codes.iter().map(|code| code.error_type.len()).max().unwrap_or_default();
    for code in &summary.codes {
        let _ =
            writeln!(text, "  {:>12}  {:width$}  {}", HumanCount(code.records).to_string(), code.error_type, code.code);
    }
    let mut figure = |count: u64, what: &str| {
        let _ = writeln!(text, "  {count:>12}  {what}", count = HumanCount(count).to_string());
    };
    figure(
        summary.read,
        if tense == Tense::Would { "failed records would be sent again" } else { "failed records read" },
    );
    for (count, what) in [
        (summary.delivered, "delivered"),
        (summary.failed_again, "failed again, and are in the error output anew"),
        (summary.dropped, "dropped by processing"),
        (summary.skipped, "redriven before, and skipped"),
        (summary.objects_before, "objects whose records were redriven before"),
        (summary.unreadable, "lines that cannot be sent again, and stay where they are"),
        (summary.objects_left, "objects that could not be read to their end"),
    ] {
        if count > 0 {
            figure(count, what);
        }
    }
    show(&mut text, &summary.unreadable_lines, summary.unreadable);
    show(&mut text, &summary.objects_left_named, summary.objects_left);
    text
}

fn show(text: &mut String, problems: &[Problem], count: u64) {
    for Problem { object, offset, reason } in problems.iter().take(PROBLEMS_SHOWN) {
        let place = offset.map(|offset| format!(" at byte {offset}")).unwrap_or_default();
        let _ = writeln!(text, "  {object}{place}: {reason}");
    }
    let more = count.saturating_sub(PROBLEMS_SHOWN.min(problems.len()) as u64);
    if more > 0 {
        let _ = writeln!(text, "  and {} more", HumanCount(more));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redrive::progress::CodeCount;

    #[test]
    fn the_summary_counts_by_code_and_names_what_is_left() {
        let code = |error_type: &str, code: &str, records| CodeCount {
            error_type: error_type.to_owned(),
            code: code.to_owned(),
            records,
        };
        let problem =
            |offset| Problem { object: String::from("errors/a"), offset: Some(offset), reason: String::from("no") };
        let summary = Summary {
            objects: 2,
            object_bytes: 2048,
            objects_done: 2,
            read: 1500,
            delivered: 1499,
            failed_again: 1,
            codes: vec![
                code("http-endpoint-failed", "HttpEndpoint.RequestTimeout", 1000),
                code("processing-failed", "Lambda.FunctionError", 500),
            ],
            unreadable: 12,
            unreadable_lines: (0..12).map(problem).collect(),
            ..Summary::default()
        };
        let text = text("web", &summary, Tense::Has);
        let expected = "\
delivery stream web: 2 error objects, 2.00 KiB
         1,000  http-endpoint-failed  HttpEndpoint.RequestTimeout
           500  processing-failed     Lambda.FunctionError
         1,500  failed records read
         1,499  delivered
             1  failed again, and are in the error output anew
            12  lines that cannot be sent again, and stay where they are
  errors/a at byte 0: no
";
        assert!(text.starts_with(expected), "{text}");
        assert!(text.ends_with("  errors/a at byte 9: no\n  and 2 more\n"), "{text}");
        assert!(!summary.is_whole());
    }
}
