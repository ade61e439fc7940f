//! What an error of the SDK says, in words that may be shown: of bounded length, on one line, without secrets.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::result::ConnectorError;

/// Characters of foreign text in a message.
const FOREIGN_TEXT_MAX: usize = 400;

/// Why there are no credentials.
pub struct WithoutCredentials {
    /// It may pass by itself.
    pub is_transient: bool,
    pub code: &'static str,
    pub text: String,
}

/// `None` of an error that is not about finding credentials.
pub fn without_credentials(error: &(dyn Error + 'static)) -> Option<WithoutCredentials> {
    let error = find::<CredentialsError>(error)?;
    let (is_transient, code) = match error {
        CredentialsError::CredentialsNotLoaded(_) => (false, "CredentialsNotLoaded"),
        CredentialsError::ProviderTimedOut(_) => (true, "CredentialsTimeout"),
        // STS or the metadata service could not be reached.
        CredentialsError::ProviderError(_) if find::<ConnectorError>(error).is_some() => {
            (true, "CredentialsUnavailable")
        }
        _ => (false, "CredentialsFailed"),
    };
    let text = format!(
        "no credentials: {}; they are looked for in the environment, the profile, a web identity token, the \
         container's and the instance's metadata service; then comes the role to assume, if there is one",
        chain(error)
    );
    Some(WithoutCredentials { is_transient, code, text })
}

/// Credentials that were good once: fresh ones are fetched for the next attempt.
pub fn is_expired(code: &str) -> bool {
    matches!(code, "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired")
}

pub fn is_throttling(code: &str) -> bool {
    // MinIO has SlowDownRead and SlowDownWrite.
    ["Throttl", "SlowDown", "TooManyRequests", "RequestLimitExceeded", "BandwidthLimitExceeded"]
        .iter()
        .any(|part| code.contains(part))
}

/// The error of a type, in a chain of causes.
pub fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    causes(error).find_map(|error| error.downcast_ref())
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

/// The causes of an error on one line.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    for cause in causes(error) {
        let mut cause = cause.to_string();
        if cause.contains("external process") {
            // The SDK puts in what the process has printed, which may be anything.
            cause = "the credential process failed".to_owned();
        }
        if text.contains(&cause) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&cause);
    }
    clean(&text)
}

/// Foreign text, of bounded length and on one line.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(FOREIGN_TEXT_MAX).collect()
}
