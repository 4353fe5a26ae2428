//! The file that caches a token between runs.
//!
//! Three lines: the request that the token answers, when it expires (seconds
//! since the epoch, or empty), and the token; `scripts/gateway-token-cached.sh`
//! reads and writes the same. The file is private and only ever replaced whole,
//! so a reader needs no lock. Its modification time is that of the token.
//!
//! Only a regular file is ever replaced: a device, a FIFO, a socket, a folder
//! or a symlink in its place is an error ([`Cache::check`]), and no link is
//! followed, neither to the file nor to its lock.

use std::{
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
    error::TokenError,
    settings::{CachePlace, ClientSettings},
    token::AccessToken,
};
use crate::time::UnixTime;

/// Older tokens are replaced, whenever they expire.
const OLDEST: Duration = Duration::from_secs(50 * 60);

/// How often a process that waits for the lock tries again.
const POLL: Duration = Duration::from_millis(50);

/// A cache file and the request whose token it holds.
pub(super) struct Cache {
    file: PathBuf,
    request: String,
    min_validity: Duration,
}

/// A cached token that does not expire soon.
pub(super) enum Cached {
    /// To be used.
    Fresh(AccessToken),
    /// To be replaced, and used if that fails.
    Stale(AccessToken),
}

/// Held by the process that requests a token; `None` where no lock can be had.
pub(super) struct Lock(Option<File>);

impl Cache {
    /// The cache that the settings name; `None` if they name none.
    pub(super) fn new(settings: &ClientSettings) -> Option<Self> {
        let request = request_id(settings);
        let file = match settings.cache.as_ref()? {
            CachePlace::File(file) => file.clone(),
            CachePlace::Folder(folder) => {
                let hash = digest::digest(&digest::SHA256, request.as_bytes());
                folder.join(format!("token-{}", hex::encode(&hash.as_ref()[..8])))
            }
        };
        Some(Self { file, request, min_validity: settings.min_validity })
    }

    /// The cache file.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// Checks that nothing but a regular file is in the file's place.
    ///
    /// # Errors
    /// [`TokenError::Variable`]: something else is there. To replace a device,
    /// as root could, would break the machine; to replace a symlink is not what
    /// its owner expects.
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

    /// The cached token, unless it expires soon.
    pub(super) fn read(&self) -> Option<Cached> {
        let mut file = open(OpenOptions::new().read(true), &self.file).ok()?;
        let age = age(&file)?;
        let mut text = String::new();
        file.read_to_string(&mut text).ok()?;
        let mut lines = text.lines();
        let (request, expires, token) = (lines.next()?, lines.next()?, lines.next()?);
        if request != self.request || token.is_empty() {
            return None;
        }
        let expires = expires.parse().ok().map(UnixTime::from_seconds);
        let token = AccessToken { text: token.into(), expires };
        let young = age < OLDEST;
        match expires {
            Some(expires) if expires <= UnixTime::now() + self.min_validity => None,
            _ if young => Some(Cached::Fresh(token)),
            Some(_) => Some(Cached::Stale(token)),
            // A token without a known expiry is used while it is young.
            None => None,
        }
    }

    /// Writes a token into the file.
    ///
    /// # Errors
    /// The file or its folder can't be written, or something else than a
    /// regular file has come into its place since [`Cache::check`].
    pub(super) fn write(&self, token: &AccessToken) -> io::Result<()> {
        let seconds = |expires: UnixTime| format!("{:.0}", expires.as_seconds());
        let expires = token.expires.map(seconds).unwrap_or_default();
        let mut file = NamedTempFile::with_prefix_in(".token-", self.folder()?)?;
        // It never has more rights than that, but fewer under some umasks.
        file.as_file().set_permissions(Permissions::from_mode(0o600))?;
        write!(file, "{}\n{expires}\n{}\n", self.request, token.text)?;
        // Checked again as late as possible. In the moment that is left, only
        // users who may write into this folder can put something there.
        if let Some(what) = self.obstacle() {
            return Err(io::Error::other(format!("it is {what} by now")));
        }
        file.persist(&self.file)?;
        Ok(())
    }

    /// The folder of the file, created if it does not exist.
    fn folder(&self) -> io::Result<&Path> {
        let parent = self.file.parent().filter(|parent| !parent.as_os_str().is_empty());
        let folder = parent.unwrap_or(Path::new("."));
        make_private(folder)?;
        Ok(folder)
    }

    /// Waits for the lock, for `longest` at most.
    ///
    /// # Errors
    /// Not an error: the token that another process has cached meanwhile.
    pub(super) async fn lock(&self, longest: Duration) -> Result<Lock, AccessToken> {
        // Where the lock can't be created, as in a read-only home, no token can
        // be cached either; then every process requests its own.
        let Ok(file) = self.lock_file() else { return Ok(Lock(None)) };
        let deadline = Instant::now() + longest;
        while file.try_lock().is_err() {
            if let Some(Cached::Fresh(token)) = self.read() {
                return Err(token);
            }
            if Instant::now() > deadline {
                return Ok(Lock(None));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(Lock(Some(file)))
    }

    /// The lock is a second file, because the cache file is replaced. It is
    /// never removed: a process may wait for it.
    fn lock_file(&self) -> io::Result<File> {
        self.folder()?;
        let mut path = self.file.clone().into_os_string();
        path.push(".turn");
        let mut options = OpenOptions::new();
        open(options.create(true).truncate(false).write(true).mode(0o600), Path::new(&path))
    }
}

/// Opens a regular file, without following a symlink and without waiting, as
/// opening a FIFO would.
fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    let file = options.custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    Ok(file)
}

/// How long ago the file was written; `None` if other users can access it, or
/// if its time lies in the future, as after a clock was wrong.
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

/// Creates a folder, and those above it, for their owner alone. Existing folders
/// stay as they are.
fn make_private(folder: &Path) -> io::Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        make_private(parent)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        // Some umasks take rights from the owner, too.
        Ok(()) => fs::set_permissions(folder, Permissions::from_mode(0o700)),
        // Another process has created it meanwhile.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Closing the file would unlock it, too; this makes it explicit.
impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(file) = &self.0 {
            // If this fails, closing the file unlocks it.
            let _ = file.unlock();
        }
    }
}

