//! A socket from the service manager, in a separate process.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::process::Command;
use tower_chain::Server;

use super::{GET, Raw, body_of, service, within};

#[tokio::test]
async fn a_socket_that_is_handed_over_is_served_and_the_manager_notified() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let path = std::env::temp_dir().join(format!("tower-chain-notify-{}", std::process::id()));
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // A client that connects before the program runs waits, and is served.
    let mut client = Raw(TcpStream::connect(addr).await.unwrap());
    client.send(GET).await;

    // Like systemd: the socket is descriptor 3, and the environment names the process.
    let mut program = Command::new("sh")
        .args(["-c", r#"LISTEN_FDS=1 LISTEN_PID=$$ exec "$0" "$@" 3<&0 0</dev/null"#])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "systemd::the_program", "--ignored"])
        .env("NOTIFY_SOCKET", &path)
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    assert_eq!(body_of(&client.response().await), "hello");
    drop(client);
    let told = || {
        let mut told = [0; 64];
        let length = manager.recv(&mut told).unwrap();
        String::from_utf8_lossy(&told[..length]).into_owned()
    };
    assert_eq!(told(), "READY=1");
    let pid = program.id().unwrap().to_string();
    let killed = Command::new("kill").args(["-TERM", &pid]).status();
    assert!(killed.await.unwrap().success());
    assert_eq!(told(), "STOPPING=1");
    assert!(within(program.wait()).await.unwrap().success());
    std::fs::remove_file(path).unwrap();
}

/// Run by the test above in a process of its own, because the sockets are named in the environment.
#[tokio::test]
#[ignore = "wants a socket of a service manager"]
async fn the_program() {
    let server = Server::inherited().unwrap().unwrap();
    assert!(Server::inherited().unwrap().is_none());
    server.serve(service()).await.unwrap();
}

#[tokio::test]
async fn without_a_service_manager_there_is_no_socket() {
    assert!(Server::inherited().unwrap().is_none());
}
