//! What keeps a version, against every road by which it could be lost: each cell is tried on the real program, and is
//! what docs/retention-matrix.md says.
//!
//! Invariant: whatever a road is answered with, a version that something keeps can be read by its number afterwards.

use std::fmt::Write as _;

use artifactstore_tests::clock::WrongClock;
use artifactstore_tests::postgres::Cluster;
use artifactstore_tests::{Harness, Refused, Reply, golden};
use serde_json::json;
use time::Duration;

const BODY: &[u8] = b"what is to be kept";
/// Until when things are locked here, and what would be shorter.
const UNTIL: &str = "2099-01-01T00:00:00Z";
const SHORTER: &str = "2098-01-01T00:00:00Z";

/// What keeps the version, or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeper {
    Nothing,
    Governance,
    GovernanceBypassed,
    Compliance,
    LegalHold,
    NamedHold,
    Finalized,
}

const KEEPERS: [(Keeper, &str); 7] = [
    (Keeper::Nothing, "nothing"),
    (Keeper::Governance, "governance"),
    (Keeper::GovernanceBypassed, "governance, bypassed"),
    (Keeper::Compliance, "compliance"),
    (Keeper::LegalHold, "legal hold"),
    (Keeper::NamedHold, "named hold"),
    (Keeper::Finalized, "finalized package"),
];

/// A road.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Road {
    DeleteVersion,
    DeleteObjects,
    DeleteName,
    Overwrite,
    CopyOnto,
    CompleteOnto,
    Downgrade,
    Shorten,
    Unlock,
    DeleteBucket,
    SuspendVersioning,
    AdminShorten,
    AdminRelease,
    OverwriteUnversioned,
    DeleteUnversioned,
    Erase,
    ExpireCurrent,
    ExpireNoncurrent,
    ExpireUnversioned,
    Collect,
    CommandShorten,
    OtherGateway,
}

const ROADS: [(Road, &str); 22] = [
    (Road::DeleteVersion, "DeleteObject with a version id"),
    (Road::DeleteObjects, "DeleteObjects with a version id"),
    (Road::DeleteName, "DeleteObject, which puts a delete marker in front"),
    (Road::Overwrite, "PutObject onto the key, which makes a new version"),
    (Road::CopyOnto, "CopyObject onto the key"),
    (Road::CompleteOnto, "CompleteMultipartUpload onto the key"),
    (Road::Downgrade, "PutObjectRetention: governance, the same date"),
    (Road::Shorten, "PutObjectRetention: the same mode, an earlier date"),
    (Road::Unlock, "PutObjectRetention without mode and date"),
    (Road::DeleteBucket, "DeleteBucket"),
    (Road::SuspendVersioning, "PutBucketVersioning: suspended"),
    (Road::AdminShorten, "admin REST: an earlier date"),
    (Road::AdminRelease, "admin REST: release of the package"),
    (Road::OverwriteUnversioned, "PutObject onto the key, bucket without versions"),
    (Road::DeleteUnversioned, "DeleteObject, bucket without versions"),
    (Road::Erase, "admin REST: erasure of the version's bytes"),
    (Road::ExpireCurrent, "lifecycle rule: Expiration, which puts a delete marker in front"),
    (Road::ExpireNoncurrent, "lifecycle rule: NoncurrentVersionExpiration of the version, then a collection"),
    (Road::ExpireUnversioned, "lifecycle rule: Expiration, bucket without versions, then a collection"),
    (Road::Collect, "DeleteObject without a bypass, bucket without versions, then a collection with no grace"),
    (Road::CommandShorten, "command line: an earlier date"),
    (Road::OtherGateway, "DeleteObject with a version id, by another gateway of the registry"),
];

/// Whether the bucket keeps versions, with Object Lock.
const fn keeps_versions(road: Road) -> bool {
    !matches!(road, Road::OverwriteUnversioned | Road::DeleteUnversioned | Road::ExpireUnversioned | Road::Collect)
}

