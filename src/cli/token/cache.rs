//! The file that keeps a token between runs.
//!
//! Three lines: whose token it is, when it ends (seconds since the epoch, or
//! empty), and the token; `scripts/gateway-token-cached.sh` reads and writes
//! the same. The file is private and only ever replaced whole, so a reader
//! needs no lock. Its modification time says when the token was got.
//!
//! Only a regular file is ever replaced: a device, a FIFO, a socket, a folder
//! or a symlink in its place is refused ([`Cache::check`]), and no link is
//! followed, neither to the file nor to its lock.

use std::{
    fmt::Write as _,
    fs::{self, File, FileType, OpenOptions, Permissions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use aws_lc_rs::digest;
use rustix::{fs::OFlags, process::geteuid};
use tempfile::NamedTempFile;
use tokio::time::Instant;

use super::{
    Token,
    error::TokenError,
    settings::{CachePlace, ClientSettings},
};
use crate::time::UnixTime;

/// Older tokens are replaced, whatever their end.
const OLDEST: Duration = Duration::from_secs(50 * 60);

/// How often one who waits looks again.
const POLL: Duration = Duration::from_millis(50);

/// A cache file and whose token it keeps.
pub(super) struct Cache {
    file: PathBuf,
    owner: String,
    min_validity: Duration,
}

/// A token that was kept and does not end soon.
pub(super) enum Cached {
    /// To be used.
    Fresh(Token),
    /// To be replaced, and used if that fails.
    Old(Token),
}

/// Held by the process that may ask for a token.
pub(super) struct Turn(Option<File>);

impl Cache {
    /// The cache that the settings name; `None` if nothing says where.
    pub(super) fn new(settings: &ClientSettings) -> Option<Self> {
        let owner = owner(settings);
        let file = match settings.cache.as_ref()? {
            CachePlace::File(file) => file.clone(),
            CachePlace::Folder(folder) => {
                let hash = digest::digest(&digest::SHA256, owner.as_bytes());
                folder.join(format!("token-{}", hex(&hash.as_ref()[..8])))
            }
        };
        Some(Self { file, owner, min_validity: settings.min_validity })
    }

    /// Where the token is kept.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// Checks that there is nothing in the file's place that it must not take.
    ///
    /// # Errors
    /// [`TokenError::Variable`]: something is there and no regular file. To
    /// replace a device, as root could, would break the machine; to replace a
    /// symlink is not what those expect who made it.
    pub(super) fn check(&self) -> Result<(), TokenError> {
        self.obstacle().map_or(Ok(()), |what| {
            let file = self.file.display();
            Err(TokenError::Variable(format!(
                "{file} is {what}, and a token is kept in a regular file only; have \
                 GATEWAY_TOKEN_CACHE name one, or a file that is not there yet"
            )))
        })
    }

    /// What is in the file's place, if that is not a regular file.
    fn obstacle(&self) -> Option<&'static str> {
        let found = fs::symlink_metadata(&self.file).ok()?.file_type();
        (!found.is_file()).then(|| kind_name(found))
    }

    /// The token that was kept, unless it ends soon.
    pub(super) fn recall(&self) -> Option<Cached> {
        let mut file = open(OpenOptions::new().read(true), &self.file).ok()?;
        let age = age(&file)?;
        let mut text = String::new();
        file.read_to_string(&mut text).ok()?;
        let mut lines = text.lines();
        let (owner, ends, token) = (lines.next()?, lines.next()?, lines.next()?);
        if owner != self.owner || token.is_empty() {
            return None;
        }
        let ends = ends.parse().ok().map(UnixTime::from_seconds);
        let token = Token { text: token.into(), ends };
        let young = age < OLDEST;
        match ends {
            Some(ends) if ends <= UnixTime::now() + self.min_validity => None,
            _ if young => Some(Cached::Fresh(token)),
            Some(_) => Some(Cached::Old(token)),
            // One without a known end is as good as it is young.
            None => None,
        }
    }

    /// Keeps a token.
    ///
    /// # Errors
    /// The file or its folder can't be written, or something else than a
    /// regular file has come into its place since [`Cache::check`].
    pub(super) fn keep(&self, token: &Token) -> io::Result<()> {
        let ends = token.ends.map(|ends| format!("{:.0}", ends.as_seconds())).unwrap_or_default();
        let mut file = NamedTempFile::with_prefix_in(".token-", self.folder()?)?;
        // It has no more than that from the start, but less under some umasks.
        file.as_file().set_permissions(Permissions::from_mode(0o600))?;
        write!(file, "{}\n{ends}\n{}\n", self.owner, token.text)?;
        // Looked at once more, as late as can be. The moment that is left
        // belongs to those who may write into this folder.
        if let Some(what) = self.obstacle() {
            return Err(io::Error::other(format!("it is {what} by now")));
        }
        file.persist(&self.file)?;
        Ok(())
    }

    /// The folder of the file, made if need be.
    fn folder(&self) -> io::Result<&Path> {
        let parent = self.file.parent().filter(|parent| !parent.as_os_str().is_empty());
        let folder = parent.unwrap_or(Path::new("."));
        make_private(folder)?;
        Ok(folder)
    }

    /// Waits until this process alone may ask, for `longest` at most.
    ///
    /// # Errors
    /// No error: somebody else has got this token meanwhile.
    pub(super) async fn take_turn(&self, longest: Duration) -> Result<Turn, Token> {
        // What can't be locked, as in a read-only home, can't be kept either;
        // then everybody asks.
        let Ok(file) = self.lock_file() else { return Ok(Turn(None)) };
        let deadline = Instant::now() + longest;
        while file.try_lock().is_err() {
            if let Some(Cached::Fresh(token)) = self.recall() {
                return Err(token);
            }
            if Instant::now() > deadline {
                return Ok(Turn(None));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(Turn(Some(file)))
    }

    /// A file of its own, since the other one is replaced all the time. It
    /// stays: to remove it would pull it from under a process that waits.
    fn lock_file(&self) -> io::Result<File> {
        self.folder()?;
        let mut path = self.file.clone().into_os_string();
        path.push(".turn");
        let mut options = OpenOptions::new();
        open(options.create(true).truncate(false).write(true).mode(0o600), Path::new(&path))
    }
}

/// Opens a regular file. Not through a symlink, which could lead anywhere, nor
/// waiting, as opening a FIFO does.
fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    let file = options.custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    Ok(file)
}

/// How long ago the file was written, if it belongs to this user alone. A file
/// from the future tells of a clock that was wrong.
fn age(file: &File) -> Option<Duration> {
    let metadata = file.metadata().ok()?;
    if metadata.mode() & 0o7777 != 0o600 || metadata.uid() != geteuid().as_raw() {
        return None;
    }
    SystemTime::now().duration_since(metadata.modified().ok()?).ok()
}

fn kind_name(kind: FileType) -> &'static str {
    match kind {
        kind if kind.is_symlink() => "a symlink",
        kind if kind.is_dir() => "a folder",
        kind if kind.is_fifo() => "a FIFO",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
    }
}

/// Makes a folder, and those above it, for their owner alone. What is there
/// already stays as it is.
fn make_private(folder: &Path) -> io::Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        make_private(parent)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        // A umask that takes rights from the owner would leave a folder that
        // nobody can use.
        Ok(()) => fs::set_permissions(folder, Permissions::from_mode(0o700)),
        // Somebody else was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Files let go of their locks when they are closed; this says so out loud.
impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(file) = &self.0 {
            // It is closed next, and then unlocked all the same.
            let _ = file.unlock();
        }
    }
}

