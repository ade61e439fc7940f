//! Objects as files in a local folder, with the same keys and the same guarantees as in S3.
//!
//! An object is written aside in the staging folder, its data made durable, and only then given its final name, without
//! replacing what has that name already. So there is never half an object under a final name, and the first one keeps
//! it. A put succeeds only after the names on the way down to the object are durable too.
//!
//! The staging folder is `<path>/.hydrant/<instance id>`: on the same file system as the objects, so that giving the
//! name is a rename, and hidden from readers that skip folders with a dot.

mod files;
mod probe;

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::task::TaskTracker;

use crate::config::model::DirectoryConfig;
use crate::encode::payload::Payload;
use crate::rename::{Renamed, rename_without_replace};

use super::{AttemptError, BoxFuture, Destination, ErrorClass, Existence, Object, Put};
use files::{OpenFolder, StagedFile, failed};

pub use probe::probe;

/// Holds the staging folders of all instances that write to a folder.
pub const STAGING_FOLDER: &str = ".hydrant";
/// Beyond so many remembered folders, they are forgotten and synced again.
const DURABLE_FOLDERS_MAX: usize = 4096;

pub struct DirectoryDestination {
    folder: Arc<Folder>,
    tasks: TaskTracker,
}

impl DirectoryDestination {
    /// Does no I/O: the folders are made at the first put. `instance_id` is a plain name of which the writers of one
    /// folder each have their own. `tasks` counts the attempts that are running, also those for which nobody waits any
    /// more: a call into the file system cannot be cancelled.
    pub fn open(config: &DirectoryConfig, instance_id: &str, tasks: TaskTracker) -> Self {
        let root = config.path.clone();
        let staging = root.join(STAGING_FOLDER).join(instance_id);
        Self { folder: Arc::new(Folder { root, staging, durable: Mutex::default() }), tasks }
    }

    /// Removes what a crash has left in this instance's staging folder, and says how many files that were. Only for a
    /// time at which this instance has no payload in there.
    pub async fn sweep(&self) -> Result<u64, AttemptError> {
        self.blocking(Folder::sweep).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Folder) -> Result<T, AttemptError> + Send + 'static,
    ) -> Result<T, AttemptError> {
        let (folder, token) = (Arc::clone(&self.folder), self.tasks.token());
        let attempt = move || {
            let _token = token;
            work(&folder)
        };
        tokio::task::spawn_blocking(attempt).await.unwrap_or_else(|error| {
            let message = format!("the attempt was aborted: {error}");
            Err(AttemptError { class: ErrorClass::Transient, code: "Aborted".to_owned(), message, ambiguous: true })
        })
    }
}

impl Destination for DirectoryDestination {
    fn name(&self) -> String {
        self.folder.root.display().to_string()
    }

    fn staging(&self) -> Option<&Path> {
        Some(&self.folder.staging)
    }

    // `may_exist` makes no difference: every put looks whether the object is there.
    fn put<'a>(&'a self, object: &'a Object, _may_exist: bool) -> BoxFuture<'a, Result<Put, AttemptError>> {
        let (key, payload) = (object.key.clone(), Arc::clone(&object.payload));
        Box::pin(self.blocking(move |folder| folder.put(&key, &payload)))
    }

    fn exists<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Existence, AttemptError>> {
        let key = key.to_owned();
        Box::pin(self.blocking(move |folder| folder.exists(&key)))
    }
}

/// The blocking half.
struct Folder {
    root: PathBuf,
    staging: PathBuf,
    /// Folders whose names, up to the root's own, are durable.
    durable: Mutex<HashSet<PathBuf>>,
}

impl Folder {
    fn put(&self, key: &str, payload: &Payload) -> Result<Put, AttemptError> {
        let target = self.target(key)?;
        let parent = target.parent().unwrap_or(&self.root);
        self.make_parent(parent)?;
        self.sync_above(parent)?;
        // Opened beforehand: somebody who takes the object away at once may take its folder too.
        let names = OpenFolder::open(parent)?;
        if self.is_there(&target)? {
            return names.settle(Put::AlreadyThere);
        }
        let staged = self.stage(payload)?;
        match rename_without_replace(staged.path(), &target) {
            Ok(Renamed::Done) => names.settle(Put::Created),
            Ok(Renamed::NameTaken) if self.is_there(&target)? => names.settle(Put::AlreadyThere),
            Ok(Renamed::NameTaken) => Err(not_a_file(&target)),
            Err(error) => {
                let mut error = failed("give an object its name", &target, &error);
                // A network file system may have renamed it and lost the answer.
                error.ambiguous = error.class == ErrorClass::Transient;
                Err(error)
            }
        }
    }

