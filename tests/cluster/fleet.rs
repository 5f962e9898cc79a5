//! Gateways that share a registry and a storage, each with a folder of its own; the last one over ways that can be cut.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use artifactstore_tests::harness::PATIENCE;
use artifactstore_tests::link::{Namespace, Way};
use artifactstore_tests::postgres::Cluster;
use artifactstore_tests::{Harness, S3, command};

const GATEWAYS: usize = 3;
/// How long a gateway that did not begin is left alone.
const PAUSE: Duration = Duration::from_millis(500);
/// What the log of a gateway says when it begins to do the work of all.
pub(crate) const HAS_THE_LEASE: &str = "this gateway has the lease";

/// Where the bytes of a fleet are.
#[derive(Debug)]
pub(crate) struct Site {
    /// The settings that say so.
    pub(crate) settings: Vec<(String, String)>,
    /// Where the storage listens, if it is a server.
    pub(crate) server: Option<SocketAddr>,
}

/// The gateways as their clients know them: a killed one keeps its door, which is closed.
#[derive(Debug, Clone)]
pub(crate) struct Doors(Arc<RwLock<Vec<S3>>>);

impl Doors {
    /// One of them, by a number that is counted on by the clients.
    pub(crate) fn of(&self, number: usize) -> S3 {
        let doors = self.0.read().unwrap_or_else(PoisonError::into_inner);
        doors[number % doors.len()].clone()
    }

    fn set(&self, number: usize, door: S3) {
        self.0.write().unwrap_or_else(PoisonError::into_inner)[number] = door;
    }
}

/// What cuts the last gateway off from everything else.
#[derive(Debug)]
enum Cut {
    /// The link to a network of its own.
    Namespace(Namespace),
    /// The ways to the database and the storage, where no network can be made.
    Ways,
}

/// The gateways.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) gateways: Vec<Harness>,
    pub(crate) doors: Doors,
    pub(crate) database: Cluster,
    ways: Vec<Way>,
    cut: Cut,
}

impl Fleet {
    /// Three of them, on a server of their own that keeps what it commits.
    pub(crate) async fn start(site: &Site) -> Self {
        let database = Cluster::start(&[]);
        let name = database.database();
        let by_socket = [("ARTIFACTSTORE_DATABASE_URL".to_owned(), name.clone())];
        let all = [&site.settings[..], &by_socket].concat();
        let mut gateways: Vec<Harness> = (1..GATEWAYS).map(|_| prepared(&all)).collect();

        let cut = Namespace::make().map_or(Cut::Ways, Cut::Namespace);
        let (outside, inside) = match &cut {
            Cut::Namespace(namespace) => (namespace.outside(), namespace.inside()),
            Cut::Ways => (Ipv4Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()),
        };
        let server = SocketAddr::from(([127, 0, 0, 1], database.port()));
        let way = Way::to(server, outside).await.unwrap();
        let url = database.url(&name).replace(&server.to_string(), &way.address.to_string());
        let mut ways = vec![way];
        let mut far = vec![("ARTIFACTSTORE_DATABASE_URL".to_owned(), url)];
        far.extend(["S3", "ADMIN"].map(|side| (format!("ARTIFACTSTORE_{side}_LISTEN"), format!("{inside}:0"))));
        if let Some(server) = site.server {
            let way = Way::to(server, outside).await.unwrap();
            far.push(("ARTIFACTSTORE_STORAGE_S3_ENDPOINT".to_owned(), format!("http://{}", way.address)));
            ways.push(way);
        }
        let last = prepared(&[&site.settings[..], &far].concat());
        gateways.push(match &cut {
            Cut::Namespace(namespace) => last.launched_by(namespace.launcher()),
            Cut::Ways => last,
        });
        for gateway in &mut gateways {
            gateway.resume().await;
        }
        let doors = Doors(Arc::new(RwLock::new(gateways.iter().map(|gateway| gateway.s3.clone()).collect())));
        Self { gateways, doors, database, ways, cut }
    }

    /// Ends a gateway with no warning.
    pub(crate) async fn kill(&mut self, number: usize) {
        self.gateways[number].kill().await;
    }

    /// Starts it again, at another address; as often as whoever watches over it would, because a storage that has only just
    /// come back may be too slow for a gateway that begins.
    pub(crate) async fn resume(&mut self, number: usize) {
        let (gateway, begun) = (&mut self.gateways[number], Instant::now());
        while let Err(status) = gateway.resume_with(&[]).await {
            assert!(begun.elapsed() < PATIENCE, "it does not begin ({status}); its log ends:\n{}", gateway.log_tail());
            tokio::time::sleep(PAUSE).await;
        }
        self.doors.set(number, gateway.s3.clone());
    }

    /// Cuts the last gateway off from database and storage, and from its clients where it has a network of its own; or
    /// mends that.
    pub(crate) fn set_connected(&self, connected: bool) {
        match &self.cut {
            Cut::Namespace(namespace) if connected => namespace.mend(),
            Cut::Namespace(namespace) => namespace.cut(),
            Cut::Ways => self.ways.iter().for_each(|way| way.set_open(connected)),
        }
    }

    /// The gateway that took the lease of what is done once for all last, as their logs tell.
    pub(crate) fn leader(&self) -> Option<usize> {
        let tokens = self.gateways.iter().map(last_token).enumerate();
        tokens.filter_map(|(number, token)| Some((token?, number))).max().map(|(_, number)| number)
    }

    /// Stops all of them, and audits what they leave.
    pub(crate) async fn finish(mut self) {
        for gateway in &mut self.gateways {
            gateway.stop().await;
        }
        self.gateways[0].audit().await;
    }
}

/// The token of the last lease that a gateway took.
fn last_token(gateway: &Harness) -> Option<u64> {
    let log = gateway.log();
    let (_, told) = log.lines().rfind(|line| line.contains(HAS_THE_LEASE))?.rsplit_once("token=")?;
    let digits: String = told.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

fn prepared(settings: &[(String, String)]) -> Harness {
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (&**name, &**value)).collect();
    Harness::prepare_in(&std::env::temp_dir(), command::binary(), &settings)
}
