//! hyper with one runtime and one `SO_REUSEPORT` listener per core, for `reconnects`. `GET /baseline11?a=1&b=2` on the port of the argument.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;
use tokio::runtime::Builder;

fn main() -> Result<(), Box<dyn StdError>> {
    let port: u16 = std::env::args().nth(1).ok_or("PORT is missing")?.parse()?;
    let cores = thread::available_parallelism()?.get();
    let threads: Vec<_> = (0..cores)
        .map(|_| {
            thread::spawn(move || {
                let runtime = Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(serve(port)).unwrap();
            })
        })
        .collect();
    for thread in threads {
        thread.join().map_err(|_| "a thread panicked")?;
    }
    Ok(())
}

async fn serve(port: u16) -> std::io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_port(true)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    socket.listen(4096)?;
    let listener = TcpListener::from_std(socket.into())?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let connection =
            http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(sum));
        tokio::spawn(connection);
    }
}

async fn sum(req: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let terms = req.uri().query().unwrap_or_default().split('&');
    let values = terms.filter_map(|term| term.split_once('=')?.1.parse::<i64>().ok());
    let mut response = Response::new(Full::from(values.sum::<i64>().to_string()));
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, text);
    Ok(response)
}
