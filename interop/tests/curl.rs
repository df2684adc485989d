//! The server with curl as its client.

use std::process::Command;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tower_chain::extract::PeerAddr;
use tower_chain::serve::{Listener, Tls};
use tower_chain::{Chain, Request, Server};

use crate::support::programs::Folder;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(curl), ignore = "install curl to run this test")]
async fn the_proxy_protocol_comes_before_tls() {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let tls = Tls::from_pem(cert.pem(), signing_key.serialize_pem()).unwrap();
    let listener = Listener::bind("127.0.0.1:0").await.unwrap().tls(tls).proxy_protocol();
    let server = Server::new(listener);
    let port = server.local_addr().unwrap().port();
    let peer = async |req: Request| {
        req.extensions().get::<PeerAddr>().map_or_else(String::new, |peer| peer.0.to_string())
    };
    let running = tokio::spawn(server.serve(Chain::new().get(peer).build()));
    let folder = Folder::new();
    let trusted = folder.join("certificate.pem");
    std::fs::write(&trusted, cert.pem()).unwrap();

    for (flag, expected) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let output = Command::new("curl")
            .args(["-q", "-sS", "--max-time", "20", "--noproxy", "*", "--haproxy-protocol", flag])
            .args(["--resolve", &format!("localhost:{port}:127.0.0.1"), "--cacert"])
            .arg(&trusted)
            .args([&format!("https://localhost:{port}/"), "-w", " %{http_version} %{local_port}"])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let [peer, version, port] = text.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{text} {}", String::from_utf8_lossy(&output.stderr))
        };
        assert_eq!((peer, version), (&*format!("127.0.0.1:{port}"), expected));
    }
    running.abort();
}
