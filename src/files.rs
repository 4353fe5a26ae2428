//! Reading the files that the service lives on, without waiting for ever.
//!
//! A path may hold what is not a regular file: a pipe that nothing is written
//! to, a device without an end. And a file may lie on a mount whose server is
//! gone. The first is refused ([`read`]), the second waited for elsewhere and for a
//! while ([`Lane`]).

use std::{
    fs::{File, OpenOptions},
    io::{Error, ErrorKind, Read, Result},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::Semaphore,
    task::spawn_blocking,
    time::{error::Elapsed, timeout},
};

/// Larger files are refused: configs and key material are small.
const LARGEST: u64 = 16 << 20;

/// How long files may take to be read.
pub(crate) const READ_LIMIT: Duration = Duration::from_secs(5);

/// Reads a regular file.
///
/// # Errors
/// It can't be read, is larger than 16 MiB, or is a pipe, a device, a folder
/// or a socket, reading which might take for ever.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    // Opening a pipe wakes its writer, and some devices act on it.
    must_be_regular(&std::fs::metadata(path)?)?;
    let file = open(path)?;
    // What was opened, in case another has taken its place.
    let found = file.metadata()?;
    must_be_regular(&found)?;
    // Room for all of it at once: what grows leaves copies behind, and there
    // may be keys in it.
    let room = found.len().min(LARGEST) + 1;
    let mut content = Vec::with_capacity(usize::try_from(room).unwrap_or_default());
    file.take(LARGEST + 1).read_to_end(&mut content)?;
    if content.len() as u64 > LARGEST {
        return Err(Error::new(ErrorKind::FileTooLarge, "it is larger than 16 MiB"));
    }
    Ok(content)
}

/// Opens a file, and does not wait for a writer should it be a pipe.
fn open(path: &Path) -> Result<File> {
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(nonblocking).open(path)
}

fn must_be_regular(found: &std::fs::Metadata) -> Result<()> {
    if found.is_file() {
        return Ok(());
    }
    let what = "it is not a regular file; name one, or copy what it holds into one";
    Err(Error::new(ErrorKind::InvalidInput, what))
}

/// Where work that may hang is done: beside the runtime, one piece at a time.
///
/// What hangs can't be ended. It keeps its thread, and the lane, until it
/// comes back, so however often it is tried again there is one such thread.
#[derive(Clone, Debug)]
pub(crate) struct Lane(Arc<Semaphore>);

/// Work in a [`Lane`] was not done in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("reading files takes more than 5 seconds, look at their mounts")]
pub struct Hung;

impl From<Elapsed> for Hung {
    fn from(_: Elapsed) -> Self {
        Self
    }
}

impl Default for Lane {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl Lane {
    /// Does `work` on a thread where it may block, once what came before has
    /// ended.
    ///
    /// # Errors
    /// It was not done within [`READ_LIMIT`]; its outcome is dropped if it
    /// ever comes.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> std::result::Result<T, Hung> {
        let lane = Arc::clone(&self.0);
        let done = async move {
            let place = lane.acquire_owned().await.map_err(|_| Hung)?;
            let work = move || {
                let done = work();
                drop(place);
                done
            };
            // It panicked, or the runtime ends.
            spawn_blocking(work).await.map_err(|_| Hung)
        };
        timeout(READ_LIMIT, done).await?
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{fs, os::unix::net::UnixListener, path::PathBuf, sync::mpsc, time::Instant};

    use super::*;

    /// A pipe with a name, to which nothing is written.
    pub(crate) fn pipe_in(folder: &Path) -> PathBuf {
        let path = folder.join("pipe");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        path
    }

    #[test]
    fn only_regular_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "content").unwrap();
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        assert_eq!(read(&at("file")).unwrap(), b"content");
        assert_eq!(read(&at("link")).unwrap(), b"content");

        let _socket = UnixListener::bind(at("socket")).unwrap();
        let pipe = pipe_in(folder.path());
        let others = [pipe.as_path(), folder.path(), &at("socket"), Path::new("/dev/zero")];
        for other in others {
            let error = read(other).unwrap_err().to_string();
            assert!(error.contains("not a regular file"), "{}: {error}", other.display());
        }
        assert_eq!(read(&at("missing")).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn a_pipe_that_takes_a_files_place_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let opened = open(&pipe_in(folder.path())).unwrap();
        assert!(must_be_regular(&opened.metadata().unwrap()).is_err());
    }

    #[test]
    fn a_large_file_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(LARGEST).unwrap();
        assert_eq!(read(file.path()).unwrap().len() as u64, LARGEST);
        file.as_file().set_len(LARGEST + 1).unwrap();
        assert_eq!(read(file.path()).unwrap_err().kind(), ErrorKind::FileTooLarge);
    }

    #[tokio::test]
    async fn what_hangs_is_given_up_and_holds_one_thread() {
        let lane = Lane::default();
        let (release, hangs) = mpsc::channel::<()>();
        let (begun, begins) = mpsc::channel();
        let stuck = tokio::spawn({
            let (lane, begun) = (lane.clone(), begun.clone());
            async move {
                lane.run(move || {
                    begun.send(1).unwrap();
                    let _ = hangs.recv();
                })
                .await
            }
        });
        let first = tokio::task::spawn_blocking(move || (begins.recv(), begins)).await.unwrap();
        assert_eq!(first.0, Ok(1));
        let start = Instant::now();
        let next = lane.run(move || begun.send(2).unwrap()).await;
        assert_eq!(next, Err(Hung));
        assert!(start.elapsed() >= READ_LIMIT);
        assert_eq!(stuck.await.unwrap(), Err(Hung));
        assert!(first.1.try_recv().is_err(), "nothing began beside what hangs");

        drop(release);
        assert_eq!(lane.run(|| 3).await, Ok(3), "it goes on once the first is back");
    }
}