/// Whether the very version is gone when the road was open.
const fn destroys(road: Road) -> bool {
    matches!(
        road,
        Road::DeleteVersion
            | Road::DeleteObjects
            | Road::ExpireNoncurrent
            | Road::ExpireUnversioned
            | Road::Collect
            | Road::OtherGateway
            | Road::Erase
    )
}

/// What is to come of it.
fn expected(road: Road, keeper: Keeper) -> &'static str {
    use Keeper::{Compliance, Finalized, Governance, GovernanceBypassed, LegalHold, NamedHold, Nothing};
    const ALLOWED: &str = "allowed";
    const DENIED: &str = "403 AccessDenied";
    const KEPT: &str = "kept";
    match (road, keeper) {
        // What the law demands is not asked of a seal; the manifest stays, and shows the gap.
        (Road::Erase, Nothing | GovernanceBypassed | Finalized) => ALLOWED,
        (Road::Erase, Governance | Compliance | LegalHold | NamedHold) => "403 access-denied",
        (Road::DeleteBucket, _) => "409 BucketNotEmpty",
        (Road::SuspendVersioning, _) => "409 InvalidBucketState",
        (Road::AdminRelease, Finalized) => ALLOWED,
        (Road::AdminRelease, _) => "409 package-open",
        (Road::AdminShorten, Governance | Compliance) => "403 access-denied",
        (Road::AdminShorten, _) => ALLOWED,
        // Retention is set whatever else keeps a version, also in a package that is sealed.
        (Road::Downgrade, Compliance) | (Road::Shorten | Road::Unlock, Governance | Compliance) => DENIED,
        (Road::Downgrade | Road::Shorten | Road::Unlock, _) => ALLOWED,
        // What is kept stays behind: nothing is lost.
        (Road::DeleteName | Road::Overwrite | Road::CopyOnto | Road::CompleteOnto, Finalized) => DENIED,
        (Road::DeleteName | Road::Overwrite | Road::CopyOnto | Road::CompleteOnto, _) => ALLOWED,
        // A PUT has no way to say that governance does not count.
        (Road::OverwriteUnversioned, Nothing) => ALLOWED,
        (Road::OverwriteUnversioned, _) => DENIED,
        // What goes by itself bypasses nothing.
        (Road::ExpireCurrent, Finalized) => KEPT,
        (Road::ExpireCurrent, _) | (Road::ExpireNoncurrent | Road::ExpireUnversioned | Road::Collect, Nothing) => {
            ALLOWED
        }
        (Road::ExpireNoncurrent | Road::ExpireUnversioned | Road::Collect, _) => KEPT,
        (Road::CommandShorten, Governance | Compliance) => "refused",
        (Road::CommandShorten, _) => ALLOWED,
        (
            Road::DeleteVersion | Road::DeleteObjects | Road::DeleteUnversioned | Road::OtherGateway,
            Nothing | GovernanceBypassed,
        ) => ALLOWED,
        (Road::DeleteVersion | Road::DeleteObjects | Road::DeleteUnversioned | Road::OtherGateway, _) => DENIED,
    }
}

struct Cell<'a> {
    gateway: &'a Harness,
    /// Another gateway of the same registry, for the road that takes one.
    other: Option<&'a Harness>,
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

