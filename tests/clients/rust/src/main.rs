//! aws-sdk-s3, unchanged, against the gateway. The environment says where everything is, as for the other suites.

mod link;

use std::time::Duration;

use anyhow::{Context as _, ensure};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Config, Credentials, Region, SharedHttpClient};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart, Delete, ObjectIdentifier,
};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};

const BUCKET: &str = "rust-sdk";
const MIB: usize = 1 << 20;

type Outcome = anyhow::Result<()>;

fn variable(name: &str) -> anyhow::Result<String> {
    std::env::var(name).with_context(|| format!("{name} is not set"))
}

/// The certificates that are trusted besides those of the system, if the gateway has one of its own.
fn authority() -> anyhow::Result<Option<Vec<u8>>> {
    match std::env::var_os("AWS_CA_BUNDLE") {
        Some(path) => Ok(Some(std::fs::read(path)?)),
        None => Ok(None),
    }
}

fn http_client() -> anyhow::Result<SharedHttpClient> {
    let mut trusted = TrustStore::empty();
    if let Some(pem) = authority()? {
        trusted = trusted.with_pem_certificate(pem);
    }
    let context = TlsContext::builder().with_trust_store(trusted).build()?;
    let builder = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring));
    Ok(builder.tls_context(context).build_https())
}

fn client() -> anyhow::Result<Client> {
    let credentials =
        Credentials::new(variable("AWS_ACCESS_KEY_ID")?, variable("AWS_SECRET_ACCESS_KEY")?, None, None, "environment");
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(variable("AWS_REGION")?))
        .credentials_provider(credentials)
        .endpoint_url(variable("AWS_ENDPOINT_URL")?)
        .force_path_style(true)
        .retry_config(RetryConfig::disabled())
        .http_client(http_client()?)
        .build();
    Ok(Client::from_conf(config))
}

/// Bytes that differ everywhere, and are the same for the same seed.
fn body(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// Reads an object; the SDK compares what it reads with the checksum that it is told.
async fn read(client: &Client, key: &str) -> anyhow::Result<(GetObjectOutput, Vec<u8>)> {
    let got = client.get_object().bucket(BUCKET).key(key).checksum_mode(ChecksumMode::Enabled);
    let mut got = got.send().await?;
    let bytes = std::mem::take(&mut got.body).collect().await?.to_vec();
    Ok((got, bytes))
}

async fn objects(client: &Client) -> Outcome {
    let data = body(1, 300_000);
    let put = client.put_object().bucket(BUCKET).key("run-1/ä b+c%").body(ByteStream::from(data.clone()));
    let stored = put.metadata("note", "kept").content_type("text/x-log").send().await?;
    ensure!(
        stored.checksum_crc32().is_some() || stored.checksum_crc64_nvme().is_some(),
        "the SDK's own checksum comes back: {stored:?}"
    );
    let (got, bytes) = read(client, "run-1/ä b+c%").await?;
    ensure!(bytes == data && got.e_tag() == stored.e_tag(), "other bytes came back");
    ensure!(got.metadata().and_then(|map| map.get("note")).is_some_and(|note| note == "kept"));
    ensure!(got.content_type() == Some("text/x-log") && got.checksum_sha256().is_some(), "{got:?}");

    for algorithm in [ChecksumAlgorithm::Crc32, ChecksumAlgorithm::Crc32C, ChecksumAlgorithm::Crc64Nvme] {
        let key = format!("run-1/{algorithm}");
        let put = client.put_object().bucket(BUCKET).key(&key).body(ByteStream::from(data.clone()));
        put.checksum_algorithm(algorithm).send().await?;
        ensure!(read(client, &key).await?.1 == data, "{key}");
    }
    for algorithm in [ChecksumAlgorithm::Sha1, ChecksumAlgorithm::Sha256] {
        let key = format!("run-1/{algorithm}");
        let put = client.put_object().bucket(BUCKET).key(&key).body(ByteStream::from(data.clone()));
        put.checksum_algorithm(algorithm).send().await?;
        ensure!(read(client, &key).await?.1 == data, "{key}");
    }
    // A file is sent as it is read, with its checksum behind it.
    let path = std::env::temp_dir().join("large.bin");
    let large = body(2, 12 * MIB + 5);
    tokio::fs::write(&path, &large).await?;
    let stream = ByteStream::from_path(&path).await?;
    client.put_object().bucket(BUCKET).key("run-1/streamed").body(stream).send().await?;
    ensure!(read(client, "run-1/streamed").await?.1 == large, "another file came back");
    let part = client.get_object().bucket(BUCKET).key("run-1/streamed").range("bytes=5-104").send().await?;
    ensure!(part.content_range() == Some(format!("bytes 5-104/{}", large.len()).as_str()));
    ensure!(part.body.collect().await?.to_vec() == large[5..105], "another range came back");
    Ok(())
}

async fn parts(client: &Client) -> Outcome {
    for (algorithm, kind) in [
        (ChecksumAlgorithm::Crc32, ChecksumType::FullObject),
        (ChecksumAlgorithm::Crc64Nvme, ChecksumType::FullObject),
        (ChecksumAlgorithm::Sha256, ChecksumType::Composite),
    ] {
        let key = format!("run-2/{algorithm}");
        let pieces = [body(3, 5 * MIB), body(4, 6 * MIB), body(5, 1000)];
        let begun = client.create_multipart_upload().bucket(BUCKET).key(&key);
        let begun = begun.checksum_algorithm(algorithm.clone()).checksum_type(kind.clone()).send().await?;
        let upload = begun.upload_id().context("an upload without an id")?;
        let mut done = Vec::new();
        for (number, piece) in (1..).zip(&pieces) {
            let part = client.upload_part().bucket(BUCKET).key(&key).upload_id(upload).part_number(number);
            let part = part.checksum_algorithm(algorithm.clone()).body(ByteStream::from(piece.clone())).send().await?;
            let part = CompletedPart::builder()
                .part_number(number)
                .set_e_tag(part.e_tag)
                .set_checksum_crc32(part.checksum_crc32)
                .set_checksum_crc64_nvme(part.checksum_crc64_nvme)
                .set_checksum_sha256(part.checksum_sha256);
            done.push(part.build());
        }
        let listed = client.list_parts().bucket(BUCKET).key(&key).upload_id(upload).send().await?;
        ensure!(listed.parts().len() == 3 && listed.checksum_type() == Some(&kind), "{listed:?}");
        let whole = client.complete_multipart_upload().bucket(BUCKET).key(&key).upload_id(upload);
        let size = pieces.iter().map(Vec::len).sum::<usize>();
        let whole = whole.checksum_type(kind.clone()).mpu_object_size(i64::try_from(size)?);
        whole.multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(done)).build()).send().await?;
        let (got, bytes) = read(client, &key).await?;
        ensure!(bytes == pieces.concat() && got.checksum_type() == Some(&kind), "{key}: {got:?}");
    }
    Ok(())
}