    fn exists(&self, key: &str) -> Result<Existence, AttemptError> {
        let target = self.target(key)?;
        if !self.is_there(&target)? {
            return Ok(Existence::Absent);
        }
        // A process that was killed between the rename and the sync has left a name that a power failure could undo.
        let parent = target.parent().unwrap_or(&self.root);
        self.sync_above(parent)?;
        OpenFolder::open(parent)?.sync()?;
        Ok(Existence::Present)
    }

    fn sweep(&self) -> Result<u64, AttemptError> {
        let cannot = |error: io::Error| failed("sweep the staging folder", &self.staging, &error);
        let Some(entries) = unless_gone(fs::read_dir(&self.staging)).map_err(cannot)? else { return Ok(0) };
        let mut removed = 0;
        for entry in entries {
            let Some(entry) = unless_gone(entry).map_err(cannot)? else { continue };
            removed += u64::from(unless_gone(remove(&entry)).map_err(cannot)?.is_some());
        }
        Ok(removed)
    }

    /// Where the object goes. Keys have been checked before; nothing is ever written outside of the root all the same.
    fn target(&self, key: &str) -> Result<PathBuf, AttemptError> {
        let path = Path::new(key);
        let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
        let own = path.components().next().is_some_and(|part| part.as_os_str() == STAGING_FOLDER);
        if key.is_empty() || key.ends_with('/') || key.contains('\0') || !plain || own {
            let message = format!(
                "the key `{key}` is not a name below `{}`: it has a `.` or `..`, begins or ends with `/`, or begins \
                 with `{STAGING_FOLDER}/`; change the prefix",
                self.root.display()
            );
            return Err(AttemptError {
                class: ErrorClass::Denied,
                code: "InvalidKey".to_owned(),
                message,
                ambiguous: false,
            });
        }
        Ok(self.root.join(path))
    }

    fn is_there(&self, target: &Path) -> Result<bool, AttemptError> {
        match fs::metadata(target) {
            Ok(found) if found.is_file() => Ok(true),
            Ok(_) => Err(not_a_file(target)),
            // With a file where a folder of the key should be, the object is absent as well; putting it says why not.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(false),
            Err(error) => Err(failed("look for an object", target, &error)),
        }
    }

    fn make_parent(&self, folder: &Path) -> Result<(), AttemptError> {
        if folder.is_dir() {
            return Ok(());
        }
        // Somebody may have removed it since it was remembered as durable.
        self.durable().remove(folder);
        make_folder(folder)
    }

    /// A file in the staging folder that holds the payload, durably.
    ///
    /// A payload that is such a file already is taken as it is. Everything else is written into a new one: a payload in
    /// memory or on another file system, and also one whose name in the staging folder is gone while no object has been
    /// made of it, since its descriptor still has the content.
    fn stage(&self, payload: &Payload) -> Result<StagedFile, AttemptError> {
        if let Some((path, file)) = payload.file()
            && path.starts_with(&self.staging)
            && let Some(staged) = StagedFile::adopt(path, file, payload.len())?
        {
            return Ok(staged);
        }
        make_folder(&self.staging)?;
        StagedFile::write(&self.staging, payload)
    }

    /// Makes the folder's own name durable, and those above it up to the one that holds the root. Once in this process'
    /// life is enough, and needed also where they were there: an earlier process may have made them and been killed.
    fn sync_above(&self, folder: &Path) -> Result<(), AttemptError> {
        if self.durable().contains(folder) {
            return Ok(());
        }
        for above in folder.ancestors().skip(1).take_while(|above| above.starts_with(&self.root)) {
            OpenFolder::open(above)?.sync()?;
        }
        for above in self.root.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
            match OpenFolder::open(above).and_then(|above| above.sync()) {
                Ok(()) => {}
                // Above the root there may be folders that we may pass through but not read; those we have not made.
                Err(error) if error.class == ErrorClass::Denied => break,
                Err(error) => return Err(error),
            }
        }
        let mut durable = self.durable();
        if durable.len() >= DURABLE_FOLDERS_MAX {
            durable.clear();
        }
        durable.insert(folder.to_owned());
        Ok(())
    }

    fn durable(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn make_folder(folder: &Path) -> Result<(), AttemptError> {
    fs::create_dir_all(folder).map_err(|error| failed("make the folder", folder, &error))
}

fn remove(entry: &fs::DirEntry) -> io::Result<()> {
    if entry.file_type()?.is_dir() { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) }
}

