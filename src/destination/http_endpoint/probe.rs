//! Whether an endpoint can be reached.
//!
//! Nothing is sent: the protocol knows no request without records, and a receiver may take whatever comes. So the access key and
//! the path show with the first delivery.

use bytes::Bytes;

use crate::destination::AttemptError;
use crate::destination::http_client;
use crate::destination::reach::{Unreached, reach};

use super::{CODES, HttpEndpoint, internal};

impl HttpEndpoint {
    /// What was found, a line for people each.
    pub async fn probe(&self) -> Result<Vec<String>, AttemptError> {
        let (config, url) = (&self.config, self.config.url.as_str());
        let unmade = |reason| internal(format!("no connection can be made: {reason}"));
        let builder = http_client::builder(&config.tls, config.proxy.as_ref(), config.connect_timeout, url);
        reach(builder.map_err(unmade)?, url).await.map_err(|unreached| match unreached {
            Unreached::Client(reason) => unmade(reason),
            Unreached::Connection(error) => http_client::failed(error, config.connect_timeout, &CODES),
        })?;
        let signed = self.signer.sign("POST", url, &self.headers, &Bytes::new()).await;
        let signed = signed.map_err(|reason| internal(format!("requests cannot be signed: {reason}")))?;
        let mut lines = vec!["a connection can be made; nothing was sent".to_owned()];
        if !signed.is_empty() {
            lines.push("requests can be signed".to_owned());
        }
        Ok(lines)
    }
}
