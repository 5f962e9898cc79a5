//! The suite of a backend, over a bucket; and what only a bucket can get wrong.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use artifactstore_registry::backends::backend::{Backend, SealedObject};
use artifactstore_registry::backends::bucket::{BucketBackend, BucketOptions};
use artifactstore_registry::backends::dataplane::spi::ByteRange;
use artifactstore_registry::backends::error::Error;
use artifactstore_registry::backends::testing::conformance;
use artifactstore_tests::proxy::MARKER;
use artifactstore_tests::{Mode, Proxy, Store};
use bytes::Bytes;
use futures::TryStreamExt;

use crate::body;
use crate::store;

fn options(store: &Store, prefix: &str) -> BucketOptions {
    BucketOptions {
        ca_file: None,
        endpoint: format!("http://{}", store.s3.address),
        bucket: store.bucket.clone(),
        prefix: prefix.to_owned(),
        region: store.s3.keys.region.clone(),
        access_key: store.s3.keys.access_key.clone(),
        secret_key: store.s3.keys.secret_key.clone(),
        concurrency: 16,
        patience: Duration::from_secs(20),
    }
}

async fn open(options: &BucketOptions) -> BucketBackend {
    BucketBackend::open(options).await.expect("the bucket opens")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_keeps_the_promises_of_a_backend() {
    let store = store().await;
    let number = AtomicU32::new(0);
    conformance::all(|| {
        let options = options(&store, &format!("promise-{}/", number.fetch_add(1, Ordering::Relaxed)));
        async move { open(&options).await }
    })
    .await;
}

#[tokio::test]
async fn an_object_has_its_path_under_the_prefix_and_nothing_else_is_left() {
    let store = store().await;
    let backend = open(&options(&store, "some/prefix/")).await;
    let key = backend.put(SealedObject::seal(Bytes::from_static(b"abc"))).await.unwrap();
    backend.probe().await.unwrap();
    let path = "blake3/64/37/6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85";
    assert_eq!(store.objects().await, [format!("some/prefix/{path}")]);
    assert_eq!(store.s3.get(&format!("{}/some/prefix/{path}", store.bucket)).await.unwrap().body, b"abc");
    assert_eq!(backend.list(None).try_collect::<Vec<_>>().await.unwrap()[0].key, key);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_walk_over_more_objects_than_a_page_has_sees_each_of_them_once_and_no_stranger() {
    let store = store().await;
    let backend = open(&options(&store, "")).await;
    let mut keys = Vec::new();
    let objects = (0..1203_u32).map(|number| SealedObject::seal(Bytes::from(number.to_string())));
    let puts = futures::stream::iter(objects.map(|object| backend.put(object)));
    let mut puts = futures::StreamExt::buffer_unordered(puts, 16);
    while let Some(key) = puts.try_next().await.unwrap() {
        keys.push(key);
    }
    drop(puts);
    keys.sort_unstable();
    store.s3.put(&format!("{}/blake3/00/stranger", store.bucket), b"?").await.unwrap();
    store.s3.put(&format!("{}/blake3/zz", store.bucket), b"?").await.unwrap();
    let walk = |after| backend.list(after).map_ok(|stat| stat.key).try_collect::<Vec<_>>();
    assert!(walk(None).await.unwrap() == keys);
    assert!(walk(Some(keys[1000])).await.unwrap() == keys[1001..]);
}

#[tokio::test]
async fn bytes_that_are_damaged_on_their_way_are_never_acknowledged() {
    let store = store().await;
    let proxy = Proxy::before(store.s3.address).await;
    let backend = open(&BucketOptions {
        endpoint: format!("http://{}", proxy.address),
        patience: Duration::from_secs(5),
        ..options(&store, "")
    })
    .await;
    let mut bytes = body::bytes(1, 300_000);
    bytes[150_000..150_000 + MARKER.len()].copy_from_slice(MARKER);
    let object = SealedObject::seal(Bytes::from(bytes));
    proxy.set(Mode::Damage);
    let outcome = backend.put(object.clone()).await;
    assert!(matches!(outcome, Err(Error::Unavailable(_))), "{outcome:?}");
    if !store.is_moto() {
        // RGW looks at Content-MD5 and keeps nothing; moto does not, and its ETag gives it away.
        assert_eq!(backend.stat(&object.key()).await.unwrap(), None);
    }
    proxy.set(Mode::Pass);
    let key = backend.put(object.clone()).await.unwrap();
    let read: Vec<Bytes> = backend.read(&key, ByteRange::Full).await.unwrap().try_collect().await.unwrap();
    assert!(read.concat() == object.bytes()[..]);
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_taken_up_where_it_stopped() {
    let store = store().await;
    let proxy = Proxy::before(store.s3.address).await;
    let backend = open(&BucketOptions { endpoint: format!("http://{}", proxy.address), ..options(&store, "") }).await;
    let bytes = body::bytes(2, 6 << 20);
    let key = backend.put(SealedObject::seal(Bytes::from(bytes.clone()))).await.unwrap();
    for (range, expected) in [(ByteRange::Full, &bytes[..]), (ByteRange::Span(7, 5 << 20), &bytes[7..5 << 20])] {
        proxy.set(Mode::CutAnswer(2 << 20));
        let read: Vec<Bytes> = backend.read(&key, range).await.unwrap().try_collect().await.unwrap();
        assert!(read.concat() == *expected);
    }
}

#[tokio::test]
async fn a_bucket_that_cannot_be_used_says_why_and_shows_no_secret() {
    let store = store().await;
    let right = options(&store, "");
    let nobody = { tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap() };
    let mut cases = vec![
        (BucketOptions { bucket: "no-such-bucket-anywhere".to_owned(), ..right.clone() }, "there is no such bucket"),
        (BucketOptions { endpoint: format!("http://{nobody}"), ..right.clone() }, "the connection failed"),
    ];
    if !store.is_moto() {
        let wrong = "a-secret-that-is-wrong".to_owned();
        cases.push((BucketOptions { secret_key: wrong, ..right.clone() }, "the secret key does not go with"));
        let unknown = "UNKNOWNACCESSKEY".to_owned();
        cases.push((BucketOptions { access_key: unknown, ..right.clone() }, "the access key is not known"));
    }
    for (options, words) in cases {
        let refusal = BucketBackend::open(&options).await.unwrap_err();
        let mut said = refusal.to_string();
        let mut source = std::error::Error::source(&refusal);
        while let Some(cause) = source {
            said = format!("{said}: {cause}");
            source = cause.source();
        }
        assert!(said.contains(words) && said.contains(&options.endpoint), "{said}");
        assert!(!said.contains(&options.secret_key) && !format!("{options:?}").contains(&options.secret_key));
    }
}
