//! Detects changes of files' contents.
//!
//! Kubernetes swaps a `..data` symlink, editors rename a new file over the
//! old one, others delete and create. A watch on the file itself would miss
//! all of these, so the folders are watched, those of every symlink on the
//! path included, and the contents are compared after an event. Polling covers
//! network file systems and machines that have no watches left.

use std::{
    collections::BTreeSet,
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use claimgate_files::{Contents, Hung, Lane, content_of};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until, timeout},
};
use tracing::{info, warn};

/// Events come in bursts; a burst is over when nothing happens for this long.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// A burst that does not end is cut off after this.
const DEBOUNCE_LIMIT: Duration = Duration::from_secs(1);
/// How often the files are read without an event.
const POLL_INTERVAL: Duration = Duration::from_secs(10);
/// Longer chains of symlinks are taken for loops.
const MAX_LINKS: usize = 16;

/// Watches a set of files.
///
/// The files are read on a separate thread: a mount whose server is gone
/// blocks the read and delays what it would have found, but not the runtime.
#[derive(Debug)]
pub struct FileWatch {
    contents: Contents,
    folders: Arc<Mutex<Folders>>,
    lane: Lane,
    /// Whether a hanging read was logged.
    hangs: bool,
    /// The files of which it was logged that they will not change any more.
    cut_off: BTreeSet<PathBuf>,
    events: Arc<Notify>,
}

/// The watched folders; locked while files are read, and by nothing else.
#[derive(Debug)]
struct Folders {
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
}

/// Why [`FileWatch::changed`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A file's content differs.
    Content,
    /// Nothing differs, but some time has passed.
    Nothing,
}

impl FileWatch {
    /// Watches `files`, whether they exist or not.
    ///
    /// # Errors
    /// They can't be read in time.
    pub async fn new(files: impl IntoIterator<Item = PathBuf>) -> Result<Self, Hung> {
        let events = Arc::new(Notify::new());
        let waker = Arc::clone(&events);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Our own reads cause events, too.
            if event.is_ok_and(|event| event.kind.is_access()) {
                return;
            }
            waker.notify_one();
        });
        let watcher = watcher.inspect_err(|error| {
            warn!(%error, every = ?POLL_INTERVAL, "cannot watch files, polling them instead");
        });
        let folders = Folders { watcher: watcher.ok(), watched: BTreeSet::new() };
        let mut watch = Self {
            contents: Contents::new(),
            folders: Arc::new(Mutex::new(folders)),
            lane: Lane::default(),
            hangs: false,
            cut_off: BTreeSet::new(),
            events,
        };
        watch.set_files(files).await?;
        Ok(watch)
    }

    /// Watches these files from now on.
    ///
    /// A file has changed if its content differs from when it was first named, or
    /// last read by [`FileWatch::changed`].
    ///
    /// # Errors
    /// They can't be read in time; the previous ones stay watched.
    pub async fn set_files(
        &mut self,
        files: impl IntoIterator<Item = PathBuf>,
    ) -> Result<(), Hung> {
        let current = self.read(files.into_iter().collect()).await?;
        let known = |(file, content)| match self.contents.get(&file) {
            Some(known) => (file, *known),
            None => (file, content),
        };
        self.contents = current.into_iter().map(known).collect();
        Ok(())
    }

    /// What the files held when last read.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// Waits until the content of a file has changed, or for some seconds.
    ///
    /// Cancelling this loses no change: at worst the next poll finds it.
    pub async fn changed(&mut self) -> Change {
        let next_poll = Instant::now() + POLL_INTERVAL;
        loop {
            tokio::select! {
                () = self.events.notified() => debounce(&self.events).await,
                () = sleep_until(next_poll) => {}
            }
            if self.poll().await {
                return Change::Content;
            }
            if Instant::now() >= next_poll {
                return Change::Nothing;
            }
        }
    }

    /// Reads every file; returns whether one has changed.
    pub async fn poll(&mut self) -> bool {
        let current = self.read(self.contents.keys().cloned().collect()).await;
        let hung = current.as_ref().err().copied();
        match (hung, self.hangs) {
            (Some(error), false) => warn!(%error, "cannot see whether the configuration changes"),
            (None, true) => info!("files can be read again"),
            _ => {}
        }
        self.hangs = hung.is_some();
        let Ok(current) = current else { return false };
        self.warn_of_cut_off().await;
        let changed = self.contents != current;
        self.contents = current;
        changed
    }

    /// Warns once of each file that was deleted where it comes from, but is
    /// still mounted here: what replaced it there will never be seen. Editors
    /// that write a new file and rename it do that to a bind mount of one file.
    async fn warn_of_cut_off(&mut self) {
        let files: Vec<_> = self.contents.keys().cloned().collect();
        let look = move || files.into_iter().filter(|file| is_cut_off(file)).collect();
        let Ok(cut_off): Result<BTreeSet<PathBuf>, Hung> = self.lane.run(look).await else {
            return;
        };
        for file in cut_off.difference(&self.cut_off) {
            warn!(
                file = %file.display(),
                "this file was replaced where it is mounted from, and the new one can't be seen \
                 here: mount its folder instead of the file, and restart"
            );
        }
        self.cut_off = cut_off;
    }

    /// Watches the folders of `files` and reads the files.
    async fn read(&self, files: Vec<PathBuf>) -> Result<Contents, Hung> {
        let folders = Arc::clone(&self.folders);
        let read = move || {
            let mut folders = folders.lock().unwrap_or_else(PoisonError::into_inner);
            // A folder may have been replaced as well.
            folders.watch(&files);
            files.into_iter().map(|file| (file.clone(), content_of(&file))).collect()
        };
        self.lane.run(read).await
    }
}

