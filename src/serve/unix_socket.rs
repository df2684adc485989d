//! A listening Unix socket, and its path in the file system.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf, absolute};
use std::thread::sleep;
use std::time::Duration;

use futures_util::FutureExt;
use rustix::fs::{FlockOperation, flock};
use tokio::net::{UnixListener, UnixStream};

/// A listening Unix socket. Removes its path when it is dropped, if it has bound that path itself.
#[derive(Debug)]
pub(super) struct UnixSocket {
    // Dropped before the listener. As long as the listener is open, no other file gets the inode of its path.
    bound: Option<BoundPath>,
    listener: UnixListener,
}

impl UnixSocket {
    /// Binds a path. Replaces a socket on which no process listens, and nothing else.
    pub(super) fn bind(path: &Path) -> io::Result<Self> {
        // Two servers that start at the same time could both find the path unused: the second would remove the socket of the first.
        let locked = lock_directory(path);
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && locked.is_some() => {
                remove_unused(path, error)?;
                UnixListener::bind(path)?
            }
            bound => bound?,
        };
        Ok(Self { bound: BoundPath::of(path), listener })
    }

    pub(super) fn listener(&self) -> &UnixListener {
        &self.listener
    }

    /// Further handles of the same socket, and this one, which must be dropped when they stop accepting.
    pub(super) fn copies(
        self,
        count: usize,
    ) -> io::Result<(Vec<std::os::unix::net::UnixListener>, Self)> {
        let Self { bound, listener } = self;
        let listener = listener.into_std()?;
        let copies = (0..count).map(|_| listener.try_clone()).collect::<io::Result<_>>()?;
        Ok((copies, Self { bound, listener: UnixListener::from_std(listener)? }))
    }

    /// Removes the path. What connected before is still in the queue of the listener.
    pub(super) fn into_listener(self) -> UnixListener {
        let Self { bound, listener } = self;
        drop(bound);
        listener
    }
}

/// A socket that someone else has bound: its path is not removed.
impl From<UnixListener> for UnixSocket {
    fn from(listener: UnixListener) -> Self {
        Self { bound: None, listener }
    }
}

/// The path of a bound socket, which is removed when this is dropped.
#[derive(Debug)]
struct BoundPath {
    path: PathBuf,
    file: FileId,
}

impl BoundPath {
    /// `None` for an abstract name, which has no file.
    fn of(path: &Path) -> Option<Self> {
        // The working directory may be another one at the end.
        let path = absolute(path).ok()?;
        let file = FileId::of_socket(&path).ok()?;
        Some(Self { path, file })
    }
}

impl Drop for BoundPath {
    fn drop(&mut self) {
        if FileId::of_socket(&self.path).is_ok_and(|file| file == self.file)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(%error, path = %self.path.display(), "can't remove the Unix socket");
        }
    }
}

/// Which file a path is, for as long as the file exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// Fails if the path is not a socket. A symbolic link is not followed.
    fn of_socket(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        if !metadata.file_type().is_socket() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "this file is not a socket"));
        }
        Ok(Self { device: metadata.dev(), inode: metadata.ino() })
    }
}

/// Removes a socket on which no process listens. Fails with `in_use`, the error of the bind, if a process listens or if that is unknown.
fn remove_unused(path: &Path, in_use: io::Error) -> io::Result<()> {
    // An abstract name can't be left behind. Its metadata can't be read, as a path must not contain NUL.
    let file = match FileId::of_socket(path) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Err(in_use),
        // It was removed since.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    // A non-blocking connect fails at once if no process listens. If the queue of a listener is full it fails in another way, where a
    // blocking connect would wait. Only the connect itself matters, so the future is polled once.
    let refused = matches!(
        UnixStream::connect(path).now_or_never(),
        Some(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused
    );
    // The path may have been replaced since.
    if !refused || FileId::of_socket(path)? != file {
        return Err(in_use);
    }
    fs::remove_file(path)
}

/// Locks the directory of a path, so that of all threads and processes only one replaces a socket there. The lock ends with the file, at the
/// latest with the process.
///
/// `None` if that is not possible, or if another program holds the lock for long. A socket is then not replaced.
fn lock_directory(path: &Path) -> Option<File> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = File::open(parent.unwrap_or(Path::new("."))).ok()?;
    for _ in 0..LOCK_ATTEMPTS {
        match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Some(directory),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(LOCK_PAUSE),
            Err(_) => return None,
        }
    }
    None
}

const LOCK_ATTEMPTS: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests;
