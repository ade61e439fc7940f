//! What the HTTP clients share: certificates from files, and credentials.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Certificate, ClientBuilder, Identity};

use crate::chain::chain;
use crate::config::model::{ClientCertificate, TlsConfig};

/// Trusts whom `tls` says. Who has no `https://` needs no certificate authorities, and a container may have none.
pub fn with_tls(mut builder: ClientBuilder, tls: &TlsConfig, url: &str) -> Result<ClientBuilder, String> {
    match tls.ca.as_deref().map(authorities).transpose()? {
        Some(authorities) => builder = builder.tls_certs_only(authorities),
        None if url.starts_with("http://") => builder = builder.tls_certs_only([]),
        None => {}
    }
    if let Some(client) = &tls.client {
        builder = builder.identity(identity(client)?);
    }
    Ok(builder)
}

/// The value of an `Authorization` header.
pub fn basic(username: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
}

pub fn authorities(path: &Path) -> Result<Vec<Certificate>, String> {
    let authorities = Certificate::from_pem_bundle(&read(path)?)
        .map_err(|error| format!("{} holds no certificates in PEM form: {}", path.display(), chain(&error)))?;
    if authorities.is_empty() {
        return Err(format!("{} holds no certificate in PEM form", path.display()));
    }
    Ok(authorities)
}

pub fn identity(client: &ClientCertificate) -> Result<Identity, String> {
    let mut pem = read(&client.certificate)?;
    pem.push(b'\n');
    pem.extend(read(&client.key)?);
    Identity::from_pem(&pem).map_err(|error| {
        let (certificate, key) = (client.certificate.display(), client.key.display());
        format!("{certificate} and {key} are no certificate with its key: {}", chain(&error))
    })
}
