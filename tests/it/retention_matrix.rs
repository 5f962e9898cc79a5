//! What keeps a version, against every road by which it could be lost: each cell is tried on the real program, and is
//! what docs/retention-matrix.md says.
//!
//! Invariant: whatever a road is answered with, a version that something keeps can be read by its number afterwards.

use std::fmt::Write as _;

use artifactstore_tests::clock::WrongClock;
use artifactstore_tests::postgres::Cluster;
use artifactstore_tests::{Harness, Refused, Reply, Request, golden};
use serde_json::json;
use time::Duration;

mod rows;

use rows::{Door, KEEPERS, Keeper, ROWS, Road, destroys, expected, keeps_versions};

const BODY: &[u8] = b"what is to be kept";
/// Until when things are locked here, and what would be shorter.
const UNTIL: &str = "2099-01-01T00:00:00Z";
const SHORTER: &str = "2098-01-01T00:00:00Z";

struct Cell {
    bucket: String,
    name: String,
    keeper: Keeper,
    version: String,
    /// Its own: bytes that several cells have are shared, and erased only from all.
    body: Vec<u8>,
}

fn body(bucket: &str) -> Vec<u8> {
    [BODY, bucket.as_bytes()].concat()
}

fn retention(mode: &str, until: &str) -> String {
    format!("<Retention><Mode>{mode}</Mode><RetainUntilDate>{until}</RetainUntilDate></Retention>")
}

fn said(answer: Result<Reply, Refused>) -> String {
    match answer {
        Ok(_) => "allowed".to_owned(),
        Err(refused) => format!("{} {}", refused.status(), refused.code()),
    }
}

fn told(reply: &Reply) -> String {
    if reply.status < 300 {
        return "allowed".to_owned();
    }
    let problem = reply.json();
    let kind = problem["type"].as_str().unwrap_or_default();
    format!("{} {}", reply.status, kind.rsplit(['/', ':']).next().unwrap_or_default())
}

async fn sub(gateway: &Harness, method: &str, name: &str, query: &str, body: &str) -> Result<Reply, Refused> {
    gateway.s3.request(method, name).query(query, "").body(body.as_bytes()).send().await
}

impl Cell {
    fn of(bucket: String, keeper: Keeper) -> Self {
        let (name, body) = (format!("{bucket}/run/x"), body(&bucket));
        Self { bucket, name, keeper, version: String::new(), body }
    }

    async fn set_up(&mut self, gateway: &Harness, road: Road) {
        let (s3, versions) = (&gateway.s3, keeps_versions(road));
        let mut create = s3.request("PUT", &self.bucket);
        if versions {
            create = create.header("x-amz-bucket-object-lock-enabled", "true");
        }
        create.send().await.unwrap();
        let mut put = s3.request("PUT", &self.name).body(&self.body);
        let mode = match self.keeper {
            Keeper::Governance | Keeper::GovernanceBypassed => "GOVERNANCE",
            Keeper::Compliance => "COMPLIANCE",
            _ => "",
        };
        if self.keeper == Keeper::Mild {
            put = put.header("x-artifact-retention-class", "matrix-none");
        } else if !versions && !mode.is_empty() {
            put = put.header("x-artifact-retention-class", &format!("matrix-{}", mode.to_lowercase()));
        }
        self.version = put.send().await.unwrap().header("x-artifact-sequence").unwrap().to_owned();
        if (road, self.keeper) == (Road::ExpireNoncurrent, Keeper::Finalized) {
            // Nothing could be put in front of it once its package is finalized.
            s3.put(&self.name, b"in front of it").await.unwrap();
        }
        let hold = format!("/v1/producers/{}/holds/case-7?key=run/x", self.bucket);
        let reason = json!({ "reason": "the matrix says so" });
        match self.keeper {
            Keeper::Nothing | Keeper::Mild => {}
            Keeper::Governance | Keeper::GovernanceBypassed | Keeper::Compliance => {
                if versions {
                    sub(gateway, "PUT", &self.name, "retention", &retention(mode, UNTIL)).await.unwrap();
                }
            }
            Keeper::LegalHold if versions => {
                let on = "<LegalHold><Status>ON</Status></LegalHold>";
                sub(gateway, "PUT", &self.name, "legal-hold", on).await.unwrap();
            }
            // Without Object Lock the same hold is placed by its name.
            Keeper::LegalHold => {
                let hold = hold.replace("case-7", "s3-legal-hold");
                assert!(gateway.admin.give("PUT", &hold, &reason).await.status < 300);
            }
            Keeper::NamedHold => assert!(gateway.admin.give("PUT", &hold, &reason).await.status < 300),
            Keeper::Finalized => drop(gateway.finalize(&self.bucket, "run").await.unwrap()),
        }
    }

