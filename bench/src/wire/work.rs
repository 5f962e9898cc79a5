//! The operations as work for the load.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, ensure};

use super::client::{Call, Target, element, succeeded};
use super::http::{Connection, Take};
use super::load::{Load, Tally, Until, Work, run};
use super::op::{PAGE_KEYS, Parting, RANGE_BYTES};
use super::payload::{BLOCK_BYTES, Pool};

/// New objects, each under a key of its own.
#[derive(Debug)]
pub struct Put<'a> {
    /// The server.
    pub target: &'a Target,
    /// Where bodies come from.
    pub pool: &'a Pool,
    /// What keys begin with.
    pub prefix: &'a str,
    /// The number of the first object's body; the bodies of a run have different numbers.
    pub first: u64,
    /// The size of an object.
    pub size_bytes: u64,
    /// How many bodies there are; they come in turn.
    pub bodies: u64,
}

impl Work for Put<'_> {
    async fn once(&self, connection: &mut Connection, turn: u64) -> anyhow::Result<u64> {
        let number = self.first + turn % self.bodies;
        let key = key(self.prefix, turn);
        let call = Call { method: "PUT", key: &key, ..Call::default() };
        self.target.send(connection, call, &self.pool.body(number, self.size_bytes), None).await?;
        Ok(self.size_bytes)
    }
}

/// The key of an object.
#[must_use]
pub fn key(prefix: &str, number: u64) -> String {
    format!("{prefix}/{number:08}")
}

/// Requests whose heads are made before the clock runs, sent in turn.
#[derive(Debug)]
pub struct Prepared {
    heads: Vec<Vec<u8>>,
    take: Take,
    /// What every answer's body is long.
    size_bytes: u64,
}

impl Prepared {
    /// GETs or HEADs of whole objects.
    #[must_use]
    pub fn objects(target: &Target, method: &'static str, prefix: &str, count: u64, size_bytes: u64) -> Self {
        let head = |number| target.bodiless(Call { method, key: &key(prefix, number), ..Call::default() });
        let take = if method == "HEAD" { Take::Head } else { Take::Discard };
        Self { heads: (0..count).map(head).collect(), take, size_bytes }
    }

    /// GETs of pieces, spread over the objects without a pattern that read-ahead could follow.
    #[must_use]
    pub fn ranges(target: &Target, prefix: &str, count: u64, size_bytes: u64) -> Self {
        let places = size_bytes / RANGE_BYTES;
        let head = |turn: u64| {
            let first = turn.wrapping_mul(7919) % places * RANGE_BYTES;
            let range = Some((first, first + RANGE_BYTES - 1));
            target.bodiless(Call { method: "GET", key: &key(prefix, turn % count), range, ..Call::default() })
        };
        Self { heads: (0..4096).map(head).collect(), take: Take::Discard, size_bytes: RANGE_BYTES }
    }
}

impl Work for Prepared {
    async fn once(&self, connection: &mut Connection, turn: u64) -> anyhow::Result<u64> {
        // Neighbouring turns are far apart.
        let at = turn.wrapping_mul(997) % self.heads.len() as u64;
        let head = self.heads.get(usize::try_from(at)?).context("a prepared head")?;
        let answer = succeeded(connection.exchange(head, None, self.take).await?)?;
        ensure!(answer.size_bytes == self.size_bytes, "{} bytes where {} are due", answer.size_bytes, self.size_bytes);
        Ok(if self.take == Take::Head { 0 } else { answer.size_bytes })
    }
}

/// Pages of keys that are there, wherever in the list they begin.
#[derive(Debug)]
pub struct Pages<'a> {
    /// The server.
    pub target: &'a Target,
    /// What the keys begin with.
    pub prefix: &'a str,
    /// How many there are.
    pub keys: u64,
}

impl Work for Pages<'_> {
    async fn once(&self, connection: &mut Connection, turn: u64) -> anyhow::Result<u64> {
        let page = turn % (self.keys / PAGE_KEYS).max(1);
        let (prefix, size) = (format!("{}/", self.prefix), PAGE_KEYS.to_string());
        let after = key(self.prefix, (page * PAGE_KEYS).saturating_sub(1));
        let mut query = vec![("list-type", "2"), ("max-keys", size.as_str()), ("prefix", prefix.as_str())];
        if page > 0 {
            query.push(("start-after", &after));
        }
        let answer = self.target.ask(connection, Call { method: "GET", query: &query, ..Call::default() }).await?;
        let found = answer.body.windows(5).filter(|five| five == b"<Key>").count() as u64;
        ensure!(found == PAGE_KEYS.min(self.keys), "a page has {found} keys");
        Ok(answer.size_bytes)
    }
}

/// The parts of one upload.
struct Parts<'a> {
    target: &'a Target,
    pool: &'a Pool,
    key: &'a str,
    upload: &'a str,
    number: u64,
    count: u64,
    size_bytes: u64,
    parting: Parting,
    etags: Mutex<BTreeMap<u64, String>>,
}

