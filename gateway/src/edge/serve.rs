//! Connections: how many, how long a head may take, and how they end. The same for the S3 side and the admin side.

use std::error::Error as StdError;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use super::tls::Tls;
use super::writing::Writing;

/// How long to wait when the system has no more sockets to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The most that is read from a connection at a time, in bytes: enough for large bodies, and no more than that for each of
/// many connections.
const READ_BYTES_MAX: usize = 128 * 1024;

/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(20);

/// The first byte of every TLS connection: the type of a record that carries a handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// What a client that speaks plain HTTP is told on a listener that speaks TLS.
const PLAIN_HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n\
    content-length: 52\r\n\r\nThis listener speaks HTTPS: say https:// in the URL\n";

/// The other side of a request's connection; put in the request's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its address: the client's, or that of a proxy before it.
    pub address: SocketAddr,
    /// Whether the connection is TLS.
    pub tls: bool,
}

/// The bounds of a listener.
#[derive(Debug, Clone, Copy)]
pub struct ServeLimits {
    /// How many connections there may be; further ones wait in the system's queue.
    pub connections: usize,
    /// How long a request's head may take, and how long a connection may be idle between requests.
    pub header_timeout: Duration,
    /// How long a client may read nothing of an answer.
    pub write_timeout: Duration,
    /// How long what is in flight may take once the listener stops.
    pub grace: Duration,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            connections: 1_024,
            header_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(60),
            grace: Duration::from_secs(30),
        }
    }
}

/// Serves, over TLS when there is a certificate, until `shutdown` is cancelled; then accepts no more, lets what is in flight finish within the grace, cuts what
/// is left, and returns.
pub async fn serve<S, B>(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    service: S,
    limits: ServeLimits,
    shutdown: CancellationToken,
) where
    S: tower::Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn StdError + Send + Sync>>,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let room = Arc::new(Semaphore::new(limits.connections));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &room) => accepted,
        };
        let Some((stream, address, permit)) = accepted else { break };
        let peer = Peer { address, tls: tls.is_some() };
        let service = service.clone().map_request(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            request
        });
        let acceptor = tls.as_ref().map(|tls| tls.acceptor());
        let shutdown = shutdown.clone();
        connections.spawn(async move {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY could not be set");
            }
            match acceptor {
                None => converse(Writing::new(stream, limits.write_timeout), service, limits, shutdown).await,
                Some(acceptor) => {
                    let shaken = tokio::select! {
                        shaken = handshake(stream, acceptor, limits) => shaken,
                        () = shutdown.cancelled() => None,
                    };
                    if let Some(stream) = shaken {
                        converse(stream, service, limits, shutdown).await;
                    }
                }
            }
            drop(permit);
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

type Permit = tokio::sync::OwnedSemaphorePermit;

/// The next connection, once there is room for it. `None` never comes while the semaphore is open, which it stays.
async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> Option<(TcpStream, SocketAddr, Permit)> {
    let permit = Arc::clone(room).acquire_owned().await.ok()?;
    loop {
        match listener.accept().await {
            Ok((stream, address)) => return Some((stream, address, permit)),
            Err(error) => {
                // Out of sockets, or a client that left the queue: neither ends the listener.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A connection over TLS; `None` for one that will be none.
async fn handshake(
    mut stream: TcpStream,
    acceptor: TlsAcceptor,
    limits: ServeLimits,
) -> Option<TlsStream<Writing<TcpStream>>> {
    let shaking = async {
        let mut first = [0];
        if stream.peek(&mut first).await? == 1 && first[0] != TLS_HANDSHAKE {
            // Whatever it is, it is told in the words of the likeliest: a client whose URL begins with http://.
            stream.write_all(PLAIN_HTTP).await?;
            return Err(std::io::Error::other("the client does not speak TLS"));
        }
        acceptor.accept(Writing::new(stream, limits.write_timeout)).await
    };
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, shaking).await {
        Ok(Ok(stream)) => return Some(stream),
        Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => tracing::debug!("a TLS handshake took too long"),
    }
    None
}

async fn converse<T, S, B>(stream: T, service: S, limits: ServeLimits, shutdown: CancellationToken)
where
    T: AsyncRead + AsyncWrite + Unpin,
    S: tower::Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn StdError + Send + Sync>>,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(READ_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    tokio::pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(limits.grace, connection.as_mut()).await {
                Ok(outcome) => outcome,
                Err(_) => return tracing::warn!("a connection was cut: its request did not end within the grace"),
            }
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http_body_util::Full;
    use std::convert::Infallible;
    use tokio::io::AsyncReadExt as _;

    async fn start(pause: Duration) -> (std::net::SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = tower::service_fn(move |_: Request<Incoming>| async move {
            tokio::time::sleep(pause).await;
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"hello"))))
        });
        let shutdown = CancellationToken::new();
        let limits = ServeLimits { connections: 2, grace: Duration::from_secs(5), ..ServeLimits::default() };
        let task = tokio::spawn(serve(listener, None, service, limits, shutdown.clone()));
        (address, shutdown, task)
    }

    #[tokio::test]
    async fn what_is_in_flight_finishes_and_the_listener_ends() {
        let (address, shutdown, task) = start(Duration::from_millis(200)).await;
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        shutdown.cancel();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
        task.await.unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn an_idle_connection_does_not_hold_up_the_end() {
        let (address, shutdown, task) = start(Duration::ZERO).await;
        let _idle = TcpStream::connect(address).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(2), task).await.unwrap().unwrap();
    }
}