/// `None` for what somebody else has removed meanwhile.
fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn not_a_file(target: &Path) -> AttemptError {
    let message = format!("`{}` is in the way and is not a file; move it away", target.display());
    AttemptError { class: ErrorClass::Denied, code: "NotAFile".to_owned(), message, ambiguous: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::payload::PayloadWriter;
    use bytes::Bytes;

    fn open(root: &Path) -> DirectoryDestination {
        DirectoryDestination::open(&DirectoryConfig { path: root.to_owned() }, "instance", TaskTracker::new())
    }

    fn object(key: &str, payload: Payload) -> Object {
        Object { key: key.to_owned(), payload: Arc::new(payload), content_encoding: None }
    }

    fn file_payload(folder: &Path, content: &'static str) -> Payload {
        let mut writer = PayloadWriter::new(folder, "payload", 0);
        writer.append(&Bytes::from_static(content.as_bytes())).unwrap();
        writer.finish()
    }

    fn staged_files(destination: &DirectoryDestination) -> usize {
        fs::read_dir(destination.staging().unwrap()).map_or(0, Iterator::count)
    }

    #[tokio::test]
    async fn opening_makes_nothing_and_a_payload_in_staging_becomes_the_object_itself() {
        use std::os::unix::fs::MetadataExt;
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("made/later");
        let destination = open(&path);
        assert!(!path.exists());
        let payload = file_payload(destination.staging().unwrap(), "content");
        let inode = payload.file().unwrap().1.metadata().unwrap().ino();
        let object = object("a/b", payload);
        assert_eq!(destination.put(&object, false).await.unwrap(), Put::Created);
        assert_eq!(fs::metadata(path.join("a/b")).unwrap().ino(), inode);
        drop(object);
        assert_eq!(fs::read(path.join("a/b")).unwrap(), b"content");
        assert_eq!(staged_files(&destination), 0);
    }

    #[tokio::test]
    async fn a_payload_elsewhere_is_copied_and_stays() {
        let (root, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let destination = open(root.path());
        let object = object("a", file_payload(state.path(), "content"));
        assert_eq!(destination.put(&object, false).await.unwrap(), Put::Created);
        assert_eq!(fs::read(root.path().join("a")).unwrap(), b"content");
        assert!(state.path().join("payload").exists());
        assert_eq!(staged_files(&destination), 0);
    }

    #[tokio::test]
    async fn a_put_whose_answer_was_lost_is_found_when_it_is_repeated() {
        let root = tempfile::tempdir().unwrap();
        let destination = open(root.path());
        let object = object("a", file_payload(destination.staging().unwrap(), "content"));
        // The rename of an attempt whose sync failed, or whose process was killed.
        fs::rename(object.payload.file().unwrap().0, root.path().join("a")).unwrap();
        assert_eq!(destination.put(&object, true).await.unwrap(), Put::AlreadyThere);
        assert_eq!(destination.exists("a").await.unwrap(), Existence::Present);
        assert_eq!(fs::read(root.path().join("a")).unwrap(), b"content");
    }

    #[tokio::test]
    async fn a_payload_whose_name_vanished_is_still_delivered() {
        let root = tempfile::tempdir().unwrap();
        let destination = open(root.path());
        let object = object("a", file_payload(destination.staging().unwrap(), "content"));
        fs::remove_dir_all(root.path().join(STAGING_FOLDER)).unwrap();
        assert_eq!(destination.put(&object, false).await.unwrap(), Put::Created);
        assert_eq!(fs::read(root.path().join("a")).unwrap(), b"content");
    }

    #[tokio::test]
    async fn a_payload_that_lost_bytes_is_not_delivered() {
        let root = tempfile::tempdir().unwrap();
        let destination = open(root.path());
        for staged in [true, false] {
            let object = object("a", file_payload(destination.staging().unwrap(), "content"));
            object.payload.file().unwrap().1.set_len(3).unwrap();
            if !staged {
                fs::remove_file(object.payload.file().unwrap().0).unwrap();
            }
            let error = destination.put(&object, false).await.unwrap_err();
            assert_eq!((error.class, error.code.as_str()), (ErrorClass::Denied, "PayloadDamaged"));
            assert!(!root.path().join("a").exists());
        }
        assert_eq!(staged_files(&destination), 0);
    }

    #[tokio::test]
    async fn what_is_in_the_way_is_named_and_the_payload_survives_until_it_has_gone() {
        let root = tempfile::tempdir().unwrap();
        let destination = open(root.path());
        let object = object("in/the/way", file_payload(destination.staging().unwrap(), "content"));
        fs::write(root.path().join("in"), b"").unwrap();
        assert_eq!(destination.exists("in/the/way").await.unwrap(), Existence::Absent);
        let error = destination.put(&object, false).await.unwrap_err();
        assert_eq!((error.class, error.code.as_str(), error.ambiguous), (ErrorClass::Denied, "ENOTDIR", false));
        assert!(error.message.contains(&root.path().join("in/the").display().to_string()), "{}", error.message);

        fs::remove_file(root.path().join("in")).unwrap();
        fs::create_dir_all(root.path().join("in/the/way")).unwrap();
        let error = destination.put(&object, false).await.unwrap_err();
        assert_eq!((error.class, error.code.as_str()), (ErrorClass::Denied, "NotAFile"));
        fs::remove_dir(root.path().join("in/the/way")).unwrap();
        assert_eq!(destination.put(&object, false).await.unwrap(), Put::Created);
    }

    #[tokio::test]
    async fn a_dead_link_under_the_final_name_is_not_taken_for_an_object() {
        let root = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(root.path().join("nowhere"), root.path().join("a")).unwrap();
        let error = open(root.path()).put(&object("a", Payload::from_bytes("x")), true).await.unwrap_err();
        assert_eq!(error.code, "NotAFile");
    }

    #[tokio::test]
    async fn no_key_leads_out_of_the_folder() {
        let root = tempfile::tempdir().unwrap();
        let destination = open(&root.path().join("inside"));
        for key in ["", "/a", "../a", "a/../../b", "./a", "a/", "a\0b", ".hydrant/instance/a"] {
            let error = destination.put(&object(key, Payload::from_bytes("x")), false).await.unwrap_err();
            assert_eq!((error.class, error.code.as_str()), (ErrorClass::Denied, "InvalidKey"), "{key:?}");
            assert_eq!(destination.exists(key).await.unwrap_err().code, "InvalidKey");
        }
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_folder_that_was_removed_is_made_again() {
        let root = tempfile::tempdir().unwrap();
        let destination = open(root.path());
        destination.put(&object("a/b/c", Payload::from_bytes("x")), false).await.unwrap();
        fs::remove_dir_all(root.path().join("a")).unwrap();
        assert_eq!(destination.put(&object("a/b/d", Payload::from_bytes("y")), false).await.unwrap(), Put::Created);
        assert_eq!(fs::read(root.path().join("a/b/d")).unwrap(), b"y");
    }

    #[tokio::test]
    async fn an_attempt_counts_as_running_until_it_has_ended_also_when_nobody_waits_for_it() {
        let root = tempfile::tempdir().unwrap();
        let tasks = TaskTracker::new();
        let config = DirectoryConfig { path: root.path().to_owned() };
        let destination = DirectoryDestination::open(&config, "instance", tasks.clone());
        let (go_on, waiting) = std::sync::mpsc::channel::<()>();
        let call = destination.blocking(move |_| {
            let _ = waiting.recv();
            Ok(())
        });
        let mut call = Box::pin(call);
        assert!(poll_once(call.as_mut()).is_pending());
        drop(call);
        tasks.close();
        assert_eq!(tasks.len(), 1);
        go_on.send(()).unwrap();
        tasks.wait().await;
    }

    /// Polls once.
    fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
        future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
    }

    #[test]
    fn what_vanishes_during_a_sweep_does_not_fail_it() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), b"").unwrap();
        fs::create_dir(root.path().join("folder")).unwrap();
        let entries: Vec<_> = fs::read_dir(root.path()).unwrap().map(Result::unwrap).collect();
        fs::remove_file(root.path().join("file")).unwrap();
        fs::remove_dir(root.path().join("folder")).unwrap();
        for entry in entries {
            assert_eq!(unless_gone(remove(&entry)).unwrap(), None);
        }
    }

    #[tokio::test]
    async fn sweeping_removes_what_is_our_own() {
        let root = tempfile::tempdir().unwrap();
        let destination = open(root.path());
        assert_eq!(destination.sweep().await.unwrap(), 0);
        let other = root.path().join(STAGING_FOLDER).join("other");
        fs::create_dir_all(&other).unwrap();
        fs::write(other.join("x"), b"").unwrap();
        let own = destination.staging().unwrap();
        fs::create_dir_all(own.join("folder")).unwrap();
        fs::write(own.join("x"), b"").unwrap();
        assert_eq!(destination.sweep().await.unwrap(), 2);
        assert!(other.join("x").exists());
        assert_eq!(staged_files(&destination), 0);
    }
}