    async fn package(&self, gateway: &Harness) -> String {
        let packages = gateway.admin.packages(&self.bucket, Some("run")).await;
        packages[0]["id"].as_str().unwrap().to_owned()
    }

    /// Gives the bucket a lifecycle rule, has what goes by itself go, and collects without a grace.
    async fn expire(&self, gateway: &Harness, action: &str, day: &str) {
        let rule = format!(
            "<LifecycleConfiguration><Rule><ID>matrix</ID><Status>Enabled</Status><Filter/>{action}</Rule>\
             </LifecycleConfiguration>"
        );
        sub(gateway, "PUT", &self.bucket, "lifecycle", &rule).await.unwrap();
        drop(gateway.cli(&["lifecycle", "--lifecycle-day-seconds", day]).await.succeeded());
        sub(gateway, "DELETE", &self.bucket, "lifecycle", "").await.unwrap();
        drop(gateway.cli(&["gc", "--grace", "0"]).await.succeeded());
    }

    /// Whether the name is there still.
    async fn is_named(&self, gateway: &Harness) -> bool {
        gateway.s3.head(&self.name).await.is_ok()
    }

    /// Takes the road through this gateway, by a clock that is so wrong, and says what it was answered with.
    async fn take(&self, gateway: &Harness, road: Road, off_by: Option<Duration>) -> String {
        if let Some(got) = self.take_elsewhere(gateway, road).await {
            return got;
        }
        let s3 = &gateway.s3;
        let bypassed = self.keeper == Keeper::GovernanceBypassed;
        let with = |request: Request| {
            let request = match off_by {
                Some(by) => request.date(&WrongClock::date(by)),
                None => request,
            };
            if bypassed { request.header("x-amz-bypass-governance-retention", "true") } else { request }
        };
        let set =
            |body: String| with(s3.request("PUT", &self.name).query("retention", "")).body(body.as_bytes()).send();
        let mode = if self.keeper == Keeper::Compliance { "COMPLIANCE" } else { "GOVERNANCE" };
        match road {
            Road::DeleteVersion => {
                said(with(s3.request("DELETE", &self.name).query("versionId", &self.version)).send().await)
            }
            Road::DeleteObjects => {
                let version = &self.version;
                let body =
                    format!("<Delete><Object><Key>run/x</Key><VersionId>{version}</VersionId></Object></Delete>");
                let request = with(s3.request("POST", &self.bucket).query("delete", "")).body(body.as_bytes());
                let reply = request.send().await.unwrap();
                reply.element("Code").map_or_else(|| "allowed".to_owned(), |code| format!("403 {code}"))
            }
            Road::DeleteName | Road::DeleteUnversioned => said(with(s3.request("DELETE", &self.name)).send().await),
            Road::Overwrite | Road::OverwriteUnversioned => said(s3.put(&self.name, b"something else").await),
            Road::CopyOnto => {
                s3.put(&format!("{}/other/y", self.bucket), b"a source").await.unwrap();
                let source = format!("{}/other/y", self.bucket);
                said(s3.request("PUT", &self.name).header("x-amz-copy-source", &source).send().await)
            }
            Road::CompleteOnto => match s3.upload_create(&self.name).await {
                Err(refused) => said(Err(refused)),
                Ok(upload) => {
                    let part = s3.upload_part(&self.name, &upload, 1, b"in parts").await.unwrap();
                    said(s3.upload_complete(&self.name, &upload, &[(1, part)]).await)
                }
            },
            Road::Downgrade => said(set(retention("GOVERNANCE", UNTIL)).await),
            Road::Shorten => said(set(retention(mode, SHORTER)).await),
            Road::Unlock => said(set("<Retention/>".to_owned()).await),
            Road::DeleteBucket => said(s3.request("DELETE", &self.bucket).send().await),
            Road::SuspendVersioning => {
                let body = "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>";
                said(sub(gateway, "PUT", &self.bucket, "versioning", body).await)
            }
            Road::AdminShorten => {
                let path = format!("/v1/producers/{}/retention?key=run/x", self.bucket);
                let body = json!({
                    "retain_until": SHORTER, "mode": mode.to_lowercase(),
                    "bypass_governance": bypassed, "reason": "the matrix",
                });
                told(&gateway.admin.give("PUT", &path, &body).await)
            }
            Road::Erase => {
                let path = format!("/v1/producers/{}/erase?key=run/x&version={}", self.bucket, self.version);
                let body = json!({ "reason": "the matrix", "bypass_governance": bypassed });
                told(&gateway.admin.give("POST", &path, &body).await)
            }
            Road::AdminRelease => {
                let path = format!("/v1/packages/{}/release", self.package(gateway).await);
                told(&gateway.admin.give("POST", &path, &json!({ "reason": "the matrix" })).await)
            }
            Road::ExpireCurrent
            | Road::ExpireNoncurrent
            | Road::ExpireUnversioned
            | Road::Collect
            | Road::CommandShorten
            | Road::CommandErase
            | Road::CommandRelease => panic!("{road:?} is taken otherwise"),
        }
    }

