//! An error and its causes in one line.

use std::error::Error;

/// Each cause behind the one that it has led to. Some errors keep their reason to themselves, others say it with their own words:
/// nothing is said twice.
pub fn chain(error: &dyn Error) -> String {
    let mut reasons = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        let reason = error.to_string();
        if !reasons.iter().any(|said| said.contains(&reason)) {
            reasons.push(reason);
        }
        cause = error.source();
    }
    reasons.join(": ")
}
