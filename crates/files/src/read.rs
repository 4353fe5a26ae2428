//! Reads a whole file.

use std::{
    fs::{File, OpenOptions},
    io::{Error, ErrorKind, Read, Result},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// Larger files are refused: configs and key material are small.
const LARGEST: u64 = 16 << 20;

/// Reads a regular file.
///
/// # Errors
/// It can't be read, is larger than 16 MiB, or is a pipe, a device, a folder or
/// a socket, which might block forever.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    // Before it is opened: that wakes the writer of a pipe, and some devices
    // act on it.
    must_be_regular(&std::fs::metadata(path)?)?;
    let file = open(path)?;
    // And after, in case another file has taken its place.
    let found = file.metadata()?;
    must_be_regular(&found)?;
    // Allocated once: a buffer that grows leaves copies behind, and there may
    // be keys in it.
    let room = found.len().min(LARGEST) + 1;
    let mut content = Vec::with_capacity(usize::try_from(room).unwrap_or_default());
    file.take(LARGEST + 1).read_to_end(&mut content)?;
    if content.len() as u64 > LARGEST {
        return Err(Error::new(ErrorKind::FileTooLarge, "it is larger than 16 MiB"));
    }
    Ok(content)
}

/// Opens a file without waiting for a writer, should it be a pipe.
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

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::net::UnixListener, path::PathBuf};

    use super::*;

    /// A named pipe without a writer.
    fn pipe_in(folder: &Path) -> PathBuf {
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
}