impl Folders {
    fn watch(&mut self, files: &[PathBuf]) {
        let Some(watcher) = &mut self.watcher else { return };
        let folders: BTreeSet<_> = files.iter().flat_map(|file| folders_of(file)).collect();
        for gone in self.watched.difference(&folders) {
            let _ = watcher.unwatch(gone);
        }
        // Watching a folder again is harmless, and needed if it was replaced.
        // One that doesn't exist yet is found by the next poll.
        self.watched =
            folders.into_iter().filter(|folder| rewatch(watcher, folder).is_ok()).collect();
    }
}

fn rewatch(watcher: &mut RecommendedWatcher, folder: &Path) -> notify::Result<()> {
    watcher.watch(folder, RecursiveMode::NonRecursive)
}

/// Whether a file is open to be read here under a name that its file system
/// does not have any more.
fn is_cut_off(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|found| found.is_file() && found.nlink() == 0)
}

/// Waits until a burst of events is over.
async fn debounce(events: &Notify) {
    let quiet = async { while timeout(DEBOUNCE, events.notified()).await.is_ok() {} };
    tokio::select! {
        () = quiet => {}
        () = sleep(DEBOUNCE_LIMIT) => {}
    }
}

/// The folders in which something must change for the file to change: its
/// own, and that of every symlink between its name and its content.
fn folders_of(file: &Path) -> BTreeSet<PathBuf> {
    let mut folders = BTreeSet::new();
    let mut pending = vec![std::path::absolute(file).unwrap_or_else(|_| file.to_owned())];
    let mut links = 0;
    while let Some(path) = pending.pop() {
        if let Some(folder) = path.parent() {
            folders.insert(folder.to_owned());
        }
        // The first symlink on the path leads to another path to go through.
        let Some((link, rest)) = first_link(&path) else { continue };
        links += 1;
        if links > MAX_LINKS {
            continue;
        }
        if let (Some(folder), Ok(target)) = (link.parent(), std::fs::read_link(&link)) {
            folders.insert(folder.to_owned());
            pending.push(folder.join(target).join(rest));
        }
    }
    folders
}

