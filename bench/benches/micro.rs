//! Micro benches: the digests, the cutter, canonical CBOR, deciding and applying. What takes seconds or syncs is in
//! `artifactstore-bench log`.

use std::hint::black_box;
use std::time::Duration;

use artifactstore_bench::sample;
use artifactstore_registry::backends::chunk::{Cutter as _, DEFAULT_CHUNK_SIZE_BYTES, FixedCutter};
use artifactstore_registry::backends::digest::ChecksumAlgorithm;
use artifactstore_registry::backends::hasher::BodyHasher;
use artifactstore_registry::clock::Timestamp;
use artifactstore_registry::log::apply::{Fact, apply};
use artifactstore_registry::log::decide::decide;
use artifactstore_registry::model::event::{Event, GENESIS_HASH, Record};
use artifactstore_registry::model::manifest::Manifest;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use md5::Digest as _;

type Failure = Box<dyn std::error::Error>;

fn digests(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("digests");
    for size in [4 << 10, 8 << 20] {
        let body: Vec<u8> = (0..size).map(|at: u32| at.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
        group.throughput(Throughput::Bytes(u64::from(size)));
        let mut alone = |name: &str, digest: &dyn Fn(&[u8])| {
            group.bench_with_input(BenchmarkId::new(name, size), &body, |bencher, body| bencher.iter(|| digest(body)));
        };
        alone("md5", &|body| {
            black_box(md5::Md5::digest(body));
        });
        alone("sha256", &|body| {
            black_box(sha2::Sha256::digest(body));
        });
        alone("blake3", &|body| {
            black_box(blake3::hash(body));
        });
        // What ingest asks for: a PUT, a PUT with each kind of checksum, a part, a manifest.
        let put = || BodyHasher::new().with_md5().with_sha256();
        let ways: [(&str, BodyHasher); 6] = [
            ("part: blake3 md5", BodyHasher::new().with_md5()),
            ("joined: blake3 sha256", BodyHasher::new().with_sha256()),
            ("put: blake3 md5 sha256", put()),
            ("put with crc32", put().with_checksums([ChecksumAlgorithm::Crc32])),
            ("put with crc64nvme", put().with_checksums([ChecksumAlgorithm::Crc64Nvme])),
            ("put with sha1", put().with_checksums([ChecksumAlgorithm::Sha1])),
        ];
        for (name, hasher) in &ways {
            alone(name, &|body| {
                let mut hasher = hasher.clone();
                hasher.update(body);
                black_box(hasher.finish());
            });
        }
    }
    group.finish();
}

fn cutter(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cutter");
    let frame = vec![0_u8; 64 << 10];
    group.throughput(Throughput::Bytes(64 << 20));
    group.bench_function("64 MiB in frames of 64 KiB", |bencher| {
        bencher.iter(|| {
            let mut cutter = FixedCutter::new(DEFAULT_CHUNK_SIZE_BYTES);
            let mut cuts = 0;
            for _ in 0..1024 {
                let mut rest = frame.as_slice();
                while let Some(cut) = cutter.next_cut(black_box(rest)) {
                    cuts += 1;
                    rest = &rest[cut..];
                }
            }
            cuts
        });
    });
    group.finish();
}

fn cbor(criterion: &mut Criterion) -> Result<(), Failure> {
    let mut group = criterion.benchmark_group("cbor");
    let event = sample::event(1)?;
    let payload = event.encode();
    group.throughput(Throughput::Elements(1));
    group.bench_function("event encode", |bencher| bencher.iter(|| black_box(&event).encode()));
    group.bench_function("event decode", |bencher| {
        bencher.iter(|| Event::decode(event.kind(), black_box(&payload)));
    });
    let actor = sample::actor()?;
    let record = Record {
        sequence: 1,
        occurred_at: Timestamp(1_760_000_000_000_000),
        tenant: actor.tenant,
        producer: event.producer(),
        package: event.package(),
        actor: actor.name,
        request_id: actor.request_id,
        kind: event.kind().to_owned(),
        payload: payload.clone(),
        hash: GENESIS_HASH,
    };
    group.bench_function("event chain", |bencher| bencher.iter(|| black_box(&record).chained(&GENESIS_HASH)));
    let files = 1000;
    let manifest = sample::manifest(files);
    let bytes = manifest.encode();
    group.throughput(Throughput::Elements(files));
    group.bench_function("manifest of 1,000 files encode", |bencher| bencher.iter(|| black_box(&manifest).encode()));
    group.bench_function("manifest of 1,000 files decode", |bencher| {
        bencher.iter(|| Manifest::decode(black_box(&bytes)));
    });
    group.finish();
    Ok(())
}

fn rules(criterion: &mut Criterion) -> Result<(), Failure> {
    let mut group = criterion.benchmark_group("rules");
    let (actor, command, state) = (sample::actor()?, sample::ingest(1)?, sample::state(1)?);
    let event = sample::event(1)?;
    let payload = event.encode();
    group.throughput(Throughput::Elements(1));
    group.bench_function("decide an ingest", |bencher| bencher.iter(|| decide(black_box(&state), &actor, &command)));
    group.bench_function("apply an ingest", |bencher| {
        let fact = || Fact {
            sequence: 13,
            occurred_at: state.now,
            tenant: &actor.tenant,
            actor: "bench",
            event: &event,
            payload: &payload,
        };
        bencher.iter_batched_ref(|| state.clone(), |state| apply(state, fact()), BatchSize::SmallInput);
    });
    group.finish();
    Ok(())
}

fn all(criterion: &mut Criterion) {
    digests(criterion);
    cutter(criterion);
    let done = cbor(criterion).and_then(|()| rules(criterion));
    assert!(done.is_ok(), "the samples are what the registry takes: {done:?}");
}

criterion_group! {
    name = micro;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20);
    targets = all
}
criterion_main!(micro);
