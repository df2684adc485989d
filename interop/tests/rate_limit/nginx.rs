//! The address of a client through two proxies: nginx on this machine, and a content delivery network in front of it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tower_chain::extract::{ClientAddr, ForwardedHeader, TrustedProxies};
use tower_chain::middleware::rate_limit::Quota;
use tower_chain::{Chain, RateLimit, Server};

use crate::support::ports::free_port;
use crate::support::programs::Folder;

/// nginx with the configuration of the guide. It is stopped when this is dropped.
struct Nginx(Child, #[allow(dead_code, reason = "it is removed after nginx")] Folder);

impl Nginx {
    fn start(port: u16, upstream: SocketAddr) -> Self {
        let folder = Folder::new();
        let path = folder.display();
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {path}/{kind};"))
            .join("\n");
        let settings = format!(
            "daemon off; worker_processes 1; pid {path}/pid; error_log stderr;
             events {{ worker_connections 64; }}
             http {{
               access_log off;
               {temporary}
               server {{
                 listen 127.0.0.1:{port};
                 location / {{
                   proxy_pass http://{upstream};
                   proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                 }}
               }}
             }}"
        );
        std::fs::write(folder.join("nginx.conf"), settings).unwrap();
        let child = Command::new("nginx")
            .args(["-e", "stderr", "-p", &path.to_string(), "-c", "nginx.conf"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(child, folder)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // It must stop its worker, so it is not killed.
        let stopped = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        drop((stopped, self.0.wait()));
    }
}

/// Sends a request from this address, and returns the status and the body.
async fn get(from: [u8; 4], to: SocketAddr, forwarded: Option<&str>) -> (u16, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::from(from)), 0)).unwrap();
    let mut io = socket.connect(to).await.unwrap();
    let forwarded = forwarded.map_or(String::new(), |text| format!("x-forwarded-for: {text}\r\n"));
    let head = format!("GET / HTTP/1.0\r\nhost: a\r\n{forwarded}\r\n");
    io.write_all(head.as_bytes()).await.unwrap();
    let mut response = String::new();
    io.read_to_string(&mut response).await.unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(nginx), ignore = "install nginx to run this test")]
async fn the_client_is_found_through_nginx_and_a_delivery_network() {
    // Stands for an address of the network, such as one of Cloudflare.
    const NETWORK: [u8; 4] = [127, 0, 0, 2];
    const AROUND_IT: [u8; 4] = [127, 0, 0, 3];
    let networks = ["127.0.0.1", "127.0.0.2/32"];
    let proxies = TrustedProxies::cidrs(ForwardedHeader::XForwardedFor, networks).unwrap();
    let limit = RateLimit::new(Quota::per_hour(2));
    let chain = Chain::new()
        .provide(proxies)
        .always(limit)
        .get(async |ClientAddr(addr): ClientAddr| addr.to_string())
        .build();
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let upstream = server.local_addr().unwrap();
    tokio::spawn(server.serve_until(std::future::pending(), chain));
    let port = free_port();
    let _nginx = Nginx::start(port, upstream);
    let nginx = SocketAddr::from(([127, 0, 0, 1], port));
    let start = std::time::Instant::now();
    while TcpStream::connect(nginx).await.is_err() {
        assert!(start.elapsed() < Duration::from_secs(20), "nginx does not start");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for (from, forwarded, client) in [
        // The network appends the client to what the client has sent, and nginx appends the network.
        (NETWORK, Some("192.0.2.7"), "192.0.2.7"),
        (NETWORK, Some("198.51.100.1, 192.0.2.8"), "192.0.2.8"),
        (NETWORK, Some("127.0.0.1, 127.0.0.2, 192.0.2.9"), "192.0.2.9"),
        (NETWORK, Some("2001:db8::7"), "2001:db8::7"),
        (NETWORK, Some("unknown, 192.0.2.10"), "192.0.2.10"),
        // Clients that bypass the network are counted under their own address.
        (AROUND_IT, None, "127.0.0.3"),
        (AROUND_IT, Some("192.0.2.7"), "127.0.0.3"),
    ] {
        assert_eq!(get(from, nginx, forwarded).await, (200, client.to_owned()), "{forwarded:?}");
    }
    // The third request around the network is refused, whatever address it claims to have; clients of the network are counted one by one.
    assert_eq!(get(AROUND_IT, nginx, Some("192.0.2.99")).await.0, 429);
    assert_eq!(get(NETWORK, nginx, Some("192.0.2.99")).await.0, 200);
    assert_eq!(get(NETWORK, nginx, Some("192.0.2.7")).await.0, 200);
    assert_eq!(get(NETWORK, nginx, Some("192.0.2.7")).await.0, 429);
}