impl Cell<'_> {
    async fn sub(&self, method: &str, name: &str, query: &str, body: &str) -> Result<Reply, Refused> {
        self.gateway.s3.request(method, name).query(query, "").body(body.as_bytes()).send().await
    }

    async fn set_up(&mut self, road: Road) {
        let (s3, versions) = (&self.gateway.s3, keeps_versions(road));
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
        if !versions && !mode.is_empty() {
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
            Keeper::Nothing => {}
            Keeper::Governance | Keeper::GovernanceBypassed | Keeper::Compliance => {
                if versions {
                    self.sub("PUT", &self.name, "retention", &retention(mode, UNTIL)).await.unwrap();
                }
            }
            Keeper::LegalHold if versions => {
                let on = "<LegalHold><Status>ON</Status></LegalHold>";
                self.sub("PUT", &self.name, "legal-hold", on).await.unwrap();
            }
            // Without Object Lock the same hold is placed by its name.
            Keeper::LegalHold => {
                let hold = hold.replace("case-7", "s3-legal-hold");
                assert!(self.gateway.admin.give("PUT", &hold, &reason).await.status < 300);
            }
            Keeper::NamedHold => assert!(self.gateway.admin.give("PUT", &hold, &reason).await.status < 300),
            Keeper::Finalized => drop(self.gateway.finalize(&self.bucket, "run").await.unwrap()),
        }
    }

    /// Gives the bucket a lifecycle rule, has what goes by itself go, and collects without a grace.
    async fn expire(&self, action: &str, day: &str) {
        let rule = format!(
            "<LifecycleConfiguration><Rule><ID>matrix</ID><Status>Enabled</Status><Filter/>{action}</Rule>\
             </LifecycleConfiguration>"
        );
        self.sub("PUT", &self.bucket, "lifecycle", &rule).await.unwrap();
        drop(self.gateway.cli(&["lifecycle", "--lifecycle-day-seconds", day]).await.succeeded());
        self.sub("DELETE", &self.bucket, "lifecycle", "").await.unwrap();
        drop(self.gateway.cli(&["gc", "--grace", "0"]).await.succeeded());
    }

    /// Whether the name is there still.
    async fn is_named(&self) -> bool {
        self.gateway.s3.head(&self.name).await.is_ok()
    }

    async fn take(&self, road: Road) -> String {
        if let Some(got) = self.take_elsewhere(road).await {
            return got;
        }
        let s3 = &self.gateway.s3;
        let bypassed = self.keeper == Keeper::GovernanceBypassed;
        let with = |request: artifactstore_tests::Request| {
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
                said(self.sub("PUT", &self.bucket, "versioning", body).await)
            }
            Road::AdminShorten => {
                let path = format!("/v1/producers/{}/retention?key=run/x", self.bucket);
                let body = json!({
                    "retain_until": SHORTER, "mode": mode.to_lowercase(),
                    "bypass_governance": bypassed, "reason": "the matrix",
                });
                told(&self.gateway.admin.give("PUT", &path, &body).await)
            }
            Road::Erase => {
                let path = format!("/v1/producers/{}/erase?key=run/x&version={}", self.bucket, self.version);
                let body = json!({ "reason": "the matrix", "bypass_governance": bypassed });
                told(&self.gateway.admin.give("POST", &path, &body).await)
            }
            Road::AdminRelease => {
                let path = format!("/v1/producers/{}/packages?name=run", self.bucket);
                let packages = self.gateway.admin.get(&path).await.json();
                let id = packages["packages"][0]["id"].as_str().unwrap().to_owned();
                let path = format!("/v1/packages/{id}/release");
                told(&self.gateway.admin.give("POST", &path, &json!({ "reason": "the matrix" })).await)
            }
            Road::ExpireCurrent
            | Road::ExpireNoncurrent
            | Road::ExpireUnversioned
            | Road::Collect
            | Road::CommandShorten
            | Road::OtherGateway => panic!("{road:?} is taken otherwise"),
        }
    }

    /// The roads that lead past the one gateway's S3 side and its admin REST; nothing for the others.
    async fn take_elsewhere(&self, road: Road) -> Option<String> {
        let (s3, bypassed) = (&self.gateway.s3, self.keeper == Keeper::GovernanceBypassed);
        Some(match road {
            Road::ExpireCurrent | Road::ExpireUnversioned => {
                self.expire("<Expiration><Date>2020-01-01T00:00:00Z</Date></Expiration>", "86400").await;
                if self.is_named().await { "kept" } else { "allowed" }.to_owned()
            }
            Road::ExpireNoncurrent => {
                if self.keeper != Keeper::Finalized {
                    s3.put(&self.name, b"in front of it").await.unwrap();
                }
                tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
                let days = "<NoncurrentDays>1</NoncurrentDays>";
                let action = format!("<NoncurrentVersionExpiration>{days}</NoncurrentVersionExpiration>");
                self.expire(&action, "1").await;
                if self.is_there().await { "kept" } else { "allowed" }.to_owned()
            }
            Road::Collect => {
                // Where it is refused, a collection has nothing to do.
                let _ = s3.request("DELETE", &self.name).send().await;
                drop(self.gateway.cli(&["gc", "--grace", "0"]).await.succeeded());
                if self.is_there().await { "kept" } else { "allowed" }.to_owned()
            }
            Road::CommandShorten => {
                let mode = if self.keeper == Keeper::Compliance { "compliance" } else { "governance" };
                let mut words = vec!["retention", "retain", &self.name, "--until", SHORTER, "--mode", mode];
                words.extend(["--reason", "the matrix"]);
                words.extend(bypassed.then_some("--bypass-governance"));
                if self.gateway.cli(&words).await.code == Some(0) { "allowed" } else { "refused" }.to_owned()
            }
            Road::OtherGateway => {
                let other = &self.other.expect("another gateway").s3;
                let mut request = other.request("DELETE", &self.name).query("versionId", &self.version);
                if bypassed {
                    request = request.header("x-amz-bypass-governance-retention", "true");
                }
                said(request.send().await)
            }
            _ => return None,
        })
    }

    /// Whether the version can be read by its number, with its bytes.
    async fn is_there(&self) -> bool {
        let found = self.gateway.s3.request("GET", &self.name).query("versionId", &self.version).send().await;
        found.is_ok_and(|reply| reply.body == self.body)
    }
}

