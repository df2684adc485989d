//! tonic: a chain in front of a gRPC service.

use std::convert::Infallible;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use tokio::sync::mpsc::{Sender, channel};
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status, Streaming};
use tower_chain::middleware::grpc_status::GrpcStatus;
use tower_chain::middleware::rate_limit::LimitKey;
use tower_chain::tower::ChainLayer;
use tower_chain::{Chain, Jwt, RateLimit, Server};

use super::{Caller, caller, free_port, http1, stamp};

/// A service like those that tonic generates, with strings as messages.
#[derive(Clone)]
struct Greeter;

impl NamedService for Greeter {
    const NAME: &'static str = "test.Greeter";
}

impl tower::Service<http::Request<Body>> for Greeter {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, req: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            match req.uri().path() {
                "/test.Greeter/Hello" => Ok(tonic::server::Grpc::new(Text).unary(Hello, req).await),
                "/test.Greeter/Chat" => {
                    Ok(tonic::server::Grpc::new(Text).streaming(Chat, req).await)
                }
                _ => Ok(Status::unimplemented("no such method").into_http()),
            }
        })
    }
}

struct Hello;

impl tonic::server::UnaryService<String> for Hello {
    type Response = String;
    type Future = BoxFuture<'static, Result<Response<String>, Status>>;

    fn call(&mut self, request: Request<String>) -> Self::Future {
        let caller = request.extensions().get::<Caller>().map(|Caller(name)| name.clone());
        Box::pin(async move {
            match (request.get_ref().as_str(), caller) {
                ("", _) => Err(Status::invalid_argument("say something")),
                (text, Some(caller)) => Ok(Response::new(format!("{text}, {caller}"))),
                (text, None) => Ok(Response::new(format!("{text}, whoever you are"))),
            }
        })
    }
}

/// Answers each message as it arrives; an empty message ends the stream with an error.
struct Chat;

impl tonic::server::StreamingService<String> for Chat {
    type Response = String;
    type ResponseStream = BoxStream<'static, Result<String, Status>>;
    type Future = BoxFuture<'static, Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<String>>) -> Self::Future {
        let answers = request.into_inner().map(|text| match text?.as_str() {
            "" => Err(Status::out_of_range("nothing was said")),
            text => Ok(format!("{text}!")),
        });
        Box::pin(async move { Ok(Response::new(answers.boxed())) })
    }
}

#[derive(Clone, Default)]
struct Text;

impl Codec for Text {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Text {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, item: String, dst: &mut EncodeBuf<'_>) -> Result<(), Status> {
        dst.put_slice(item.as_bytes());
        Ok(())
    }
}

impl Decoder for Text {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let text = src.copy_to_bytes(src.remaining()).to_vec();
        String::from_utf8(text).map(Some).map_err(|_| Status::invalid_argument("no text"))
    }
}

struct Client(tonic::client::Grpc<Channel>);

impl Client {
    async fn connect(base: String) -> Self {
        let channel = Endpoint::from_shared(base).unwrap().connect().await.unwrap();
        Self(tonic::client::Grpc::new(channel))
    }

    async fn hello(
        &mut self,
        text: &str,
        caller: Option<&str>,
    ) -> Result<Response<String>, Status> {
        self.call("/test.Greeter/Hello", text, caller).await
    }

    async fn call(
        &mut self,
        path: &'static str,
        text: &str,
        caller: Option<&str>,
    ) -> Result<Response<String>, Status> {
        self.0.ready().await.unwrap();
        let mut request = Request::new(text.to_owned());
        if let Some(caller) = caller {
            request.metadata_mut().insert("authorization", caller.parse().unwrap());
        }
        self.0.unary(request, http::uri::PathAndQuery::from_static(path), Text).await
    }

    /// Forwards the messages of the test while it reads the responses.
    async fn chat(
        &mut self,
        caller: Option<&str>,
    ) -> Result<(Sender<String>, Response<Streaming<String>>), Status> {
        self.0.ready().await.unwrap();
        let (sender, receiver) = channel(8);
        let messages = futures_util::stream::unfold(
            receiver,
            async |mut receiver: tokio::sync::mpsc::Receiver<String>| {
                Some((receiver.recv().await?, receiver))
            },
        );
        let mut request = Request::new(messages.boxed());
        if let Some(caller) = caller {
            request.metadata_mut().insert("authorization", caller.parse().unwrap());
        }
        let path = http::uri::PathAndQuery::from_static("/test.Greeter/Chat");
        Ok((sender, self.0.streaming(request, path, Text).await?))
    }
}

fn in_front() -> ChainLayer {
    Chain::new().always(GrpcStatus::new()).always(stamp).guard(caller).into_layer()
}

