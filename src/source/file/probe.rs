//! What a file source would find, without starting it.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use notify::{RecursiveMode, Watcher};

use crate::config::model::FileSourceConfig;

use super::discover::Discovery;

/// What the globs of a source match at this moment.
pub struct Found {
    pub files: usize,
    /// Folders and files that cannot be read.
    pub unreadable: Vec<(PathBuf, io::Error)>,
    /// Folders that are watched.
    pub watched: usize,
    /// Folders that would be polled, and why.
    pub unwatched: Vec<(PathBuf, String)>,
}

/// Walks the globs, opens what they match, and tries to watch the folders. Nothing is read or kept.
pub fn probe(config: &FileSourceConfig) -> Result<Found, globset::Error> {
    let discovery = Discovery::new(config)?;
    let walk = discovery.scan();
    let mut unreadable = walk.errors;
    for (path, _) in &walk.files {
        match File::open(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => unreadable.push((path.clone(), error)),
            // What went away between two looks is no fault.
            Ok(_) | Err(_) => {}
        }
    }
    let folders = discovery.watched();
    let (mut watched, mut unwatched) = (0, Vec::new());
    let mut watcher = notify::recommended_watcher(|_| ()).map_err(|error| error.to_string());
    for (folder, is_recursive) in folders {
        let mode = if is_recursive { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
        let tried = match &mut watcher {
            Ok(watcher) => watcher.watch(&folder, mode).map_err(|error| error.to_string()),
            Err(error) => Err(error.clone()),
        };
        match tried {
            Ok(()) => watched += 1,
            Err(error) => unwatched.push((folder, error)),
        }
    }
    Ok(Found { files: walk.files.len(), unreadable, watched, unwatched })
}
