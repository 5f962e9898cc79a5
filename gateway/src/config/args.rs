//! Every setting, once: as a flag, an environment variable and a key of the file.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Deserialize;

use super::Secret;

/// How the log is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// An object a line.
    Json,
}

macro_rules! settings {
    ($($(#[$meta:meta])* $name:ident: $type:ty = $value:literal, $env:literal;)*) => {
        /// What was given of each setting, by flag or environment variable, or in the file.
        #[derive(Debug, Clone, Default, Args, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[command(next_help_heading = "Settings")]
        pub struct SettingArgs {
            /// A TOML file with any of the settings below, each under its flag's name with `_` for `-`.
            #[arg(long, value_name = "FILE", env = "ARTIFACTSTORE_CONFIG", global = true)]
            #[serde(skip)]
            pub config: Option<PathBuf>,
            $(
                $(#[$meta])*
                // Values of the environment are never shown: some are secrets, and help is pasted into reports.
                #[arg(long, value_name = $value, env = $env, hide_env_values = true, global = true)]
                pub $name: Option<$type>,
            )*
        }

        impl SettingArgs {
            /// These settings, and those of `below` where these say nothing.
            #[must_use]
            pub fn over(self, below: Self) -> Self {
                Self { config: self.config.or(below.config), $($name: self.$name.or(below.$name),)* }
            }
        }
    };
}

settings! {
    /// The folder of everything that the gateway keeps [default: ./data]
    data_dir: PathBuf = "FOLDER", "ARTIFACTSTORE_DATA_DIR";
    /// Where to listen for S3 clients; port 0 takes any free one [default: 127.0.0.1:9000]
    s3_listen: SocketAddr = "IP:PORT", "ARTIFACTSTORE_S3_LISTEN";
    /// Where to listen for the admin REST; port 0 takes any free one [default: 127.0.0.1:9001]
    admin_listen: SocketAddr = "IP:PORT", "ARTIFACTSTORE_ADMIN_LISTEN";
    /// The registry's database: sqlite://<path>, or postgres://<user>:<password>@<host>/<database>
    /// [default: sqlite://<data dir>/registry.db]
    database_url: Secret = "URL", "ARTIFACTSTORE_DATABASE_URL";
    /// Where bytes are kept: `local`, a folder, or `s3`, a bucket of Ceph RGW or another S3 store; or both with a comma,
    /// to move from one to the other. A registry begins with the first; after a move its log knows better [default: local]
    storage: String = "KIND", "ARTIFACTSTORE_STORAGE";
    /// The folder of the objects, for local storage [default: <data dir>/objects]
    storage_local_root: PathBuf = "FOLDER", "ARTIFACTSTORE_STORAGE_LOCAL_ROOT";
    /// The endpoint of S3 storage, such as http://127.0.0.1:7480 or https://rgw.example; buckets are addressed by path
    storage_s3_endpoint: String = "URL", "ARTIFACTSTORE_STORAGE_S3_ENDPOINT";
    /// The bucket of S3 storage; it has to be there already
    storage_s3_bucket: String = "NAME", "ARTIFACTSTORE_STORAGE_S3_BUCKET";
    /// What stands before the name of every object in the bucket [default: nothing]
    storage_s3_prefix: String = "PREFIX", "ARTIFACTSTORE_STORAGE_S3_PREFIX";
    /// The region that requests to S3 storage are signed for [default: us-east-1]
    storage_s3_region: String = "NAME", "ARTIFACTSTORE_STORAGE_S3_REGION";
    /// The access key of S3 storage
    storage_s3_access_key: Secret = "KEY", "ARTIFACTSTORE_STORAGE_S3_ACCESS_KEY";
    /// The secret key of S3 storage. Other users of this machine can see flags: prefer the environment or a file
    storage_s3_secret_key: Secret = "KEY", "ARTIFACTSTORE_STORAGE_S3_SECRET_KEY";
    /// A file that holds the secret key of S3 storage and nothing else
    storage_s3_secret_key_file: PathBuf = "FILE", "ARTIFACTSTORE_STORAGE_S3_SECRET_KEY_FILE";
    /// A file of certificates (PEM) that S3 storage with TLS is trusted by, besides those that the system trusts
    storage_s3_ca_file: PathBuf = "FILE", "ARTIFACTSTORE_STORAGE_S3_CA_FILE";
    /// How many requests to S3 storage are on their way at once, at most [default: 64]
    storage_s3_concurrency: usize = "COUNT", "ARTIFACTSTORE_STORAGE_S3_CONCURRENCY";
    /// How many seconds one attempt of a request to S3 storage may take [default: 30]
    storage_s3_timeout_seconds: u64 = "SECONDS", "ARTIFACTSTORE_STORAGE_S3_TIMEOUT_SECONDS";
    /// The root's access key; goes with the secret key [default: the one in <data dir>/credentials, made at first start]
    root_access_key: String = "KEY", "ARTIFACTSTORE_ROOT_ACCESS_KEY";
    /// The root's secret key. Other users of this machine can see flags: prefer the environment or the file
    root_secret_key: Secret = "KEY", "ARTIFACTSTORE_ROOT_SECRET_KEY";
    /// The admin REST's bearer token; seen by others as the secret key is [default: the one in <data dir>/credentials]
    admin_token: Secret = "TOKEN", "ARTIFACTSTORE_ADMIN_TOKEN";
    /// A file with the certificate of both listeners in PEM, and behind it those that lead to its authority; makes both
    /// speak TLS. It is read again on SIGHUP [default: none, which is plain HTTP]
    tls_certificate_file: PathBuf = "FILE", "ARTIFACTSTORE_TLS_CERTIFICATE_FILE";
    /// A file with the key of that certificate in PEM, not encrypted
    tls_key_file: PathBuf = "FILE", "ARTIFACTSTORE_TLS_KEY_FILE";
    /// Speak TLS with a certificate made at every start, for trials; <data dir>/tls-authority.pem is what clients trust
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    tls_self_signed: bool = "BOOLEAN", "ARTIFACTSTORE_TLS_SELF_SIGNED";
    /// What access keys' secrets are sealed with in the registry, 32 characters or more; the same for all gateways of one
    /// registry [default: the one in <data dir>/credentials]
    secrets_key: Secret = "KEY", "ARTIFACTSTORE_SECRETS_KEY";
    /// The region that clients sign for [default: us-east-1]
    region: String = "NAME", "ARTIFACTSTORE_REGION";
    /// The domain whose subdomains are buckets [default: none, which is path style only]
    s3_domain: String = "DOMAIN", "ARTIFACTSTORE_S3_DOMAIN";
    /// Whether answers that carry checksums also carry the SHA-256 of the whole [default: true]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    checksum_sha256: bool = "BOOLEAN", "ARTIFACTSTORE_CHECKSUM_SHA256";
    /// Proxies whose X-Forwarded-For, -Proto and -Host are believed: addresses and networks with commas between
    /// [default: none]
    trusted_proxies: String = "NETWORKS", "ARTIFACTSTORE_TRUSTED_PROXIES";
    /// Take links and forms that are signed with the old Signature Version 2 [default: false]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    sigv2_presigned: bool = "BOOLEAN", "ARTIFACTSTORE_SIGV2_PRESIGNED";
    /// Take these, and requests that are signed with Signature Version 2 in their headers [default: false]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    sigv2_headers: bool = "BOOLEAN", "ARTIFACTSTORE_SIGV2_HEADERS";
    /// What to log: off, error, warn, info, debug, trace, or a list of module=level [default: info for `serve`, else warn]
    log_level: String = "LEVEL", "ARTIFACTSTORE_LOG_LEVEL";
    /// How to log, on the standard error [default: text]
    log_format: LogFormat = "FORMAT", "ARTIFACTSTORE_LOG_FORMAT";
    /// How many bytes of bodies may be in memory at once, over all requests [default: 268435456, which is 256 MiB]
    buffer_budget_bytes: u64 = "BYTES", "ARTIFACTSTORE_BUFFER_BUDGET_BYTES";
    /// How many seconds a request's head may take, and a connection be idle between requests [default: 60]
    header_timeout_seconds: u64 = "SECONDS", "ARTIFACTSTORE_HEADER_TIMEOUT_SECONDS";
    /// How many seconds a client may send nothing of a body, or take nothing of an answer [default: 60]
    body_idle_timeout_seconds: u64 = "SECONDS", "ARTIFACTSTORE_BODY_IDLE_TIMEOUT_SECONDS";
    /// How many connections each listener holds at once [default: 4096]
    connections_limit: usize = "COUNT", "ARTIFACTSTORE_CONNECTIONS_LIMIT";
    /// How often the gateway collects what nothing keeps; of several gateways one does it. 0 for only when it is asked for,
    /// by `gc` or the admin REST [default: 0]
    gc_interval_hours: u64 = "HOURS", "ARTIFACTSTORE_GC_INTERVAL_HOURS";
    /// How many seconds what is condemned, or was left behind by an upload that ended early, is kept [default: 86400]
    gc_grace_seconds: u64 = "SECONDS", "ARTIFACTSTORE_GC_GRACE_SECONDS";
    /// How often the gateway lets go what goes by itself: by lifecycle rules, and by retention classes that say so; of several
    /// gateways one does it. 0 for only when it is asked for, by `lifecycle` or the admin REST [default: 3600]
    lifecycle_interval_seconds: u64 = "SECONDS", "ARTIFACTSTORE_LIFECYCLE_INTERVAL_SECONDS";
    /// How many seconds a day of a lifecycle rule has. For suites of tests only: rules then delete what is minutes old
    /// [default: 86400]
    lifecycle_day_seconds: u32 = "SECONDS", "ARTIFACTSTORE_LIFECYCLE_DAY_SECONDS";
    /// How many days after it has read all objects again, to find damage, the gateway begins anew; of several gateways one
    /// does it. 0 for only when it is asked for by the admin REST [default: 30]
    scrub_interval_days: u64 = "DAYS", "ARTIFACTSTORE_SCRUB_INTERVAL_DAYS";
    /// How many MiB a second it reads for that, at most [default: 16]
    scrub_mib_per_second: u64 = "MIB", "ARTIFACTSTORE_SCRUB_MIB_PER_SECOND";
    /// How many seconds a stopping gateway waits for what is in flight [default: 30]
    shutdown_grace_seconds: u64 = "SECONDS", "ARTIFACTSTORE_SHUTDOWN_GRACE_SECONDS";
}