/// Splits a path behind its first component that is a symlink.
fn first_link(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let is_link = |path: &Path| -> io::Result<bool> {
        Ok(std::fs::symlink_metadata(path)?.file_type().is_symlink())
    };
    let mut components = path.components();
    let mut walked = PathBuf::new();
    while let Some(component) = components.next() {
        walked.push(component);
        if is_link(&walked).unwrap_or(false) {
            return Some((walked, components.as_path().to_owned()));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::{Read, Write},
        os::{fd::AsRawFd, unix::fs::symlink},
    };

    use super::*;

    /// Much shorter than the poll interval, so that what passes was an event
    /// of by the operating system.
    const SOON: Duration = Duration::from_secs(5);

    async fn detects_change(watch: &mut FileWatch) -> bool {
        timeout(SOON, watch.changed()).await == Ok(Change::Content)
    }

    #[tokio::test]
    async fn every_way_to_replace_a_file_is_detected() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gateway.yaml");
        fs::write(&file, "one").unwrap();
        let mut watch = FileWatch::new([file.clone()]).await.unwrap();

        fs::write(&file, "written").unwrap();
        assert!(detects_change(&mut watch).await, "written in place");

        fs::write(folder.path().join(".new"), "renamed").unwrap();
        fs::rename(folder.path().join(".new"), &file).unwrap();
        assert!(detects_change(&mut watch).await, "renamed over");

        fs::remove_file(&file).unwrap();
        assert!(detects_change(&mut watch).await, "removed");

        fs::write(&file, "created").unwrap();
        assert!(detects_change(&mut watch).await, "created");
    }

    #[tokio::test]
    async fn a_config_map_swap_is_detected() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (version, content) in [("..v1", "one"), ("..v2", "two")] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("gateway.yaml"), content).unwrap();
        }
        symlink("..v1", at("..data")).unwrap();
        symlink("..data/gateway.yaml", at("gateway.yaml")).unwrap();
        let mut watch = FileWatch::new([at("gateway.yaml")]).await.unwrap();

        symlink("..v2", at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        fs::remove_dir_all(at("..v1")).unwrap();
        assert!(detects_change(&mut watch).await, "first swap");

        fs::create_dir(at("..v3")).unwrap();
        fs::write(at("..v3/gateway.yaml"), "three").unwrap();
        symlink("..v3", at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        assert!(detects_change(&mut watch).await, "second swap");
    }

    #[tokio::test]
    async fn a_swapped_folder_is_detected() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        for (version, content) in [("v1", "one"), ("v2", "two")] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("gateway.yaml"), content).unwrap();
        }
        symlink(at("v1"), at("current")).unwrap();
        let mut watch = FileWatch::new([at("current/gateway.yaml")]).await.unwrap();

        symlink(at("v2"), at("next")).unwrap();
        fs::rename(at("next"), at("current")).unwrap();
        assert!(detects_change(&mut watch).await);
    }

    #[tokio::test]
    async fn touching_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gateway.yaml");
        let other = folder.path().join("other.yaml");
        fs::write(&file, "one").unwrap();
        let mut watch = FileWatch::new([file.clone()]).await.unwrap();
        fs::write(&file, "one").unwrap();
        fs::write(&other, "not ours").unwrap();
        assert!(timeout(DEBOUNCE * 4, watch.changed()).await.is_err());
    }

    #[tokio::test]
    async fn a_file_that_appears_later_is_detected() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tls.crt");
        let mut watch = FileWatch::new([file.clone()]).await.unwrap();
        fs::write(&file, "here").unwrap();
        assert!(detects_change(&mut watch).await);
    }

    #[test]
    fn a_pipe_is_left_to_its_reader() {
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"auth: {}").unwrap();
        drop(writer);
        let path = format!("/dev/fd/{}", reader.as_raw_fd());
        assert_eq!(content_of(Path::new(&path)), None);
        let mut content = String::new();
        reader.read_to_string(&mut content).unwrap();
        assert_eq!(content, "auth: {}");
    }

    #[tokio::test]
    async fn a_pipe_in_a_files_place_is_a_change_and_holds_up_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gateway.yaml");
        fs::write(&file, "one").unwrap();
        let mut watch = FileWatch::new([file.clone()]).await.unwrap();
        let pipe = folder.path().join("pipe");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        fs::rename(pipe, &file).unwrap();
        assert!(detects_change(&mut watch).await, "a pipe");
        assert_eq!(watch.contents()[&file], None);
        fs::remove_file(&file).unwrap();
        fs::write(&file, "one").unwrap();
        assert!(detects_change(&mut watch).await, "a file again");
    }

    #[tokio::test]
    async fn a_file_without_a_name_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gateway.yaml");
        fs::write(&file, "one").unwrap();
        assert!(!is_cut_off(&file));
        // What a mount of a file that was deleted shows, without a mount.
        let open = fs::File::open(&file).unwrap();
        fs::remove_file(&file).unwrap();
        let mounted = PathBuf::from(format!("/dev/fd/{}", open.as_raw_fd()));
        assert!(is_cut_off(&mounted));
        assert!(!is_cut_off(&file));
        let mut watch = FileWatch::new([mounted.clone()]).await.unwrap();
        watch.poll().await;
        assert_eq!(watch.cut_off, [mounted].into());
    }

    #[test]
    fn loops_of_symlinks_end() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        symlink(at("b"), at("a")).unwrap();
        symlink(at("a"), at("b")).unwrap();
        assert!(folders_of(&at("a")).contains(folder.path()));
    }
}
