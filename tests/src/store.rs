//! S3 stores for gateways to keep their bytes in: moto, one for each test, and a Ceph RGW that somebody started.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::S3;
use crate::clients::program;
use crate::command::workspace;
use crate::sign::Keys;

/// How long moto may take to listen.
const PATIENCE: Duration = Duration::from_secs(120);

/// Starts a program that runs moto, and waits for the line in which it says where it listens.
async fn start(script: &str, argument: Option<&Path>) -> (Child, String) {
    let mut command = Command::new(program("python"));
    command.arg(workspace().join("tests/clients").join(script)).args(argument);
    // It has no keys of its own and needs none of anybody's; it may run in a container.
    let passed = ["HOME", "PATH", "DOCKER_HOST", "ARTIFACTSTORE_MOTO"].map(|name| (name, std::env::var_os(name)));
    let passed = passed.into_iter().filter_map(|(name, value)| Some((name, value?)));
    command.env_clear().envs(passed).env("PYTHONDONTWRITEBYTECODE", "1").env("AWS_EC2_METADATA_DISABLED", "true");
    // It ends when this end of its standard input does, and takes its container with it.
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut process = command.spawn().expect("moto starts");
    let mut lines = BufReader::new(process.stdout.take().expect("its output is piped")).lines();
    let line = timeout(PATIENCE, lines.next_line()).await.expect("moto listens in time").expect("moto speaks");
    (process, line.expect("moto says where it listens"))
}

fn moto_keys() -> Keys {
    Keys {
        access_key: "MOTOACCESSKEY".to_owned(),
        secret_key: "moto-secret-key".to_owned(),
        region: "us-east-1".to_owned(),
    }
}

/// A store with a bucket that is its test's own.
#[derive(Debug)]
pub struct Store {
    /// The store itself, spoken to without a gateway.
    pub s3: S3,
    /// The bucket.
    pub bucket: String,
    /// moto, which ends with the test.
    process: Option<Child>,
}

impl Store {
    /// Starts moto.
    ///
    /// # Panics
    /// When it does not listen in time.
    pub async fn moto() -> Self {
        let (process, line) = start("moto_store.py", None).await;
        let (address, road) = line.split_once(' ').expect("an address, and what it runs in");
        println!("FIGURE moto as a {road}");
        Self::with_bucket(S3 { address: address.parse().expect("an address"), keys: moto_keys() }, Some(process)).await
    }

    /// Starts moto in plain HTTP and over TLS; says where the latter is. The certificate of the authority that it is
    /// to be trusted by is `ca.pem` in this folder.
    ///
    /// # Panics
    /// When it does not listen in time.
    pub async fn moto_with_tls(folder: &Path) -> (Self, String) {
        let (process, line) = start("moto_tls.py", Some(folder)).await;
        let (plain, tls) = line.split_once(' ').expect("two addresses");
        let s3 = S3 { address: plain.parse().expect("an address"), keys: moto_keys() };
        (Self::with_bucket(s3, Some(process)).await, tls.to_owned())
    }

    /// The Ceph RGW that the environment describes, as `tests/rgw/cluster env` prints it.
    ///
    /// # Panics
    /// When it describes none.
    pub async fn rgw() -> Self {
        let setting = |name: &str| {
            let name = format!("ARTIFACTSTORE_STORAGE_S3_{name}");
            let value = std::env::var_os(&name).and_then(|value| value.into_string().ok());
            value.unwrap_or_else(|| panic!("{name} is not set: `make test-rgw` sets it"))
        };
        let endpoint = setting("ENDPOINT");
        let address = endpoint.strip_prefix("http://").expect("an http URL").parse().expect("an address");
        let keys =
            Keys { access_key: setting("ACCESS_KEY"), secret_key: setting("SECRET_KEY"), region: setting("REGION") };
        Self::with_bucket(S3 { address, keys }, None).await
    }

    async fn with_bucket(s3: S3, process: Option<Child>) -> Self {
        let unique = tempfile::Builder::new().prefix("").rand_bytes(12).tempdir().expect("a name of its own");
        let name = unique.path().file_name().expect("a name").to_string_lossy().to_lowercase();
        let bucket = format!("store-{name}");
        s3.put(&bucket, b"").await.expect("the store makes a bucket");
        Self { s3, bucket, process }
    }

    /// The settings of a gateway that keeps its bytes here, reached at this address.
    #[must_use]
    pub fn settings_by(&self, address: SocketAddr) -> Vec<(String, String)> {
        let keys = &self.s3.keys;
        let settings = [
            ("", "s3".to_owned()),
            ("_S3_ENDPOINT", format!("http://{address}")),
            ("_S3_BUCKET", self.bucket.clone()),
            ("_S3_REGION", keys.region.clone()),
            ("_S3_ACCESS_KEY", keys.access_key.clone()),
            ("_S3_SECRET_KEY", keys.secret_key.clone()),
        ];
        settings.map(|(name, value)| (format!("ARTIFACTSTORE_STORAGE{name}"), value)).to_vec()
    }

    /// The settings of a gateway that keeps its bytes here.
    #[must_use]
    pub fn settings(&self) -> Vec<(String, String)> {
        self.settings_by(self.s3.address)
    }

    /// The names of all objects in the bucket.
    pub async fn objects(&self) -> Vec<String> {
        self.s3.list(&self.bucket, "").await
    }

    /// Whether this is moto, which checks no signatures.
    #[must_use]
    pub const fn is_moto(&self) -> bool {
        self.process.is_some()
    }
}
