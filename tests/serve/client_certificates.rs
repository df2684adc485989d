//! Client certificates.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams,
    CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SerialNumber, date_time_ymd,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tower_chain::extract::ClientCertificate;
use tower_chain::serve::ClientRoots;
use tower_chain::serve::{Listener, Tls, TlsError};
use tower_chain::{Chain, Server};

use super::tls::{certificate, connect_as, tls};
use super::{Running, within};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for a client, with its serial number.
fn issue(authority: &Authority, serial: u64) -> (Certificate, KeyPair) {
    issue_for(authority, serial, ExtendedKeyUsagePurpose::ClientAuth)
}

fn issue_for(
    authority: &Authority,
    serial: u64,
    purpose: ExtendedKeyUsagePurpose,
) -> (Certificate, KeyPair) {
    let mut params = CertificateParams::new(["ann".to_owned()]).unwrap();
    params.serial_number = Some(SerialNumber::from(serial));
    params.extended_key_usages = vec![purpose];
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, authority).unwrap(), key)
}

/// A list that revokes one certificate.
fn revoking(authority: &Authority, serial: u64, next_year: i32) -> String {
    let revoked = RevokedCertParams {
        serial_number: SerialNumber::from(serial),
        revocation_time: date_time_ymd(2020, 1, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2020, 1, 1),
        next_update: date_time_ymd(next_year, 1, 1),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: vec![revoked],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    list.signed_by(authority).unwrap().pem().unwrap()
}

struct Host {
    server: Running,
    trusted: CertificateDer<'static>,
}

impl Host {
    async fn start(tls: Tls, trusted: CertificateDer<'static>) -> Self {
        let api = Chain::new()
            .get(async |client: Option<ClientCertificate>| {
                client.map_or_else(Vec::new, |client| client.der().to_vec())
            })
            .build();
        let listener = Listener::bind("127.0.0.1:0").await.unwrap().tls(tls);
        Self { server: Running::of(Server::new(listener), api), trusted }
    }

    /// What the server has seen of the client; `None` if it was refused.
    async fn ask(&self, client: Option<&(Certificate, KeyPair)>) -> Option<Vec<u8>> {
        let (http1, http2) = (self.http1(client).await, self.http2(client).await);
        assert_eq!(http1, http2);
        http1
    }

    async fn http1(&self, client: Option<&(Certificate, KeyPair)>) -> Option<Vec<u8>> {
        let mut io = connect_as(client, &self.server, &self.trusted, &["http/1.1"]).await.ok()?;
        let head = "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
        let mut response = Vec::new();
        // With TLS 1.3 a client detects only after its handshake that it was refused.
        io.write_all(head.as_bytes()).await.ok()?;
        within(io.read_to_end(&mut response)).await.ok()?;
        let head = response.windows(4).position(|end| end == b"\r\n\r\n")?;
        Some(response.split_off(head + 4))
    }

    async fn http2(&self, client: Option<&(Certificate, KeyPair)>) -> Option<Vec<u8>> {
        use http_body_util::{BodyExt, Empty};
        use hyper_util::rt::{TokioExecutor, TokioIo};

        let io = connect_as(client, &self.server, &self.trusted, &["h2"]).await.ok()?;
        let handshake =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(io));
        let (mut send, connection) = handshake.await.ok()?;
        tokio::spawn(connection);
        let ask = || http::Request::get("https://localhost/").body(Empty::<bytes::Bytes>::new());
        let first = send.send_request(ask().unwrap()).await.ok()?;
        let first = first.into_body().collect().await.unwrap().to_bytes();
        let second = send.send_request(ask().unwrap()).await.unwrap();
        assert_eq!(second.into_body().collect().await.unwrap().to_bytes(), first);
        Some(first.to_vec())
    }
}

#[tokio::test]
async fn a_client_without_a_good_certificate_is_not_let_in() {
    let (ours, theirs) = (authority(), authority());
    let own = certificate();
    let roots = ClientRoots::from_pem(ours.pem()).unwrap();
    let tls = tls(&own).client_certificates(roots).unwrap();
    let host = Host::start(tls, own.cert.der().clone()).await;
    let (ann, eve) = (issue(&ours, 1), issue(&theirs, 1));
    let for_servers = issue_for(&ours, 2, ExtendedKeyUsagePurpose::ServerAuth);
    // The application checks the names; it receives the certificate.
    assert_eq!(host.ask(Some(&ann)).await.as_deref(), Some(&**ann.0.der()));
    assert_eq!(host.ask(None).await, None);
    assert_eq!(host.ask(Some(&eve)).await, None);
    assert_eq!(host.ask(Some(&for_servers)).await, None);
}

