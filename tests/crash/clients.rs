//! Clients that write until the gateway is gone, and remember what they were told.

use artifactstore_tests::{Refused, Reply, S3};

use crate::chance::Chance;
use crate::model::{Content, Done, Package, Upload};

/// The producer that everything is written to.
pub(crate) const PRODUCER: &str = "crash";
/// Contents that many clients write, so that they race to store the same chunks.
const SHARED: u64 = 12;
/// The least size of every part but the last.
const PART_MINIMUM: usize = 5 << 20;
/// Names that each client uses again and again.
const NAMES: u64 = 12;

/// What the seeds of contents have in common that nobody else writes.
const UNIQUE: u64 = 1 << 63;

/// Whether a content of this seed was written under one name only.
pub(crate) const fn is_unique(seed: u64) -> bool {
    seed & UNIQUE != 0
}

/// Whether a request was acknowledged. What is not must not be refused either: these clients ask for nothing wrong.
fn told(outcome: Result<Reply, Refused>) -> bool {
    if let Err(refused) = &outcome {
        assert_eq!(refused.status(), 0, "nothing but its end keeps a gateway from this: {refused:?}");
    }
    outcome.is_ok()
}

/// Small files, some of them of one content with others, some written over and some removed.
pub(crate) async fn small(s3: S3, own: String, mut chance: Chance) -> Done {
    write(s3, own, &mut chance, |chance| chance.size_below(64 << 10)).await
}

/// Files of several chunks.
pub(crate) async fn large(s3: S3, own: String, mut chance: Chance) -> Done {
    write(s3, own, &mut chance, |chance| (200 << 10) + chance.size_below(1200 << 10)).await
}

async fn write(s3: S3, own: String, chance: &mut Chance, size: impl Fn(&mut Chance) -> usize) -> Done {
    let mut done = Done::default();
    let mut present = Vec::new();
    loop {
        let name = format!("{PRODUCER}/{own}/{}", chance.below(NAMES));
        if chance.one_in(12) && present.contains(&name) {
            present.retain(|other| *other != name);
            if !done.note(&name, None, told(s3.delete(&name).await)) {
                return done;
            }
            continue;
        }
        let content = if chance.one_in(4) {
            let seed = chance.below(SHARED);
            // Shared contents lie on both sides of the size of a chunk.
            Content::noise(seed, usize::try_from(seed * 40_000 + 1).unwrap())
        } else {
            Content::noise(chance.number() | UNIQUE, size(chance))
        };
        let acknowledged = told(s3.put(&name, &content.bytes()).await);
        if !done.note(&name, Some(content), acknowledged) {
            return done;
        }
        present.push(name);
    }
}

/// Files in parts; first, uploads that an earlier round left behind are completed of the parts that were acknowledged.
pub(crate) async fn multipart(s3: S3, own: String, mut chance: Chance, left: Vec<Upload>) -> Done {
    let mut done = Done::default();
    for (at, upload) in left.iter().enumerate() {
        if !finish(&s3, &mut done, upload.clone()).await {
            done.uploads.extend(left[at + 1..].iter().cloned());
            return done;
        }
    }
    for number in 0.. {
        let name = format!("{PRODUCER}/{own}/parts-{number}");
        let Ok(id) = s3.upload_create(&name).await else { return done };
        let mut upload = Upload { name, id, parts: Vec::new(), completing: false };
        let parts = if chance.one_in(4) { 2 } else { 1 };
        for number in 1..=parts {
            let tail = chance.size_below(600 << 10) + 1;
            let size = if number < parts { PART_MINIMUM + tail } else { tail };
            let content = Content::noise(chance.number() | UNIQUE, size);
            match s3.upload_part(&upload.name, &upload.id, number, &content.bytes()).await {
                Ok(etag) => upload.parts.push((number, etag, content)),
                Err(_) => {
                    if !upload.parts.is_empty() {
                        done.uploads.push(upload);
                    }
                    return done;
                }
            }
        }
        if !finish(&s3, &mut done, upload).await {
            return done;
        }
    }
    done
}

/// Completes an upload. Nothing but the end of the gateway may come in between.
async fn finish(s3: &S3, done: &mut Done, mut upload: Upload) -> bool {
    let parts: Vec<_> = upload.parts.iter().map(|(number, etag, _)| (*number, etag.clone())).collect();
    let outcome = s3.upload_complete(&upload.name, &upload.id, &parts).await;
    let acknowledged = done.note(&upload.name, Some(upload.content()), told(outcome));
    if !acknowledged {
        upload.completing = true;
        done.uploads.push(upload);
    }
    acknowledged
}

/// Packages of a few files, finalized: their manifests are large enough for a blob of their own, or not.
pub(crate) async fn packages(s3: S3, own: String, mut chance: Chance) -> Done {
    let mut done = Done::default();
    for number in 0.. {
        let package = format!("{own}-{number}");
        let files = if chance.one_in(3) { 30 } else { 1 + chance.size_below(3) };
        for file in 0..files {
            let name = format!("{PRODUCER}/{package}/{file}");
            let content = Content::noise(chance.number() | UNIQUE, chance.size_below(300));
            let acknowledged = told(s3.put(&name, &content.bytes()).await);
            if !done.note(&name, Some(content), acknowledged) {
                return done;
            }
        }
        let acknowledged = told(s3.put(&format!("{PRODUCER}/{package}/.artifact/finalize"), b"").await);
        done.packages.push(Package { name: package, files, acknowledged });
        if !acknowledged {
            return done;
        }
    }
    done
}