async fn listings(client: &Client) -> Outcome {
    for number in 0..25 {
        let key = format!("run-3/{number:02}/a");
        client.put_object().bucket(BUCKET).key(key).body(ByteStream::from_static(b"a")).send().await?;
    }
    let pages = client.list_objects_v2().bucket(BUCKET).prefix("run-3/").max_keys(10).into_paginator();
    let pages: Vec<_> = pages.send().collect::<Result<_, _>>().await?;
    let keys: Vec<_> = pages.iter().flat_map(|page| page.contents()).filter_map(|object| object.key()).collect();
    ensure!(pages.len() == 3 && keys.len() == 25 && keys.is_sorted(), "{keys:?}");
    let folders = client.list_objects_v2().bucket(BUCKET).delimiter("/").send().await?;
    let folders: Vec<_> = folders.common_prefixes().iter().filter_map(|entry| entry.prefix()).collect();
    ensure!(folders == ["run-1/", "run-2/", "run-3/"], "{folders:?}");
    Ok(())
}

async fn links(client: &Client) -> Outcome {
    let minute = || PresigningConfig::expires_in(Duration::from_secs(60));
    let data = body(6, 100_000);
    let put = client.put_object().bucket(BUCKET).key("run-4/by link").presigned(minute()?).await?;
    ensure!(link::send(&put, data.clone()).await?.0 == 200, "a link does not upload");
    let get = client.get_object().bucket(BUCKET).key("run-4/by link").presigned(minute()?).await?;
    ensure!(link::send(&get, Vec::new()).await? == (200, data), "a link gives other bytes");
    Ok(())
}

async fn errors(client: &Client) -> Outcome {
    let missing = client.get_object().bucket(BUCKET).key("none").send().await.err().context("it is there")?;
    ensure!(missing.as_service_error().is_some_and(|error| error.is_no_such_key()), "{missing:?}");
    ensure!(missing.message().is_some_and(|message| !message.is_empty()), "an error has a message: {missing:?}");
    let missing = client.head_object().bucket(BUCKET).key("none").send().await.err().context("it is there")?;
    ensure!(missing.as_service_error().is_some_and(|error| error.is_not_found()), "{missing:?}");
    let missing = client.head_bucket().bucket("rust-sdk-none").send().await.err().context("it is there")?;
    ensure!(missing.as_service_error().is_some_and(|error| error.is_not_found()), "{missing:?}");
    let listed = client.list_objects_v2().bucket("rust-sdk-none").send().await.err().context("it is there")?;
    ensure!(listed.as_service_error().is_some_and(|error| error.is_no_such_bucket()), "{listed:?}");

    let put = || client.put_object().bucket(BUCKET).key("run-5/once").body(ByteStream::from_static(b"once"));
    let first = put().if_none_match("*").send().await?;
    let second = put().if_none_match("*").send().await.err().context("it was put twice")?;
    ensure!(is_unmet(&second), "{second:?}");
    let etag = first.e_tag().context("an answer without an ETag")?;
    put().if_match(etag).send().await?;
    let stale = put().if_match("\"00000000000000000000000000000000\"").send().await.err().context("it was put")?;
    ensure!(is_unmet(&stale), "{stale:?}");
    let wrong = put().checksum_sha256("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").send().await;
    let wrong = wrong.err().context("a wrong checksum was taken")?;
    ensure!(wrong.code() == Some("BadDigest"), "{wrong:?}");
    Ok(())
}

fn is_unmet<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> bool {
    error.code() == Some("PreconditionFailed")
}

async fn cleanup(client: &Client) -> Outcome {
    let all = client.list_objects_v2().bucket(BUCKET).send().await?;
    let named = all.contents().iter().filter_map(|object| object.key());
    let named: Vec<_> = named.map(|key| ObjectIdentifier::builder().key(key).build()).collect::<Result<_, _>>()?;
    let count = named.len();
    let gone = client.delete_objects().bucket(BUCKET).delete(Delete::builder().set_objects(Some(named)).build()?);
    let gone = gone.send().await?;
    ensure!(gone.deleted().len() == count && gone.errors().is_empty(), "{gone:?}");
    client.delete_bucket().bucket(BUCKET).send().await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Outcome {
    let client = client()?;
    client.create_bucket().bucket(BUCKET).send().await?;
    objects(&client).await.context("objects")?;
    parts(&client).await.context("parts")?;
    listings(&client).await.context("listings")?;
    links(&client).await.context("links")?;
    errors(&client).await.context("errors")?;
    cleanup(&client).await.context("cleanup")?;
    println!("everything: done");
    Ok(())
}