    /// The roads that lead past the one gateway's S3 side and its admin REST; nothing for the others.
    async fn take_elsewhere(&self, gateway: &Harness, road: Road) -> Option<String> {
        let (s3, bypassed) = (&gateway.s3, self.keeper == Keeper::GovernanceBypassed);
        Some(match road {
            Road::ExpireCurrent | Road::ExpireUnversioned => {
                self.expire(gateway, "<Expiration><Date>2020-01-01T00:00:00Z</Date></Expiration>", "86400").await;
                if self.is_named(gateway).await { "kept" } else { "allowed" }.to_owned()
            }
            Road::ExpireNoncurrent => {
                if self.keeper != Keeper::Finalized {
                    s3.put(&self.name, b"in front of it").await.unwrap();
                }
                tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
                let days = "<NoncurrentDays>1</NoncurrentDays>";
                let action = format!("<NoncurrentVersionExpiration>{days}</NoncurrentVersionExpiration>");
                self.expire(gateway, &action, "1").await;
                if self.is_there(gateway).await { "kept" } else { "allowed" }.to_owned()
            }
            Road::Collect => {
                // Where it is refused, a collection has nothing to do.
                let _ = s3.request("DELETE", &self.name).send().await;
                drop(gateway.cli(&["gc", "--grace", "0"]).await.succeeded());
                if self.is_there(gateway).await { "kept" } else { "allowed" }.to_owned()
            }
            Road::CommandShorten => {
                let mode = if self.keeper == Keeper::Compliance { "compliance" } else { "governance" };
                let mut words = vec!["retention", "retain", &self.name, "--until", SHORTER, "--mode", mode];
                words.extend(["--reason", "the matrix"]);
                words.extend(bypassed.then_some("--bypass-governance"));
                ran(gateway, &words).await
            }
            Road::CommandErase => {
                let mut words =
                    vec!["erase", &self.name, "--version", &self.version, "--reason", "the matrix", "--yes"];
                words.extend(bypassed.then_some("--bypass-governance"));
                ran(gateway, &words).await
            }
            Road::CommandRelease => {
                let id = self.package(gateway).await;
                ran(gateway, &["retention", "release", &id, "--reason", "the matrix"]).await
            }
            _ => return None,
        })
    }

    /// Whether the version can be read by its number, with its bytes.
    async fn is_there(&self, gateway: &Harness) -> bool {
        let found = gateway.s3.request("GET", &self.name).query("versionId", &self.version).send().await;
        found.is_ok_and(|reply| reply.body == self.body)
    }
}

/// What became of a command: it did it, or said in one line why not.
async fn ran(gateway: &Harness, words: &[&str]) -> String {
    let outcome = gateway.cli(words).await;
    match outcome.code {
        Some(0) => "allowed".to_owned(),
        Some(1) => "refused".to_owned(),
        _ => format!("{outcome:?}"),
    }
}

async fn classes(gateway: &Harness) {
    for mode in ["none", "governance", "compliance"] {
        let class = json!({ "mode": mode, "period": "forever", "may_shorten": mode == "governance" });
        let reply = gateway.admin.give("PUT", &format!("/v1/retention-classes/matrix-{mode}"), &class).await;
        assert!(reply.status < 300, "{}", reply.text());
    }
}

/// A row, each cell with what the road was answered with and whether the version is there afterwards.
async fn row((gateway, other): (&Harness, &Harness), at: usize, road: Road, door: Door) -> Vec<(String, bool)> {
    if door.off_by().is_some() {
        return row_by_a_wrong_clock(at, road, door).await;
    }
    let mut row = Vec::new();
    for (column, (keeper, _)) in KEEPERS.into_iter().enumerate() {
        let mut cell = Cell::of(format!("matrix-{at}-{column}"), keeper);
        cell.set_up(gateway, road).await;
        let got = cell.take(if door == Door::Other { other } else { gateway }, road, None).await;
        row.push((got, cell.is_there(gateway).await));
    }
    row
}