/// Whose token it is: everything about the request but the secret, in a form
/// that needs no quoting.
fn owner(settings: &ClientSettings) -> String {
    let ClientSettings { endpoint_text, client_id, scope, audience, resource, .. } = settings;
    [endpoint_text, client_id, scope, audience, resource]
        .into_iter()
        .fold(String::new(), |owner, value| owner + &hex(value.as_bytes()) + "-")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::symlink, net::UnixListener};

    use tempfile::TempDir;

    use super::*;

    fn cache(folder: &TempDir) -> Cache {
        let file = folder.path().join("deeper/token");
        Cache { file, owner: "6d65-".into(), min_validity: Duration::from_secs(60) }
    }

    fn token(text: &str, lifetime: Option<f64>) -> Token {
        let ends = lifetime
            .map(|lifetime| UnixTime::from_seconds(UnixTime::now().as_seconds() + lifetime));
        Token { text: text.into(), ends }
    }

    fn verdict(cache: &Cache) -> &'static str {
        match cache.recall() {
            Some(Cached::Fresh(token)) if token.text == "a.b.c" => "fresh",
            Some(Cached::Old(token)) if token.text == "a.b.c" => "old",
            Some(_) => "another",
            None => "none",
        }
    }

    fn written_ago(cache: &Cache, seconds: i64) {
        let file = File::options().write(true).open(&cache.file).unwrap();
        let ago = Duration::from_secs(seconds.unsigned_abs());
        let now = SystemTime::now();
        file.set_modified(if seconds < 0 { now + ago } else { now - ago }).unwrap();
    }

    #[tokio::test]
    async fn a_token_is_used_until_it_is_old_or_ends_soon() {
        let folder = TempDir::new().unwrap();
        let cache = cache(&folder);
        assert_eq!(verdict(&cache), "none");
        for (lifetime, age, expected) in [
            (Some(3600.0), 0, "fresh"),
            (Some(3600.0), 49 * 60, "fresh"),
            (Some(3600.0), 51 * 60, "old"),
            (Some(70.0), 0, "fresh"),
            (Some(50.0), 0, "none"),
            (Some(-50.0), 0, "none"),
            (None, 49 * 60, "fresh"),
            (None, 51 * 60, "none"),
            // Written by a clock that was wrong.
            (Some(3600.0), -3600, "none"),
        ] {
            cache.keep(&token("a.b.c", lifetime)).unwrap();
            written_ago(&cache, age);
            assert_eq!(verdict(&cache), expected, "{lifetime:?} {age}");
        }
    }

    #[tokio::test]
    async fn only_a_private_file_of_this_client_is_believed() {
        let folder = TempDir::new().unwrap();
        let cache = cache(&folder);
        cache.keep(&token("a.b.c", None)).unwrap();
        assert_eq!(fs::metadata(&cache.file).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(fs::metadata(cache.file.parent().unwrap()).unwrap().mode() & 0o777, 0o700);

        let other = Cache { file: cache.file.clone(), owner: "796f75-".into(), ..cache };
        assert_eq!(verdict(&other), "none");

        fs::set_permissions(&cache.file, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(verdict(&cache), "none");
        cache.keep(&token("a.b.c", None)).unwrap();
        assert_eq!(verdict(&cache), "fresh");
    }

    fn make_fifo(path: &Path) {
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, path, fifo, mode, 0).unwrap();
    }

    /// Devices are made in the end-to-end tests: that takes root.
    #[tokio::test]
    async fn what_is_no_regular_file_is_neither_read_nor_replaced() {
        let folder = TempDir::new().unwrap();
        let cache = cache(&folder);
        cache.keep(&token("a.b.c", None)).unwrap();
        cache.check().unwrap();
        let elsewhere = folder.path().join("elsewhere");
        fs::rename(&cache.file, &elsewhere).unwrap();
        cache.check().unwrap();

        let nowhere = folder.path().join("nowhere");
        type Put<'p> = &'p dyn Fn(&Path);
        let put: [(&str, Put<'_>); 5] = [
            ("a symlink", &|file| symlink(&elsewhere, file).unwrap()),
            ("a symlink", &|file| symlink(&nowhere, file).unwrap()),
            ("a folder", &|file| fs::create_dir(file).unwrap()),
            ("a FIFO", &make_fifo),
            ("a socket", &|file| drop(UnixListener::bind(file).unwrap())),
        ];
        for (what, put) in put {
            put(&cache.file);
            let before = fs::symlink_metadata(&cache.file).unwrap().ino();
            let refused = cache.check().unwrap_err();
            assert_eq!(refused.exit_code(), 1);
            assert!(refused.to_string().contains(&format!("is {what}, and")), "{refused}");
            assert_eq!(verdict(&cache), "none", "{what}");
            assert!(cache.keep(&token("d.e.f", None)).is_err(), "{what}");
            assert_eq!(fs::symlink_metadata(&cache.file).unwrap().ino(), before, "{what}");
            fs::remove_file(&cache.file).or_else(|_| fs::remove_dir(&cache.file)).unwrap();
        }
        assert!(fs::read_to_string(&elsewhere).unwrap().contains("a.b.c"));
        let left: Vec<_> = fs::read_dir(cache.file.parent().unwrap()).unwrap().collect();
        assert!(left.is_empty() && !nowhere.exists(), "{left:?}");
    }

    #[tokio::test]
    async fn no_link_leads_from_the_lock_elsewhere() {
        let folder = TempDir::new().unwrap();
        let cache = cache(&folder);
        cache.folder().unwrap();
        let lock = cache.file.with_file_name("token.turn");
        let elsewhere = folder.path().join("elsewhere");
        symlink(&elsewhere, &lock).unwrap();
        assert!(cache.take_turn(Duration::ZERO).await.ok().unwrap().0.is_none());
        assert!(!elsewhere.exists());

        fs::remove_file(&lock).unwrap();
        make_fifo(&lock);
        assert!(cache.take_turn(Duration::ZERO).await.ok().unwrap().0.is_none());
        assert!(fs::symlink_metadata(&lock).unwrap().file_type().is_fifo());
    }

    #[tokio::test]
    async fn a_file_that_makes_no_sense_is_none() {
        let folder = TempDir::new().unwrap();
        let cache = cache(&folder);
        for text in ["", "6d65-", "6d65-\n\n", "6d65-\n\n\n", "{}\n\n\n"] {
            cache.keep(&token("a.b.c", None)).unwrap();
            fs::write(&cache.file, text).unwrap();
            assert_eq!(verdict(&cache), "none", "{text:?}");
        }
    }

    #[tokio::test]
    async fn one_asks_while_the_others_wait() {
        let folder = TempDir::new().unwrap();
        let (asking, waiting) = (cache(&folder), cache(&folder));
        let long = Duration::from_secs(60);
        let turn = asking.take_turn(long).await.ok().unwrap();
        let waits = tokio::spawn(async move { waiting.take_turn(long).await.err().unwrap().text });
        asking.keep(&token("a.b.c", None)).unwrap();
        assert_eq!(waits.await.unwrap(), "a.b.c");

        // Nobody waits for ever.
        fs::remove_file(&asking.file).unwrap();
        let own = cache(&folder).take_turn(Duration::ZERO).await.ok().unwrap();
        assert!(own.0.is_none());
        drop(turn);
        assert!(cache(&folder).take_turn(Duration::ZERO).await.ok().unwrap().0.is_some());
    }
}
