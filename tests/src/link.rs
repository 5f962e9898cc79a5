//! Ways between machines that can be cut: a way that stands still when it is told to, and a network of a gateway's own.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Passes connections on to a server, and lets nothing through while it is closed. It ends with its test.
#[derive(Debug)]
pub struct Way {
    /// Where it listens.
    pub address: SocketAddr,
    open: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Way {
    /// Listens on a port of its own at this address.
    ///
    /// # Errors
    /// When there is no such address here.
    pub async fn to(server: SocketAddr, at: IpAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((at, 0)).await?;
        let address = listener.local_addr()?;
        let (open, opened) = watch::channel(true);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let opened = opened.clone();
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(server).await else { return };
                    let _ = client.set_nodelay(true).and_then(|()| server.set_nodelay(true));
                    let ((from_client, to_client), (from_server, to_server)) =
                        (client.into_split(), server.into_split());
                    tokio::select! {
                        () = pass(from_client, to_server, opened.clone()) => {}
                        () = pass(from_server, to_client, opened) => {}
                    }
                });
            }
        });
        Ok(Self { address, open, task })
    }

    /// From now on nothing passes, or everything does; what came meanwhile is not lost, as in a network that is slow.
    pub fn set_open(&self, open: bool) {
        self.open.send_replace(open);
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut open: watch::Receiver<bool>) {
    let mut piece = vec![0; 64 * 1024];
    while let Ok(read) = from.read(&mut piece).await
        && read > 0
    {
        if open.wait_for(|open| *open).await.is_err() || to.write_all(&piece[..read]).await.is_err() {
            return;
        }
    }
}

/// A network namespace with one link to this one, which can be cut. Removed when it is dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    number: u8,
}

/// Where the program is that makes them; it is not on everybody's path.
fn program() -> &'static str {
    ["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip"].into_iter().find(|path| Path::new(path).exists()).unwrap_or("ip")
}

fn ip(arguments: &str) -> bool {
    let mut command = Command::new(program());
    command.args(arguments.split(' ')).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

impl Namespace {
    /// `None`, and a line that says so, where this user may not make one.
    #[must_use]
    pub fn make() -> Option<Self> {
        static SERIAL: AtomicU8 = AtomicU8::new(0);
        let number = SERIAL.fetch_add(1, Ordering::Relaxed);
        let made = Self { name: format!("as-{}-{number}", std::process::id()), number };
        let (name, outside, inside) = (&made.name, made.outside(), made.inside());
        let steps = [
            format!("netns add {name}"),
            format!("link add {} type veth peer name inside netns {name}", made.link()),
            format!("addr add {outside}/30 dev {}", made.link()),
            format!("link set {} up", made.link()),
            format!("-n {name} addr add {inside}/30 dev inside"),
            format!("-n {name} link set inside up"),
            format!("-n {name} link set lo up"),
        ];
        let done = steps.iter().all(|step| ip(step));
        if !done {
            println!("FIGURE skipped: network namespaces are not permitted, and no link was cut");
        }
        done.then_some(made)
    }

    fn link(&self) -> String {
        format!("as{}n{}", std::process::id() % 10_000_000, self.number)
    }

    fn address(&self, host: u8) -> IpAddr {
        let process = std::process::id();
        let [.., high, low] = process.to_be_bytes();
        // A range that nobody routes to: the numbers of the process choose a net of four addresses in it.
        IpAddr::V4(Ipv4Addr::new(198, 18 + (high & 1), low, (self.number % 64) * 4 + host))
    }

    /// The address of this side.
    #[must_use]
    pub fn outside(&self) -> IpAddr {
        self.address(1)
    }

    /// The address of the other side.
    #[must_use]
    pub fn inside(&self) -> IpAddr {
        self.address(2)
    }

    /// What to put before a command, so that it runs on the other side.
    #[must_use]
    pub fn launcher(&self) -> Vec<String> {
        [program(), "netns", "exec", &self.name].map(str::to_owned).to_vec()
    }

    /// Cuts the link: what is sent is lost, and nobody is told.
    ///
    /// # Panics
    /// When it cannot be cut.
    pub fn cut(&self) {
        assert!(ip(&format!("link set {} down", self.link())), "the link is cut");
    }

    /// Mends it.
    ///
    /// # Panics
    /// When it cannot be mended.
    pub fn mend(&self) {
        assert!(ip(&format!("link set {} up", self.link())), "the link is mended");
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // What is not there any more is gone all the same.
        let _ = ip(&format!("link del {}", self.link()));
        let _ = ip(&format!("netns del {}", self.name));
    }
}
