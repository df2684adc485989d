//! TLS in front of HTTP.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{Certificate, CertifiedKey, KeyPair, generate_simple_self_signed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tower_chain::Server;
use tower_chain::serve::{Listener, Tls, TlsError};

use super::{Running, body_of, service, within};

pub(super) fn certificate() -> CertifiedKey<KeyPair> {
    generate_simple_self_signed(["localhost".to_owned()]).unwrap()
}

pub(super) fn tls(certificate: &CertifiedKey<KeyPair>) -> Tls {
    Tls::from_pem(certificate.cert.pem(), certificate.signing_key.serialize_pem()).unwrap()
}

async fn start(tls: Tls) -> Running {
    let listener = Listener::bind("127.0.0.1:0").await.unwrap().tls(tls);
    Running::of(Server::new(listener), service())
}

async fn connect(
    server: &Running,
    trusted: &CertificateDer<'static>,
    alpn: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    connect_as(None, server, trusted, alpn).await
}

/// Connects with a certificate of the client's own.
pub(super) async fn connect_as(
    client: Option<&(Certificate, KeyPair)>,
    server: &Running,
    trusted: &CertificateDer<'static>,
    alpn: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match client {
        None => config.with_no_client_auth(),
        Some((certificate, key)) => {
            let key = key.serialize_der().try_into().unwrap();
            config.with_client_auth_cert(vec![certificate.der().clone()], key).unwrap()
        }
    };
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let socket = TcpStream::connect(server.addr).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, socket).await
}

