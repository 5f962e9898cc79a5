//! `cargo run -p artifactstore-example-embedding -- DIR [DATA]`: seals DIR as a package and writes its manifest.

use std::path::PathBuf;

use anyhow::{Context, Result};
use artifactstore_example_embedding::{open, seal};

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let directory = arguments.next().context("usage: artifactstore-example-embedding DIR [DATA]")?;
    // Without a data folder, everything but the manifest is gone when the program ends.
    let temporary = tempfile::tempdir()?;
    let data = arguments.next().unwrap_or_else(|| temporary.path().join("data"));
    let directory = directory.canonicalize().with_context(|| format!("cannot find {}", directory.display()))?;
    let package = directory.file_name().and_then(|name| name.to_str()).context("DIR needs a name in UTF-8")?;

    let registry = open(&data).await?;
    let outcome = seal(&registry, &directory, package).await;
    registry.stop().await;
    let sealed = outcome?;
    tokio::fs::write("manifest.cbor", &sealed.manifest).await.context("cannot write manifest.cbor")?;
    println!("package   {package}: {} files, {} bytes", sealed.files, sealed.size_bytes);
    println!("manifest  {} in manifest.cbor", sealed.manifest_digest);
    println!("verified  every byte; {} events replayed to the same views", sealed.events);
    Ok(())
}
