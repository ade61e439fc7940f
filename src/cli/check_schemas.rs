//! The schemas of `hydrant check`: whether they are there, and fit what the configuration says of their columns.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::chain::chain;
use crate::config::model::{DeliveryStreamConfig, FormatConversionConfig, RegistryConfig, SchemaConfig};
use crate::schema::{Origin, RegistryError, Resolved, Schema, SchemaSource};
use crate::stream::decoder;

pub(super) struct Schemas {
    state_dir: PathBuf,
    is_online: bool,
    found: Found,
}

/// The worst so far.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Found {
    Good,
    /// A registry could not be asked, or something else is not there.
    Unknown,
    Mistakes,
}

impl Schemas {
    pub fn new(state_dir: &Path, is_online: bool) -> Self {
        Self { state_dir: state_dir.to_owned(), is_online, found: Found::Good }
    }

    pub fn found(&self) -> Found {
        self.found
    }

    /// Says it on standard error.
    pub fn mistake(&mut self, stream: &str, message: &str) {
        eprintln!("{stream}: {message}");
        self.found = Found::Mistakes;
    }

    /// One line about a stream's schema, or an error for each thing that is wrong with it.
    pub fn show(&mut self, stream: &DeliveryStreamConfig, conversion: &FormatConversionConfig) {
        let source = match SchemaSource::to_look(&conversion.schema, &self.state_dir) {
            Ok(source) => source,
            Err(error) => return self.failed(&stream.name, &error),
        };
        if !self.is_online && is_elsewhere(&conversion.schema) {
            return match source.cached() {
                Some((schema, at)) => self.line(stream, conversion, &schema, &as_of(at)),
                None => println!("  converted to Parquet; its schema was never seen here, --online asks for it"),
            };
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let resolved = match runtime {
            Ok(runtime) => runtime.block_on(source.resolve()),
            Err(error) => return self.mistake(&stream.name, &error.to_string()),
        };
        match resolved {
            Ok(Resolved { schema, origin: Origin::Asked }) => self.line(stream, conversion, &schema, ""),
            Ok(Resolved { schema, origin: Origin::Cached { at, error } }) => {
                self.line(stream, conversion, &schema, &as_of(at));
                self.failed(&stream.name, &error);
            }
            Err(error) => self.failed(&stream.name, &error),
        }
    }

    fn line(
        &mut self,
        stream: &DeliveryStreamConfig,
        conversion: &FormatConversionConfig,
        schema: &Schema,
        seen: &str,
    ) {
        let in_path = &stream.destination.hive_columns();
        let columns = conversion.file_columns(schema, in_path);
        let left_out = match columns.left_out.as_slice() {
            [] => String::new(),
            names => format!(", not in the file: {}", names.join(", ")),
        };
        println!("  converted to Parquet, schema {schema}{seen}: {} columns{left_out}", columns.written.len());
        let misfits = conversion.misfits(schema, &columns);
        if misfits.is_empty()
            && let Err(error) = decoder(conversion, schema, in_path)
        {
            self.mistake(&stream.name, &format!("no record can be read by {schema}: {}", chain(&error)));
        }
        for misfit in misfits {
            self.mistake(&stream.name, &misfit);
        }
    }

    fn failed(&mut self, stream: &str, error: &RegistryError) {
        eprintln!("{stream}: {}", chain(error));
        self.found = self.found.max(if error.is_mistake() { Found::Mistakes } else { Found::Unknown });
    }
}

fn is_elsewhere(schema: &SchemaConfig) -> bool {
    match schema {
        SchemaConfig::Inline(_) => false,
        SchemaConfig::Registry(reference) => match reference.registry.config {
            RegistryConfig::Directory(_) => false,
            RegistryConfig::Glue(_) | RegistryConfig::Confluent(_) => true,
        },
    }
}

fn as_of(at: SystemTime) -> String {
    let at = jiff::Timestamp::try_from(at).map(|at| at.strftime("%Y-%m-%d %H:%M UTC").to_string());
    at.map(|at| format!(" as of {at}")).unwrap_or_default()
}
