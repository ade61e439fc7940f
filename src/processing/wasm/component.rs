//! A component: from its file to code that may be called, or to an error that says what is wrong with it and what to do.
//!
//! Always true: what is behind a [`Component`] has been compiled from the bytes whose SHA-256 it bears, and exports and
//! imports what `transforms/wit` says.

use std::collections::HashMap;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::{Component as Code, Linker};

use super::bindings::TransformPre;
use super::cache::Cache;
use super::engine::engine;
use super::world::{Guest, add_to_linker};

/// CPython's components are of 40 MB; nobody writes larger ones on purpose.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// The package whose world a component has to be of.
const PACKAGE: &str = "hydrant:transform";
const VERSION: &str = "1.0.0";
/// What a guest finds of WASI 0.2.
const WASI: [&str; 6] = ["wasi:cli/", "wasi:clocks/", "wasi:filesystem/", "wasi:io/", "wasi:random/", "wasi:sockets/"];

/// Why a file is no component that Hydrant can call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ComponentError {
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

/// The folder of compiled code.
#[derive(Debug, Clone, Copy)]
pub struct CodeCache<'a> {
    pub dir: &'a Path,
    /// Whether new code is put there. Only the daemon does: what another user left there would be of no use to it.
    pub is_kept: bool,
}

/// A component of the transform world. Two are equal if their files' bytes are.
#[derive(Clone)]
pub struct Component {
    file: PathBuf,
    sha256: String,
    /// `None` where nobody is going to call it.
    code: Option<Arc<TransformPre<Guest>>>,
}

impl Component {
    /// Reads, compiles and checks `file`. Compiled code is looked for in the folder of `code_cache`.
    pub fn load(file: &Path, code_cache: CodeCache<'_>) -> Result<Self, ComponentError> {
        let bytes = read(file)?;
        let sha256 = hex(&Sha256::digest(&bytes));
        let code = Some(compiled(&bytes, &sha256, code_cache)?);
        Ok(Self { file: file.to_owned(), sha256, code })
    }

    /// Reads `file` without compiling it, for whoever only compares configurations.
    pub fn look(file: &Path) -> Result<Self, ComponentError> {
        let sha256 = hex(&Sha256::digest(read(file)?));
        Ok(Self { file: file.to_owned(), sha256, code: None })
    }

    /// The file's name, for people.
    pub fn name(&self) -> String {
        self.file.file_name().unwrap_or(self.file.as_os_str()).to_string_lossy().into_owned()
    }

    /// What stands for a Lambda function's ARN in the error output.
    pub fn arn(&self) -> String {
        format!("hydrant:wasm:{}@{}", self.name(), self.sha256)
    }

    pub(super) fn code(&self) -> Option<Arc<TransformPre<Guest>>> {
        self.code.clone()
    }
}

impl PartialEq for Component {
    fn eq(&self, other: &Self) -> bool {
        (&self.file, &self.sha256) == (&other.file, &other.sha256)
    }
}

impl fmt::Debug for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.arn())
    }
}

/// The file's place is no part of it: the same bytes elsewhere are the same transform.
impl Serialize for Component {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.sha256)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ComponentError> {
    let unreadable = |error: std::io::Error| ComponentError {
        message: format!("the component cannot be read: {error}"),
        help: Some(format!("looked for at {}", path.display())),
    };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(ComponentError { message: format!("`{}` is no file", path.display()), help: None });
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let message = format!("the component is larger than {} MB", FILE_BYTES_MAX >> 20);
        return Err(ComponentError { message, help: None });
    }
    check_kind(&bytes)?;
    Ok(bytes)
}

/// What a file is stands in its first eight bytes.
fn check_kind(bytes: &[u8]) -> Result<(), ComponentError> {
    let (message, help) = match bytes {
        [0, b'a', b's', b'm', _, _, 1, 0, ..] => return Ok(()),
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => (
            "it is a core module, not a component",
            "make a component of it: with Rust build for `wasm32-wasip2`; else `wasm-tools component embed --world \
             transform WIT MODULE -o EMBEDDED && wasm-tools component new EMBEDDED -o COMPONENT` (docs/transforms.md)",
        ),
        [0, b'a', b's', b'm', ..] => ("it is WebAssembly of a version that is not known here", "build it anew"),
        [b'(', ..] | [b';', b';', ..] => {
            ("it is WebAssembly's text format", "make a binary of it: `wasm-tools parse TEXT -o COMPONENT`")
        }
        [] => ("the file is empty", "build it anew"),
        _ => ("it is no WebAssembly component", "`hydrant new-transform` makes a project that builds one"),
    };
    Err(ComponentError { message: message.to_owned(), help: Some(help.to_owned()) })
}