/// Everything about the request but the secret, in a form that needs no quoting.
fn request_id(settings: &ClientSettings) -> String {
    let ClientSettings { endpoint_text, client_id, scope, audience, resource, .. } = settings;
    [endpoint_text, client_id, scope, audience, resource]
        .into_iter()
        .fold(String::new(), |id, value| id + &hex::encode(value) + "-")
}

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::symlink, net::UnixListener};

    use tempfile::TempDir;

    use super::*;

    fn cache(folder: &TempDir) -> Cache {
        let file = folder.path().join("deeper/token");
        Cache { file, request: "6d65-".into(), min_validity: Duration::from_secs(60) }
    }

    fn token(text: &str, lifetime: Option<f64>) -> AccessToken {
        let expires = lifetime
            .map(|lifetime| UnixTime::from_seconds(UnixTime::now().as_seconds() + lifetime));
        AccessToken { text: text.into(), expires }
    }

    fn verdict(cache: &Cache) -> &'static str {
        match cache.read() {
            Some(Cached::Fresh(token)) if token.text == "a.b.c" => "fresh",
            Some(Cached::Stale(token)) if token.text == "a.b.c" => "stale",
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
    async fn a_token_is_used_until_it_is_old_or_expires_soon() {
        let folder = TempDir::new().unwrap();
        let cache = cache(&folder);
        assert_eq!(verdict(&cache), "none");
        for (lifetime, age, expected) in [
            (Some(3600.0), 0, "fresh"),
            (Some(3600.0), 49 * 60, "fresh"),
            (Some(3600.0), 51 * 60, "stale"),
            (Some(70.0), 0, "fresh"),
            (Some(50.0), 0, "none"),
            (Some(-50.0), 0, "none"),
            (None, 49 * 60, "fresh"),
            (None, 51 * 60, "none"),
            // Written by a clock that was wrong.
            (Some(3600.0), -3600, "none"),
        ] {
            cache.write(&token("a.b.c", lifetime)).unwrap();
            written_ago(&cache, age);
            assert_eq!(verdict(&cache), expected, "{lifetime:?} {age}");
        }
    }

    #[tokio::test]
    async fn only_a_private_file_of_this_client_is_used() {
        let folder = TempDir::new().unwrap();
        let cache = cache(&folder);
        cache.write(&token("a.b.c", None)).unwrap();
        assert_eq!(fs::metadata(&cache.file).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(fs::metadata(cache.file.parent().unwrap()).unwrap().mode() & 0o777, 0o700);

        let other = Cache { file: cache.file.clone(), request: "796f75-".into(), ..cache };
        assert_eq!(verdict(&other), "none");

        fs::set_permissions(&cache.file, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(verdict(&cache), "none");
        cache.write(&token("a.b.c", None)).unwrap();
        assert_eq!(verdict(&cache), "fresh");
    }

    fn make_fifo(path: &Path) {
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, path, fifo, mode, 0).unwrap();
    }

    /// Devices are covered by the end-to-end tests: creating them takes root.
    #[tokio::test]
    async fn only_a_regular_file_is_read_or_replaced() {
        let folder = TempDir::new().unwrap();
        let cache = cache(&folder);
        cache.write(&token("a.b.c", None)).unwrap();
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
            let error = cache.check().unwrap_err();
            assert!(matches!(error, TokenError::Variable(_)), "{error:?}");
            assert!(error.to_string().contains(&format!("is {what}, and")), "{error}");
            assert_eq!(verdict(&cache), "none", "{what}");
            assert!(cache.write(&token("d.e.f", None)).is_err(), "{what}");
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
        assert!(cache.lock(Duration::ZERO).await.ok().unwrap().0.is_none());
        assert!(!elsewhere.exists());

        fs::remove_file(&lock).unwrap();
        make_fifo(&lock);
        assert!(cache.lock(Duration::ZERO).await.ok().unwrap().0.is_none());
        assert!(fs::symlink_metadata(&lock).unwrap().file_type().is_fifo());
    }

    #[tokio::test]
    async fn a_malformed_file_holds_no_token() {
        let folder = TempDir::new().unwrap();
        let cache = cache(&folder);
        for text in ["", "6d65-", "6d65-\n\n", "6d65-\n\n\n", "{}\n\n\n"] {
            cache.write(&token("a.b.c", None)).unwrap();
            fs::write(&cache.file, text).unwrap();
            assert_eq!(verdict(&cache), "none", "{text:?}");
        }
    }

    #[tokio::test]
    async fn one_process_requests_while_the_others_wait() {
        let folder = TempDir::new().unwrap();
        let (holder, waiter) = (cache(&folder), cache(&folder));
        let long = Duration::from_secs(60);
        let lock = holder.lock(long).await.ok().unwrap();
        let waits = tokio::spawn(async move { waiter.lock(long).await.err().unwrap().text });
        holder.write(&token("a.b.c", None)).unwrap();
        assert_eq!(waits.await.unwrap(), "a.b.c");

        // No process waits forever.
        fs::remove_file(&holder.file).unwrap();
        let own = cache(&folder).lock(Duration::ZERO).await.ok().unwrap();
        assert!(own.0.is_none());
        drop(lock);
        assert!(cache(&folder).lock(Duration::ZERO).await.ok().unwrap().0.is_some());
    }
}