async fn get(mut client: TlsStream<TcpStream>) -> String {
    client.write_all(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut response = String::new();
    within(client.read_to_string(&mut response)).await.unwrap();
    body_of(&response).to_owned()
}

#[tokio::test]
async fn the_protocol_is_chosen_by_alpn() {
    let certificate = certificate();
    let server = start(tls(&certificate)).await;
    let trusted = certificate.cert.der();
    for (offered, chosen) in
        [(&["h2", "http/1.1"][..], Some("h2")), (&["http/1.1"], Some("http/1.1")), (&[], None)]
    {
        let client = connect(&server, trusted, offered).await.unwrap();
        let alpn = client.get_ref().1.alpn_protocol();
        assert_eq!(alpn, chosen.map(str::as_bytes), "{offered:?}");
        if chosen == Some("h2") {
            let io = hyper_util::rt::TokioIo::new(client);
            let executor = hyper_util::rt::TokioExecutor::new();
            let (mut send, connection) =
                hyper::client::conn::http2::handshake(executor, io).await.unwrap();
            tokio::spawn(connection);
            let request = http::Request::get("https://localhost/")
                .body(http_body_util::Empty::<bytes::Bytes>::new())
                .unwrap();
            assert_eq!(send.send_request(request).await.unwrap().status(), 200);
        } else {
            assert_eq!(get(client).await, "hello");
        }
    }
    assert!(connect(&server, trusted, &["spdy/3"]).await.is_err());
}

#[tokio::test]
async fn a_certificate_is_replaced_while_the_server_runs() {
    let (old, new) = (certificate(), certificate());
    let tls = tls(&old);
    let server = start(tls.clone()).await;
    let open = connect(&server, old.cert.der(), &[]).await.unwrap();
    assert!(connect(&server, new.cert.der(), &[]).await.is_err());

    let error = tls.replace(old.cert.pem(), new.signing_key.serialize_pem()).unwrap_err();
    assert!(matches!(error, TlsError::Refused(_)), "{error}");
    assert!(connect(&server, old.cert.der(), &[]).await.is_ok());

    tls.replace(new.cert.pem(), new.signing_key.serialize_pem()).unwrap();
    assert_eq!(get(connect(&server, new.cert.der(), &[]).await.unwrap()).await, "hello");
    assert!(connect(&server, old.cert.der(), &[]).await.is_err());
    // Open connections continue.
    assert_eq!(get(open).await, "hello");
}

#[tokio::test]
async fn changed_files_are_read_again() {
    let folder = folder("reload");
    let (old, new) = (certificate(), certificate());
    let (chain, key) = write(&folder, &old);
    let tls = Tls::from_pem_files(&chain, &key).unwrap().check_every(Duration::from_millis(20));
    let server = start(tls.clone()).await;
    assert!(connect(&server, old.cert.der(), &[]).await.is_ok());

    // A half-written pair changes nothing, and the files are checked again.
    fs::write(&chain, new.cert.pem()).unwrap();
    assert!(matches!(tls.reload(), Err(TlsError::Refused(_))));
    assert!(connect(&server, old.cert.der(), &[]).await.is_ok());

    write(&folder, &new);
    within(async { while connect(&server, new.cert.der(), &[]).await.is_err() {} }).await;

    write(&folder, &old);
    tls.reload().unwrap();
    assert!(connect(&server, old.cert.der(), &[]).await.is_ok());
    fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn files_that_change_within_one_tick_of_their_time_are_read_again() {
    let folder = folder("time");
    let (old, new) = (certificate(), certificate());
    let (chain, key) = write(&folder, &old);
    let times = [&chain, &key].map(|path| fs::metadata(path).unwrap().modified().unwrap());
    let tls = Tls::from_pem_files(&chain, &key).unwrap().check_every(Duration::from_millis(20));
    let server = start(tls).await;
    // As `cp --preserve` and `rsync --times` do.
    write(&folder, &new);
    for (path, time) in [&chain, &key].into_iter().zip(times) {
        fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    }
    within(async { while connect(&server, new.cert.der(), &[]).await.is_err() {} }).await;
    fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn files_that_are_removed_leave_the_old_certificate_and_an_error_in_the_log() {
    let folder = folder("removed");
    let (old, new) = (certificate(), certificate());
    let (chain, key) = write(&folder, &old);
    let tls = Tls::from_pem_files(&chain, &key).unwrap();
    for path in [&chain, &key] {
        fs::remove_file(path).unwrap();
        let error = tls.reload().unwrap_err();
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        write(&folder, &old);
    }
    let server = start(tls.check_every(Duration::from_millis(20))).await;
    fs::remove_file(&key).unwrap();
    assert!(connect(&server, old.cert.der(), &[]).await.is_ok());
    write(&folder, &new);
    within(async { while connect(&server, new.cert.der(), &[]).await.is_err() {} }).await;
    fs::remove_dir_all(folder).unwrap();
}

/// A client that keeps its sessions.
fn client(trusted: &[&CertificateDer<'static>]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for trusted in trusted {
        roots.add((*trusted).clone()).unwrap();
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

async fn handshake(
    server: &Running,
    client: &Arc<ClientConfig>,
    name: &'static str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let socket = TcpStream::connect(server.addr).await?;
    let name = ServerName::try_from(name).unwrap();
    TlsConnector::from(client.clone()).connect(name, socket).await
}

/// Whether the client resumes its session.
async fn resumes(server: &Running, client: &Arc<ClientConfig>) -> bool {
    let stream = handshake(server, client, "localhost").await.unwrap();
    let kind = stream.get_ref().1.handshake_kind();
    // The tickets arrive with the response.
    assert_eq!(get(stream).await, "hello");
    kind == Some(tokio_rustls::rustls::HandshakeKind::Resumed)
}

#[tokio::test]
async fn many_clients_resume_their_sessions() {
    let certificate = certificate();
    let server = start(tls(&certificate)).await;
    let clients: Vec<_> = (0..300).map(|_| client(&[certificate.cert.der()])).collect();
    for client in &clients {
        assert!(!resumes(&server, client).await);
    }
    for client in &clients {
        assert!(resumes(&server, client).await);
    }
}

#[tokio::test]
async fn sessions_survive_a_restart_if_the_secret_is_the_same() {
    let certificate = certificate();
    let with = |secret: u8| tls(&certificate).session_tickets([secret; 32]).unwrap();
    let client = client(&[certificate.cert.der()]);
    let first = start(with(1)).await;
    assert!(!resumes(&first, &client).await);
    first.stop().await;
    let second = start(with(1)).await;
    assert!(resumes(&second, &client).await);
    second.stop().await;
    for other in [with(2), tls(&certificate)] {
        let server = start(other).await;
        assert!(!resumes(&server, &client).await);
    }
    let error = tls(&certificate).session_tickets("short").unwrap_err();
    assert!(matches!(error, TlsError::TicketSecret), "{error}");
}

#[tokio::test]
async fn each_name_has_its_certificate_and_each_is_reloaded() {
    let of = |name: &str| generate_simple_self_signed([name.to_owned()]).unwrap();
    let (a, b, wild, new) = (of("a.test"), of("b.test"), of("*.c.test"), of("b.test"));
    let folders = ["sni-a", "sni-b", "sni-c"].map(folder);
    let files = |index: usize, certificate| write(&folders[index], certificate);
    let (chain, key) = files(0, &a);
    let mut tls = Tls::from_pem_files(chain, key).unwrap();
    for (index, certificate) in [(1, &b), (2, &wild)] {
        let (chain, key) = files(index, certificate);
        tls = tls.and_pem_files(chain, key).unwrap();
    }
    let server = start(tls.check_every(Duration::from_millis(20))).await;
    let trusted = client(&[a.cert.der(), b.cert.der(), wild.cert.der(), new.cert.der()]);
    for (name, expected) in [
        ("a.test", Some(&a)),
        ("A.TEST", Some(&a)),
        ("b.test", Some(&b)),
        ("x.c.test", Some(&wild)),
        ("x.y.c.test", None),
        ("other.test", None),
    ] {
        let shown = handshake(&server, &trusted, name).await.ok();
        let shown = shown.map(|stream| stream.get_ref().1.peer_certificates().unwrap()[0].clone());
        assert_eq!(shown.as_ref(), expected.map(|expected| expected.cert.der()), "{name}");
    }
    files(1, &new);
    let is_new = async || {
        let stream = handshake(&server, &client(&[new.cert.der()]), "b.test").await;
        stream.is_ok()
    };
    within(async { while !is_new().await {} }).await;
    assert!(handshake(&server, &trusted, "a.test").await.is_ok());
    for folder in folders {
        fs::remove_dir_all(folder).unwrap();
    }
}

/// Accepts every certificate, and keeps the OCSP response that came with it.
#[derive(Debug, Default)]
struct Stapled(std::sync::Mutex<Vec<u8>>);

impl tokio_rustls::rustls::client::danger::ServerCertVerifier for Stapled {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        _: tokio_rustls::rustls::pki_types::UnixTime,
    ) -> Result<tokio_rustls::rustls::client::danger::ServerCertVerified, tokio_rustls::rustls::Error>
    {
        *self.0.lock().unwrap() = ocsp.to_vec();
        Ok(tokio_rustls::rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &tokio_rustls::rustls::DigitallySignedStruct,
    ) -> Result<
        tokio_rustls::rustls::client::danger::HandshakeSignatureValid,
        tokio_rustls::rustls::Error,
    > {
        Ok(tokio_rustls::rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &tokio_rustls::rustls::DigitallySignedStruct,
    ) -> Result<
        tokio_rustls::rustls::client::danger::HandshakeSignatureValid,
        tokio_rustls::rustls::Error,
    > {
        Ok(tokio_rustls::rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<tokio_rustls::rustls::SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

#[tokio::test]
async fn an_ocsp_response_is_stapled_and_read_again() {
    let folder = folder("ocsp");
    let (chain, key) = write(&folder, &certificate());
    let ocsp = folder.join("ocsp.der");
    fs::write(&ocsp, b"first").unwrap();
    let tls = Tls::from_pem_files(chain, key).unwrap().ocsp_file(&ocsp).unwrap();
    let server = start(tls.check_every(Duration::from_millis(20))).await;
    let stapled = async || {
        let verifier = Arc::new(Stapled::default());
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone())
            .with_no_client_auth();
        handshake(&server, &Arc::new(config), "localhost").await.unwrap();
        verifier.0.lock().unwrap().clone()
    };
    assert_eq!(stapled().await, b"first");
    fs::write(&ocsp, b"second").unwrap();
    within(async { while stapled().await != b"second" {} }).await;
    fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn a_configuration_of_rustls_is_taken_as_it_is() {
    let certificate = certificate();
    let key = certificate.signing_key.serialize_der().try_into().unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.cert.der().clone()], key)
        .unwrap();
    let tls = Tls::from_config(Arc::new(config));
    assert!(matches!(tls.reload(), Err(TlsError::NoFiles)));
    let server = start(tls).await;
    assert_eq!(get(connect(&server, certificate.cert.der(), &[]).await.unwrap()).await, "hello");
}

#[tokio::test]
async fn a_handshake_that_does_not_end_ends_the_connection() {
    let certificate = certificate();
    let listener = Listener::bind("127.0.0.1:0").await.unwrap().tls(tls(&certificate));
    let server = Server::new(listener).header_read_timeout(Duration::from_millis(50));
    let server = Running::of(server, service());
    let mut client = server.connect().await;
    client.send(b"\x16\x03\x01\x02\x00").await;
    assert_eq!(client.rest().await.unwrap_or_default(), "");
}

#[test]
fn what_is_wrong_with_a_certificate_is_said() {
    let certificate = certificate();
    let (chain, key) = (certificate.cert.pem(), certificate.signing_key.serialize_pem());
    let error = Tls::from_pem_files("/does/not/exist.pem", "/does/not/exist.key").unwrap_err();
    assert!(error.to_string().contains("/does/not/exist.pem"), "{error}");
    let error = Tls::from_pem("", &key).unwrap_err();
    assert!(error.to_string().contains("BEGIN CERTIFICATE"), "{error}");
    let error = Tls::from_pem(&chain, &chain).unwrap_err();
    assert!(error.to_string().contains("BEGIN PRIVATE KEY"), "{error}");
    let tls = Tls::from_pem(&chain, &key).unwrap();
    assert!(!format!("{tls:?}").contains("PRIVATE"));
}

fn folder(name: &str) -> PathBuf {
    let folder =
        std::env::temp_dir().join(format!("tower-chain-tls-{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn write(folder: &Path, certificate: &CertifiedKey<KeyPair>) -> (PathBuf, PathBuf) {
    let (chain, key) = (folder.join("chain.pem"), folder.join("key.pem"));
    fs::write(&chain, certificate.cert.pem()).unwrap();
    fs::write(&key, certificate.signing_key.serialize_pem()).unwrap();
    (chain, key)
}