/// The code of `bytes`: what this process has already, what the cache has, else compiled now.
fn compiled(bytes: &[u8], sha256: &str, code_cache: CodeCache<'_>) -> Result<Arc<TransformPre<Guest>>, ComponentError> {
    static KNOWN: Mutex<Option<HashMap<String, Weak<TransformPre<Guest>>>>> = Mutex::new(None);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let known = known.get_or_insert_default();
    known.retain(|_, code| code.strong_count() > 0);
    if let Some(code) = known.get(sha256).and_then(Weak::upgrade) {
        return Ok(code);
    }
    let engine = engine().map_err(|error| ComponentError {
        message: format!("components cannot be run on this machine: {error:#}"),
        help: None,
    })?;
    let code = Arc::new(checked(engine, &compile(engine, bytes, sha256, code_cache)?)?);
    known.insert(sha256.to_owned(), Arc::downgrade(&code));
    Ok(code)
}

fn compile(engine: &Engine, bytes: &[u8], sha256: &str, code_cache: CodeCache<'_>) -> Result<Code, ComponentError> {
    let cache = Cache::new(code_cache.dir, engine, sha256);
    if let Some(code) = cache.load(engine) {
        return Ok(code);
    }
    let code = Code::from_binary(engine, bytes).map_err(|error| ComponentError {
        message: format!("the component is not valid: {}", reason(&error)),
        help: Some(String::from("build it anew; `wasm-tools validate` says more")),
    })?;
    if code_cache.is_kept {
        cache.store(&code);
    }
    Ok(code)
}

/// The component with what it may import; an error names the import or export that is wrong.
fn checked(engine: &Engine, code: &Code) -> Result<TransformPre<Guest>, ComponentError> {
    check_imports(engine, code)?;
    check_exports(engine, code)?;
    let mut linker = Linker::new(engine);
    let linked = add_to_linker(&mut linker).and_then(|()| linker.instantiate_pre(code)).and_then(TransformPre::new);
    linked.map_err(|error| ComponentError {
        message: format!("the component does not fit `{PACKAGE}@{VERSION}`: {}", reason(&error)),
        help: Some(String::from(
            "build it with the WIT of this version of Hydrant (`hydrant new-transform` brings it)",
        )),
    })
}

fn check_imports(engine: &Engine, code: &Code) -> Result<(), ComponentError> {
    for (name, _) in code.component_type().imports(engine) {
        if let Some(version) = version_of_package(name) {
            check_version(version)?;
        } else if !WASI.iter().any(|prefix| name.starts_with(prefix)) {
            let help = "a transform may import WASI 0.2 (command line, clocks, random numbers, files and sockets, of which \
                        there are none) and `hydrant:transform/host`; take the dependency out that needs more";
            let message = format!("the component imports `{name}`, which Hydrant does not offer");
            return Err(ComponentError { message, help: Some(help.to_owned()) });
        }
    }
    Ok(())
}

fn check_exports(engine: &Engine, code: &Code) -> Result<(), ComponentError> {
    let exports: Vec<_> = code.component_type().exports(engine).map(|(name, _)| name.to_owned()).collect();
    for export in &exports {
        if let Some(version) = version_of_package(export) {
            check_version(version)?;
        }
    }
    for needed in ["init", "transform"] {
        if !exports.iter().any(|export| export == needed) {
            let others = match exports.as_slice() {
                [] => String::from("nothing"),
                exports => exports.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
            };
            let message = format!("the component exports no function `{needed}`; it exports {others}");
            let help = format!("it is of another world: build it for the world `transform` of `{PACKAGE}@{VERSION}`");
            return Err(ComponentError { message, help: Some(help) });
        }
    }
    Ok(())
}

/// `1.0.0` of `hydrant:transform/types@1.0.0`; nothing of other packages.
fn version_of_package(name: &str) -> Option<&str> {
    let rest = name.strip_prefix(PACKAGE)?;
    rest.starts_with(['/', '@']).then(|| rest.split_once('@').map_or("", |(_, version)| version))
}

fn check_version(version: &str) -> Result<(), ComponentError> {
    let number =
        |text: &str| Some((text.split('.').next()?.parse::<u32>().ok()?, text.split('.').nth(1)?.parse().ok()?));
    let (ours, theirs): (Option<(u32, u32)>, _) = (number(VERSION), number(version));
    let fits = matches!((ours, theirs), (Some(ours), Some(theirs)) if ours.0 == theirs.0 && ours.1 >= theirs.1);
    if fits {
        return Ok(());
    }
    let message = format!("the component is built for `{PACKAGE}@{version}`, and this Hydrant offers {VERSION}");
    let help = "build it with the WIT of this version of Hydrant (`hydrant new-transform` brings it)";
    Err(ComponentError { message, help: Some(help.to_owned()) })
}

/// An error with all its causes, on one line.
fn reason(error: &wasmtime::Error) -> String {
    super::log::printable(&format!("{error:#}"), 600)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
