//! A proxy between a gateway and its store, that does what networks and dying stores do.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Bytes that [`Mode::Damage`] looks for in what the gateway sends.
pub const MARKER: &[u8; 16] = b"-- damage this -";
/// How often a connection that stands still looks whether it still has to.
const LOOK: Duration = Duration::from_millis(20);

/// What the proxy does with what comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Passes everything on.
    Pass,
    /// Ends every connection.
    Cut,
    /// Takes what the gateway sends, and passes nothing on.
    Stall,
    /// Changes a bit of every [`MARKER`] on its way to the store.
    Damage,
    /// Ends a connection behind so many bytes of answers, once; then it passes everything on.
    CutAnswer(usize),
}

/// The proxy; it ends with its test.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    mode: Arc<Mutex<Mode>>,
    puts: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

#[derive(Debug, Clone)]
struct Way {
    mode: Arc<Mutex<Mode>>,
    puts: Arc<AtomicUsize>,
}

impl Proxy {
    /// Listens on a port of its own for a store.
    ///
    /// # Panics
    /// When there is no port.
    pub async fn before(store: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let (mode, puts) = (Arc::new(Mutex::new(Mode::Pass)), Arc::new(AtomicUsize::new(0)));
        let way = Way { mode: Arc::clone(&mode), puts: Arc::clone(&puts) };
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let way = way.clone();
                tokio::spawn(async move {
                    let Ok(store) = TcpStream::connect(store).await else { return };
                    let ((client_read, client_write), (store_read, store_write)) =
                        (client.into_split(), store.into_split());
                    tokio::select! {
                        () = way.requests(client_read, store_write) => {}
                        () = way.answers(store_read, client_write) => {}
                    }
                });
            }
        });
        Self { address, mode, puts, task }
    }

    /// From now on.
    pub fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap_or_else(PoisonError::into_inner) = mode;
    }

    /// How many PUTs passed.
    #[must_use]
    pub fn puts(&self) -> usize {
        self.puts.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Way {
    fn mode(&self) -> Mode {
        *self.mode.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while nothing may pass; `false` when the connection is to end.
    async fn open(&self) -> bool {
        while self.mode() == Mode::Stall {
            tokio::time::sleep(LOOK).await;
        }
        self.mode() != Mode::Cut
    }

    async fn requests(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let mut held: Vec<u8> = Vec::new();
        let mut piece = vec![0; 64 * 1024];
        while let Ok(read) = from.read(&mut piece).await
            && read > 0
        {
            if !self.open().await {
                return;
            }
            held.extend_from_slice(&piece[..read]);
            if held.starts_with(b"PUT /") {
                self.puts.fetch_add(1, Ordering::Relaxed);
            }
            if self.mode() == Mode::Damage {
                while let Some(at) = held.windows(MARKER.len()).position(|window| window == MARKER) {
                    held[at] ^= 1;
                }
            }
            // The beginning of a marker at the end waits for the rest of it.
            let kept = (1..MARKER.len()).rev().find(|kept| held.ends_with(&MARKER[..*kept])).unwrap_or(0);
            let rest = held.split_off(held.len() - kept);
            if to.write_all(&held).await.is_err() {
                return;
            }
            held = rest;
        }
    }

    async fn answers(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let mut passed = 0;
        let mut piece = vec![0; 64 * 1024];
        while let Ok(read) = from.read(&mut piece).await
            && read > 0
        {
            if !self.open().await {
                return;
            }
            passed += read;
            if let Mode::CutAnswer(most) = self.mode()
                && passed > most
            {
                *self.mode.lock().unwrap_or_else(PoisonError::into_inner) = Mode::Pass;
                return;
            }
            if to.write_all(&piece[..read]).await.is_err() {
                return;
            }
        }
    }
}
