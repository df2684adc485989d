use std::io::Write;
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixDatagram, UnixListener as StdListener, UnixStream as StdStream};
use std::process::Command;

use tokio::net::UnixSocket as TokioSocket;

use super::*;
use crate::serve::{Listener, ServeError};

/// A directory of its own for each test, removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tower-chain-{test}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A socket that a killed server left behind.
    fn unused(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        drop(StdListener::bind(&path).unwrap());
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn id(path: &Path) -> (u64, u64) {
    let metadata = fs::symlink_metadata(path).unwrap();
    (metadata.dev(), metadata.ino())
}

#[tokio::test]
async fn a_socket_without_a_listener_is_replaced() {
    let directory = Directory::new("replaced");
    let stream = directory.unused("stream");
    let datagram = directory.path("datagram");
    drop(UnixDatagram::bind(&datagram).unwrap());
    for path in [stream, datagram, directory.path("new")] {
        let listener = Listener::bind_unix(&path).unwrap();
        StdStream::connect(&path).unwrap();
        drop(listener);
        assert!(!path.exists(), "{path:?} is left behind");
    }
}

#[tokio::test]
async fn anything_else_at_the_path_is_kept() {
    let directory = Directory::new("kept");
    let path = |name| directory.path(name);

    fs::File::create(path("file")).unwrap().write_all(b"precious").unwrap();
    fs::create_dir(path("directory")).unwrap();
    assert!(Command::new("mkfifo").arg(path("fifo")).status().unwrap().success());
    symlink(path("file"), path("link to a file")).unwrap();
    symlink(path("nothing"), path("dangling link")).unwrap();
    symlink(directory.unused("unused"), path("link to an unused socket")).unwrap();
    let _listening = StdListener::bind(path("listening")).unwrap();
    symlink(path("listening"), path("link to a listening socket")).unwrap();
    let _datagram = UnixDatagram::bind(path("datagram")).unwrap();

    // The queue is full: a blocking connect would wait for ever.
    let full = TokioSocket::new_stream().unwrap();
    full.bind(path("full")).unwrap();
    let _full = full.listen(0).unwrap();
    let mut waiting = Vec::new();
    while let Some(Ok(stream)) = UnixStream::connect(path("full")).now_or_never() {
        waiting.push(stream);
    }

    for name in [
        "file",
        "directory",
        "fifo",
        "link to a file",
        "dangling link",
        "link to an unused socket",
        "link to a listening socket",
        "listening",
        "datagram",
        "full",
    ] {
        let before = id(&path(name));
        let error = Listener::bind_unix(path(name)).unwrap_err();
        assert!(matches!(error, ServeError::Bind { .. }), "{name}: {error}");
        assert_eq!(id(&path(name)), before, "{name}");
    }
    assert_eq!(fs::read(path("file")).unwrap(), b"precious");
    assert!(!path("nothing").exists());
    let error = Listener::bind_unix(path("file")).unwrap_err().to_string();
    assert!(error.contains("not a socket") && error.contains("move that file away"), "{error}");
    let error = Listener::bind_unix(path("missing/socket")).unwrap_err().to_string();
    assert!(error.contains("create the directory"), "{error}");
}

#[tokio::test]
async fn only_the_socket_that_was_bound_is_removed() {
    let directory = Directory::new("removed");
    let path = directory.path("socket");

    let first = Listener::bind_unix(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let second = Listener::bind_unix(&path).unwrap();
    drop(first);
    StdStream::connect(&path).unwrap();
    drop(second);
    assert!(!path.exists());

    let replaced = Listener::bind_unix(&path).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, "precious").unwrap();
    drop(replaced);
    assert_eq!(fs::read(&path).unwrap(), b"precious");
    fs::remove_file(&path).unwrap();

    // The socket was moved, and the path is now a link to it.
    let moved = Listener::bind_unix(&path).unwrap();
    fs::rename(&path, directory.path("moved")).unwrap();
    symlink(directory.path("moved"), &path).unwrap();
    drop(moved);
    assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
    assert!(directory.path("moved").exists());
}

#[tokio::test]
async fn a_socket_that_was_bound_by_another_is_not_removed() {
    let directory = Directory::new("handed-over");
    let path = directory.path("socket");
    drop(Listener::try_from(StdListener::bind(&path).unwrap()).unwrap());
    assert!(path.exists());
    fs::remove_file(&path).unwrap();
    drop(Listener::from(UnixListener::bind(&path).unwrap()));
    assert!(path.exists());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_abstract_name_in_use_is_an_error() {
    let name = format!("\0tower-chain-{}", std::process::id());
    let first = Listener::bind_unix(&name).unwrap();
    let error = Listener::bind_unix(&name).unwrap_err();
    let ServeError::Bind { source, .. } = error else { panic!("{error}") };
    assert_eq!(source.kind(), io::ErrorKind::AddrInUse);
    drop(first);
    Listener::bind_unix(&name).unwrap();
}

#[tokio::test]
async fn while_another_process_binds_there_no_socket_is_replaced() {
    let directory = Directory::new("locked");
    let path = directory.unused("socket");
    let before = id(&path);
    // Locks belong to open files: this one is as good as that of another process.
    let other = File::open(&directory.0).unwrap();
    flock(&other, FlockOperation::LockExclusive).unwrap();
    assert!(Listener::bind_unix(&path).is_err());
    assert_eq!(id(&path), before);
    // A path that is free needs no lock.
    let free = Listener::bind_unix(directory.path("free")).unwrap();
    drop(other);
    let replaced = Listener::bind_unix(&path).unwrap();
    StdStream::connect(&path).unwrap();
    drop((free, replaced));
}

#[test]
fn one_of_several_servers_gets_an_unused_socket() {
    let directory = Directory::new("several");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    for round in 0..50 {
        let path = directory.unused(&round.to_string());
        let start = std::sync::Barrier::new(4);
        let bound: Vec<_> = std::thread::scope(|scope| {
            let bind = || {
                let _runtime = runtime.enter();
                start.wait();
                Listener::bind_unix(&path)
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(bind)).collect();
            threads.into_iter().filter_map(|thread| thread.join().unwrap().ok()).collect()
        });
        assert_eq!(bound.len(), 1, "round {round}");
        StdStream::connect(&path).unwrap();
        let _runtime = runtime.enter();
        drop(bound);
    }
}