async fn classes(gateway: &Harness) {
    for mode in ["governance", "compliance"] {
        let class = json!({ "mode": mode, "period": "forever", "may_shorten": mode == "governance" });
        let reply = gateway.admin.give("PUT", &format!("/v1/retention-classes/matrix-{mode}"), &class).await;
        assert!(reply.status < 300, "{}", reply.text());
    }
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
    for (at, (road, title)) in ROADS.into_iter().enumerate() {
        write!(page, "| {title} |").unwrap();
        for (column, (keeper, _)) in KEEPERS.into_iter().enumerate() {
            let bucket = format!("matrix-{at}-{column}");
            let name = format!("{bucket}/run/x");
            let (gateway, other) = if road == Road::OtherGateway { (&one, Some(&two)) } else { (&gateway, None) };
            let body = body(&bucket);
            let mut cell = Cell { gateway, other, bucket, name, keeper, version: String::new(), body };
            cell.set_up(road).await;
            let got = cell.take(road).await;
            let goes = destroys(road) && got == "allowed";
            if got != expected(road, keeper) || cell.is_there().await == goes {
                wrong.push(format!("{road:?} of {keeper:?}: {got}, and there: {}", cell.is_there().await));
            }
            write!(page, " {got} |").unwrap();
        }
        page.push('\n');
    }
    assert_eq!(wrong, Vec::<String>::new(), "of {} cells", ROADS.len() * KEEPERS.len());
    golden::compare("../../docs/retention-matrix.md", page.as_bytes());
    println!("FIGURE the matrix of retention: {} cells, none unexpected", ROADS.len() * KEEPERS.len());
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
        let (bucket, version) = (format!("clock-{column}"), String::new());
        let name = format!("{bucket}/run/x");
        let body = BODY.to_vec();
        let mut cell = Cell { gateway: &gateway, other: None, bucket, name, keeper, version, body };
        cell.set_up(Road::DeleteVersion).await;
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
        assert!(gateway.s3.request("GET", name).query("versionId", version).send().await.unwrap().body == BODY);
    }
    gateway.finish().await;
}