impl Work for Parts<'_> {
    async fn once(&self, connection: &mut Connection, turn: u64) -> anyhow::Result<u64> {
        let Parting { part_bytes, reversed, same } = self.parting;
        let part = if reversed { self.count - 1 - turn } else { turn };
        let size = part_bytes.min(self.size_bytes - part * part_bytes);
        let begin = if same { 0 } else { part * part_bytes };
        let body = self.pool.body(self.number, self.size_bytes).piece(begin / BLOCK_BYTES as u64, size);
        let number = (part + 1).to_string();
        let query = [("partNumber", number.as_str()), ("uploadId", self.upload)];
        let call = Call { method: "PUT", key: self.key, query: &query, ..Call::default() };
        let answer = self.target.send(connection, call, &body, None).await?;
        let etag = answer.etag.context("a part has an ETag")?;
        self.etags.lock().unwrap_or_else(PoisonError::into_inner).insert(part + 1, etag);
        Ok(size)
    }
}

/// Uploads in parts, one after the other.
#[derive(Debug, Clone, Copy)]
pub struct Uploads<'a> {
    /// The server.
    pub target: &'a Target,
    /// Where bodies come from.
    pub pool: &'a Pool,
    /// What keys begin with.
    pub prefix: &'a str,
    /// The number of the first body.
    pub first: u64,
    /// The size of an upload.
    pub size_bytes: u64,
    /// How they are cut.
    pub parting: Parting,
}

/// Finalizes one package, by a PUT as any client can send it.
#[derive(Debug)]
pub struct Seal<'a> {
    /// The server.
    pub target: &'a Target,
    /// The package.
    pub package: &'a str,
}

impl Work for Seal<'_> {
    async fn once(&self, connection: &mut Connection, _turn: u64) -> anyhow::Result<u64> {
        let key = format!("{}/.artifact/finalize", self.package);
        self.target.ask(connection, Call { method: "PUT", key: &key, ..Call::default() }).await?;
        Ok(0)
    }
}

impl Uploads<'_> {
    /// Runs them; the load's connections carry the parts. Also how long each Complete took, in microseconds.
    ///
    /// # Errors
    /// When the client itself fails; what the server refuses is counted.
    pub fn run(&self, load: Load) -> anyhow::Result<(Tally, Vec<u64>)> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut connection = Connection::new(self.target.address);
        let started = Instant::now();
        let (mut tally, mut completes) = (Tally::default(), Vec::new());
        for turn in 0.. {
            match load.until {
                Until::Time(time) if started.elapsed() >= time => break,
                Until::Turns(turns) if turn >= turns => break,
                _ => {}
            }
            let begun = Instant::now();
            match self.one(&runtime, &mut connection, load, turn) {
                Ok(complete) => {
                    tally.operations += 1;
                    tally.bytes += self.size_bytes;
                    tally.micros.push(u64::try_from(begun.elapsed().as_micros())?);
                    completes.push(complete);
                }
                Err(error) => {
                    tally.errors += 1;
                    tally.first_error = Some(format!("{error:#}"));
                    break;
                }
            }
        }
        tally.seconds = started.elapsed().as_secs_f64();
        Ok((tally, completes))
    }

    fn one(
        &self,
        runtime: &tokio::runtime::Runtime,
        connection: &mut Connection,
        load: Load,
        turn: u64,
    ) -> anyhow::Result<u64> {
        let key = key(self.prefix, turn);
        let create = Call { method: "POST", key: &key, query: &[("uploads", "")], ..Call::default() };
        let created = runtime.block_on(self.target.ask(connection, create))?;
        let created = String::from_utf8_lossy(&created.body).into_owned();
        let upload = element(&created, "UploadId")?;
        let count = self.size_bytes.div_ceil(self.parting.part_bytes);
        let (number, size_bytes, parting) = (self.first + turn, self.size_bytes, self.parting);
        let (target, pool) = (self.target, self.pool);
        let etags = Mutex::default();
        let parts = Parts { target, pool, key: &key, upload, number, count, size_bytes, parting, etags };
        let sent = run(target.address, Load { until: Until::Turns(count), ..load }, &parts)?;
        ensure!(sent.errors == 0, "a part failed: {}", sent.first_error.unwrap_or_default());
        let etags = parts.etags.into_inner().unwrap_or_else(PoisonError::into_inner);
        let listed: String = etags
            .iter()
            .map(|(number, etag)| format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"))
            .collect();
        let xml = format!(
            "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{listed}</CompleteMultipartUpload>"
        );
        let complete = Call { method: "POST", key: &key, query: &[("uploadId", upload)], ..Call::default() };
        // The connection has said nothing since the upload was begun: a server may have closed it.
        *connection = Connection::new(target.address);
        let begun = Instant::now();
        runtime.block_on(target.tell(connection, complete, &xml))?;
        Ok(u64::try_from(begun.elapsed().as_micros())?)
    }
}