#[tokio::test]
async fn an_optional_certificate_may_be_missing_and_not_be_wrong() {
    let (ours, theirs) = (authority(), authority());
    let own = certificate();
    let roots = ClientRoots::from_pem(ours.pem()).unwrap().optional();
    let tls = tls(&own).client_certificates(roots).unwrap();
    let host = Host::start(tls, own.cert.der().clone()).await;
    let (ann, eve) = (issue(&ours, 1), issue(&theirs, 1));
    assert_eq!(host.ask(Some(&ann)).await.as_deref(), Some(&**ann.0.der()));
    assert_eq!(host.ask(None).await.as_deref(), Some(b"".as_slice()));
    assert_eq!(host.ask(Some(&eve)).await, None);
}

#[tokio::test]
async fn a_revoked_certificate_is_refused_and_lists_are_replaced() {
    let ours = authority();
    let own = certificate();
    let roots = || ClientRoots::from_pem(ours.pem()).unwrap();
    let (ann, bob) = (issue(&ours, 1), issue(&ours, 2));
    let (of_ann, of_bob) = (revoking(&ours, 1, 2100), revoking(&ours, 2, 2100));
    let tls = tls(&own).client_certificates(roots().revoked(of_ann).unwrap()).unwrap();
    let host = Host::start(tls.clone(), own.cert.der().clone()).await;
    assert_eq!((host.ask(Some(&ann)).await, host.ask(Some(&bob)).await.is_some()), (None, true));

    let tls = tls.client_certificates(roots().revoked(of_bob).unwrap()).unwrap();
    assert_eq!((host.ask(Some(&ann)).await.is_some(), host.ask(Some(&bob)).await), (true, None));

    // An expired list doesn't contain later revocations.
    let old = revoking(&ours, 2, 2021);
    tls.client_certificates(roots().revoked(old).unwrap()).unwrap();
    assert_eq!(host.ask(Some(&ann)).await, None);
}

#[tokio::test]
async fn a_configuration_of_rustls_provides_certificates_as_well() {
    let ours = authority();
    let own = certificate();
    let provider = || Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(ours.der().clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    let key = own.signing_key.serialize_der().try_into().unwrap();
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let tls = Tls::from_config(Arc::new(config));
    let changed = tls.clone().client_certificates(ClientRoots::from_pem(ours.pem()).unwrap());
    assert!(matches!(changed, Err(TlsError::Configured)));
    let host = Host::start(tls, own.cert.der().clone()).await;
    let ann = issue(&ours, 1);
    assert_eq!(host.ask(Some(&ann)).await.as_deref(), Some(&**ann.0.der()));
}

/// RFC 8705, 3.
#[tokio::test]
async fn a_token_is_good_on_connections_with_its_certificate_alone() {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use hmac::Mac;
    use sha2::{Digest, Sha256};
    use tower_chain::Jwt;
    use tower_chain::middleware::jwt::Mtls;

    let secret = "the secret that only the tests have";
    let token = |certificate: &Certificate| {
        let x5t = URL_SAFE_NO_PAD.encode(Sha256::digest(certificate.der()));
        let claims = format!(r#"{{"exp":4000000000,"cnf":{{"x5t#S256":"{x5t}"}}}}"#);
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#);
        let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
        let mut mac = hmac::Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    };
    let ours = authority();
    let own = certificate();
    let roots = ClientRoots::from_pem(ours.pem()).unwrap().optional();
    let tls = tls(&own).client_certificates(roots).unwrap();
    let jwt = Jwt::<()>::hs256(secret).unwrap().mtls(Mtls::connection());
    let api = Chain::new().use_(jwt).get(async || "in").build();
    let listener = Listener::bind("127.0.0.1:0").await.unwrap().tls(tls);
    let server = Running::of(Server::new(listener), api);
    let (ann, bob) = (issue(&ours, 1), issue(&ours, 2));
    for (client, status) in [(Some(&ann), "200"), (Some(&bob), "401"), (None, "401")] {
        let mut io = connect_as(client, &server, own.cert.der(), &["http/1.1"]).await.unwrap();
        let head = format!(
            "GET / HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
            token(&ann.0)
        );
        io.write_all(head.as_bytes()).await.unwrap();
        let mut response = String::new();
        within(io.read_to_string(&mut response)).await.unwrap();
        assert_eq!(response.split(' ').nth(1), Some(status), "{response}");
    }
}

#[test]
fn what_is_wrong_with_the_roots_is_said() {
    let list = revoking(&authority(), 1, 2100);
    for wrong in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &list] {
        let error = ClientRoots::from_pem(wrong).unwrap_err();
        assert!(matches!(error, TlsError::ClientRoots(_)), "{error}");
        assert!(error.to_string().contains("BEGIN CERTIFICATE"), "{error}");
    }
    let roots = ClientRoots::from_pem(authority().pem()).unwrap();
    assert!(matches!(roots.clone().revoked("none"), Err(TlsError::ClientRoots(_))));
    // A revocation list is parsed when it is configured.
    let damaged = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n";
    let tls = tls(&certificate()).client_certificates(roots.revoked(damaged).unwrap());
    assert!(matches!(tls, Err(TlsError::ClientRoots(_))));
}