/// The responses of the chain, and of the service in it.
async fn asks_the_greeter(base: String) {
    let mut client = Client::connect(base).await;
    let response = client.hello("Hello", Some("Ann")).await.unwrap();
    assert_eq!(response.metadata().get("x-chain").unwrap(), "passed");
    assert_eq!(response.into_inner(), "Hello, Ann");

    let refusal = client.hello("Hello", None).await.unwrap_err();
    assert_eq!((refusal.code(), refusal.message()), (Code::Unauthenticated, "Sign in first"));
    assert_eq!(refusal.metadata().get("www-authenticate").unwrap(), "Bearer");

    // A stream passes message by message in both directions, and ends with the status of the service.
    let (say, response) = client.chat(Some("Ann")).await.unwrap();
    assert_eq!(response.metadata().get("x-chain").unwrap(), "passed");
    let mut answers = response.into_inner();
    for text in ["one", "two"] {
        say.try_send(text.to_owned()).unwrap();
        assert_eq!(answers.message().await.unwrap().unwrap(), format!("{text}!"));
    }
    say.try_send(String::new()).unwrap();
    let error = answers.message().await.unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::OutOfRange, "nothing was said"));

    let (say, response) = client.chat(Some("Ann")).await.unwrap();
    drop(say);
    assert!(response.into_inner().message().await.unwrap().is_none());

    // If a step rejects a stream, the status comes before any message.
    let refusal = client.chat(None).await.map(drop).unwrap_err();
    assert_eq!((refusal.code(), refusal.message()), (Code::Unauthenticated, "Sign in first"));

    // The service's own statuses pass unchanged, in trailers or in headers.
    let error = client.hello("", Some("Ann")).await.unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::InvalidArgument, "say something"));
    let error = client.call("/test.Greeter/Bye", "Bye", Some("Ann")).await.unwrap_err();
    assert_eq!(error.code(), Code::Unimplemented);
}

#[tokio::test]
async fn tonic_runs_a_chain_as_its_layer() {
    let (listener, addr) = free_port().await;
    let server = tonic::transport::Server::builder().layer(in_front()).add_service(Greeter);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    asks_the_greeter(format!("http://{addr}")).await;
}

/// Requests that a step rejects, as a gRPC client receives them.
#[tokio::test]
async fn refusals_of_steps_are_statuses() {
    let chain = Chain::new()
        .always(GrpcStatus::new())
        .use_(RateLimit::per_hour(2).key(LimitKey::everyone()))
        .use_(Jwt::<serde_json::Value>::hs256("a secret of at least thirty-two bytes").unwrap())
        .into_layer();
    let (listener, addr) = free_port().await;
    let server = tonic::transport::Server::builder().layer(chain).add_service(Greeter);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    let mut client = Client::connect(format!("http://{addr}")).await;
    let refusal = client.hello("Hello", Some("Bearer no.token.this")).await.unwrap_err();
    assert_eq!(refusal.code(), Code::Unauthenticated);
    let refusal = client.chat(Some("Bearer no.token.this")).await.map(drop).unwrap_err();
    assert_eq!(refusal.code(), Code::Unauthenticated);
    for refusal in [
        client.hello("Hello", None).await.map(drop).unwrap_err(),
        client.chat(None).await.map(drop).unwrap_err(),
    ] {
        assert_eq!(refusal.code(), Code::ResourceExhausted);
        assert!(refusal.metadata().contains_key("retry-after"));
    }
}

/// Routes of tonic and of a chain in one service.
fn mixed() -> tower_chain::ChainService {
    Chain::new()
        .always(GrpcStatus::new())
        .always(stamp)
        .at("/health", |c| c.get(async || "well"))
        .guard(caller)
        .service("/", Routes::new(Greeter))
        .build()
}

#[tokio::test]
async fn tonic_runs_a_chain_as_its_service() {
    let (listener, addr) = free_port().await;
    let server = tonic::transport::Server::builder();
    tokio::spawn(async move {
        let incoming = TcpIncoming::from(listener);
        server.accept_http1(true).serve_with_incoming(mixed(), incoming).await
    });
    asks_the_greeter(format!("http://{addr}")).await;
}

#[tokio::test]
async fn a_grpc_service_is_a_step_of_a_chain() {
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", server.local_addr().unwrap());
    tokio::spawn(server.serve_until(std::future::pending(), mixed()));
    asks_the_greeter(base.clone()).await;
    // HTTP and gRPC on one port.
    let response = http1().get(format!("{base}/health")).send().await.unwrap();
    assert_eq!(response.text().await.unwrap(), "well");
    let refusal = http1().get(format!("{base}/test.Greeter/Hello")).send().await.unwrap();
    assert_eq!(refusal.status(), 401);
}