/// On a gateway of its own, so that no other row's clock is doubted; what is left is looked at by a clock that is right.
async fn row_by_a_wrong_clock(at: usize, road: Road, door: Door) -> Vec<(String, bool)> {
    let by = door.off_by().unwrap();
    // A bucket's store looks at the time of each request itself, and answers none by a wrong clock.
    let (wrong, mut gateway) = (WrongClock::make(), Harness::start_with(&[("ARTIFACTSTORE_STORAGE", "local")]).await);
    classes(&gateway).await;
    let mut cells = Vec::new();
    for (column, (keeper, _)) in KEEPERS.into_iter().enumerate() {
        let mut cell = Cell::of(format!("matrix-{at}-{column}"), keeper);
        cell.set_up(&gateway, road).await;
        cells.push(cell);
    }
    gateway.stop().await;
    let environment = wrong.off_by(by);
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    gateway.resume_with(&environment).await.unwrap();
    let mut row = Vec::new();
    for cell in &cells {
        row.push((cell.take(&gateway, road, Some(by)).await, false));
    }
    gateway.restart().await;
    for (cell, (_, there)) in cells.iter().zip(&mut row) {
        *there = cell.is_there(&gateway).await;
    }
    gateway.finish().await;
    row
}

#[tokio::test]
async fn retention_matrix_has_no_unexpected_cell() {
    let gateway = Harness::start().await;
    let (url, objects) = (Cluster::shared().database(), tempfile::TempDir::new().unwrap());
    let root = objects.path().display().to_string();
    let shared = [("ARTIFACTSTORE_DATABASE_URL", url.as_str()), ("ARTIFACTSTORE_STORAGE_LOCAL_ROOT", root.as_str())];
    let (one, two) = (Harness::start_with(&shared).await, Harness::start_with(&shared).await);
    classes(&gateway).await;
    classes(&one).await;
    let mut page = String::from(include_str!("retention_matrix.md"));
    write!(page, "\n| |").unwrap();
    KEEPERS.iter().for_each(|(_, title)| write!(page, " {title} |").unwrap());
    write!(page, "\n|---|{}\n", "---|".repeat(KEEPERS.len())).unwrap();
    let mut wrong = Vec::new();
    for (at, (road, door, title)) in ROWS.into_iter().enumerate() {
        write!(page, "| {title} |").unwrap();
        let gateways = if door == Door::Other { (&one, &two) } else { (&gateway, &gateway) };
        for ((got, there), (keeper, _)) in row(gateways, at, road, door).await.into_iter().zip(KEEPERS) {
            let goes = destroys(road, keeper) && got == "allowed";
            if got != expected(road, keeper) || there == goes {
                wrong.push(format!("{road:?} ({door:?}) of {keeper:?}: {got}, and there: {there}"));
            }
            write!(page, " {got} |").unwrap();
        }
        page.push('\n');
    }
    assert_eq!(wrong, Vec::<String>::new(), "of {} cells", ROWS.len() * KEEPERS.len());
    golden::compare("../../docs/retention-matrix.md", page.as_bytes());
    println!("FIGURE the matrix of retention: {} cells, none unexpected", ROWS.len() * KEEPERS.len());
    gateway.finish().await;
    drop(two);
    one.finish().await;
}

#[tokio::test]
async fn a_clock_set_forward_or_back_lets_nothing_go() {
    let wrong = WrongClock::make();
    let mut gateway = Harness::start().await;
    classes(&gateway).await;
    let mut versions = Vec::new();
    for (column, keeper) in [Keeper::Governance, Keeper::Compliance].into_iter().enumerate() {
        let mut cell = Cell::of(format!("clock-{column}"), keeper);
        cell.set_up(&gateway, Road::DeleteVersion).await;
        versions.push((cell.name, cell.version));
    }
    for by in [Duration::days(73 * 365), Duration::days(-6 * 365)] {
        gateway.stop().await;
        let environment = wrong.off_by(by);
        let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
        gateway.resume_with(&environment).await.unwrap();
        for (name, version) in &versions {
            let request = gateway.s3.request("DELETE", name).query("versionId", version).date(&WrongClock::date(by));
            let refused = request.send().await.unwrap_err();
            assert_eq!((refused.status(), refused.code()), (403, "AccessDenied"), "{by}: {}", refused.message());
            assert!(refused.message().contains("the lock"), "{}", refused.message());
        }
    }
    gateway.stop().await;
    gateway.resume().await;
    let kinds = gateway.kinds_since(0).await;
    assert_eq!(kinds.iter().filter(|kind| *kind == "v1.clock.jumped").count(), 1, "{kinds:?}");
    // Whoever says that the clock was wrong gets the time back that there is.
    let jump = kinds.iter().position(|kind| kind == "v1.clock.jumped").unwrap() + 1;
    let settle = json!({ "genuine": false, "reason": "a test" });
    let reply = gateway.admin.give("POST", &format!("/v1/clock/{jump}/settle"), &settle).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    for (name, version) in &versions {
        let refused = gateway.s3.request("DELETE", name).query("versionId", version).send().await.unwrap_err();
        assert_eq!(refused.code(), "AccessDenied");
        assert!(
            gateway.s3.request("GET", name).query("versionId", version).send().await.unwrap().body.starts_with(BODY)
        );
    }
    gateway.finish().await;
}
