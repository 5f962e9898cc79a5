//! Checks a downloaded package by its manifest, with no server and no registry.
//!
//! Invariant: no path that the manifest names leads out of the folder; such a path is a finding, and is never opened.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use artifactstore_registry::actions::request::Progress;
use artifactstore_registry::backends::digest::{ContentAddress, Sha256Digest};
use artifactstore_registry::model::manifest::{Manifest, ManifestFile};
use artifactstore_registry::model::name::RESERVED;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::CliError;
use super::output::shown;

/// What is to be checked.
#[derive(Debug)]
pub(super) struct Request {
    /// The manifest's file.
    pub(super) manifest: PathBuf,
    /// The folder with the package's files.
    pub(super) dir: PathBuf,
    /// The digest that the manifest must have.
    pub(super) digest: Option<ContentAddress>,
    /// What was erased of the package, by whoever says so.
    pub(super) erasures: Option<PathBuf>,
    /// Whether a file that the manifest does not name is wrong.
    pub(super) strict: bool,
}

/// One thing that is not as the manifest says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// `erased`, which is not wrong; `missing`, `mismatched`, `unsafe_path`, `inconsistent`, `wrong_digest`, `unreadable` or `extra`.
    finding: &'static str,
    /// The path within the package; empty when it is about the manifest itself.
    relative_path: String,
    /// What is wrong.
    problem: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.finding, shown(&self.relative_path), shown(&self.problem))
    }
}

/// What the check came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Report {
    /// The manifest's digest.
    pub(super) manifest_digest: String,
    /// The producer that the manifest names.
    pub(super) producer: String,
    /// The package.
    pub(super) package: String,
    /// The revision.
    pub(super) revision: u32,
    /// Files that are as the manifest says.
    pub(super) files: u64,
    /// Their bytes.
    pub(super) bytes: u64,
    /// Files of the folder that the manifest does not name.
    pub(super) extra: u64,
    /// Files that are missing because they were erased.
    pub(super) erased: u64,
    /// How much is wrong.
    pub(super) wrong: u64,
}

/// What was erased of a package, as the admin REST tells it.
#[derive(Debug, Default, Deserialize)]
struct Erasures {
    erasures: Vec<Erased>,
}

/// One file of it.
#[derive(Debug, Deserialize)]
struct Erased {
    relative_path: String,
    version: u64,
    event: u64,
    reason: String,
    content_address: String,
}

impl Erasures {
    fn read(path: Option<&PathBuf>) -> Result<Self, CliError> {
        let Some(path) = path else { return Ok(Self::default()) };
        let bytes = fs::read(path).map_err(|error| CliError::Unreadable(path.clone(), error))?;
        serde_json::from_slice(&bytes)
            .map_err(|error| CliError::Other(format!("{} tells of no erasures: {error}", path.display())))
    }

    /// What is told of a file: of this very version, with these very bytes.
    fn of(&self, file: &ManifestFile) -> Option<&Erased> {
        self.erasures.iter().find(|erased| {
            erased.relative_path == file.relative_path
                && erased.version == file.sequence
                && erased.content_address == file.content_address
        })
    }
}

/// Checks the folder; findings and progress are told as they come.
pub(super) fn check(
    request: &Request,
    on_progress: &dyn Fn(Progress),
    on_finding: &dyn Fn(&Finding),
) -> Result<Report, CliError> {
    let bytes = fs::read(&request.manifest).map_err(|error| CliError::Unreadable(request.manifest.clone(), error))?;
    let refuse = |why: String| CliError::Other(format!("{} is no manifest: {why}", request.manifest.display()));
    let (manifest, digest) = decode(&bytes).map_err(refuse)?;
    // A folder that cannot be listed is an error of the call, not thousands of missing files.
    fs::read_dir(&request.dir).map_err(|error| CliError::Unreadable(request.dir.clone(), error))?;

    let total =
        Progress { total: manifest.files.len() as u64, total_bytes: sum(&manifest.files), ..Progress::default() };
    let mut check = Check { request, on_progress, on_finding, progress: total, wrong: 0, named: BTreeSet::new() };
    if let Some(wanted) = request.digest.filter(|wanted| *wanted != digest) {
        check.wrong("wrong_digest", "", format!("the manifest has the digest {digest}, not {wanted}"));
    }
    let erasures = Erasures::read(request.erasures.as_ref())?;
    let (mut files, mut good_bytes, mut erased) = (0, 0, 0);
    for file in &manifest.files {
        match check.file(file) {
            Ok(()) => {
                files += 1;
                good_bytes += file.size;
            }
            Err(("missing", _)) if erasures.of(file).is_some() => {
                let told = erasures.of(file).map(|told| format!("erased by event {}: {}", told.event, told.reason));
                check.tell("erased", &file.relative_path, told.unwrap_or_default());
                erased += 1;
            }
            Err((finding, problem)) => check.wrong(finding, &file.relative_path, problem),
        }
        check.progress.done += 1;
        (check.on_progress)(check.progress);
    }
    let extra = check.extras()?;
    let package = manifest.package;
    let (producer, name, revision) = (package.producer, package.name, package.revision);
    let manifest_digest = digest.to_string();
    Ok(Report {
        manifest_digest,
        producer,
        package: name,
        revision,
        files,
        bytes: good_bytes,
        extra,
        erased,
        wrong: check.wrong,
    })
}

fn sum(files: &[ManifestFile]) -> u64 {
    files.iter().fold(0, |sum, file| sum.saturating_add(file.size))
}

/// Reads either form. JSON must be exactly the projection of a manifest: whoever compares digests compares those bytes.
fn decode(bytes: &[u8]) -> Result<(Manifest, ContentAddress), String> {
    // No canonical manifest begins like this: in CBOR it would be a text.
    if bytes.first() != Some(&b'{') {
        let manifest = Manifest::decode(bytes).map_err(|error| error.to_string())?;
        return Ok((manifest, Manifest::digest(bytes)));
    }
    let manifest: Manifest = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if manifest.to_json() != bytes {
        return Err("the JSON is not as the gateway writes it (JCS, RFC 8785)".to_owned());
    }
    let canonical = manifest.encode();
    let manifest = Manifest::decode(&canonical).map_err(|error| error.to_string())?;
    Ok((manifest, Manifest::digest(&canonical)))
}

/// What is wrong with a file: which finding, and in which words.
type Wrong = (&'static str, String);

struct Check<'a> {
    request: &'a Request,
    on_progress: &'a dyn Fn(Progress),
    on_finding: &'a dyn Fn(&Finding),
    progress: Progress,
    wrong: u64,
    /// Where the manifest's files lie, relative to the folder.
    named: BTreeSet<PathBuf>,
}

impl Check<'_> {
    fn tell(&self, finding: &'static str, relative_path: &str, problem: String) {
        (self.on_finding)(&Finding { finding, relative_path: relative_path.to_owned(), problem });
    }

    fn wrong(&mut self, finding: &'static str, relative_path: &str, problem: String) {
        self.wrong += 1;
        self.tell(finding, relative_path, problem);
    }

    fn file(&mut self, file: &ManifestFile) -> Result<(), Wrong> {
        let (blake3, sha256) = digests(file)?;
        let Some(place) = local(&file.relative_path)? else {
            // A folder marker: clients make a folder of it, or nothing at all.
            let empty = file.size == 0 && blake3 == ContentAddress::of(b"") && sha256.0 == *Sha256::digest(b"");
            let problem = "it names a folder, and has content".to_owned();
            return if empty { Ok(()) } else { Err(("inconsistent", problem)) };
        };
        if !self.named.insert(place.clone()) {
            return Err(("inconsistent", "the manifest names it twice".to_owned()));
        }
        let path = self.request.dir.join(place);
        let unreadable = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ("missing", "there is no such file".to_owned()),
            _ => ("unreadable", error.to_string()),
        };
        // A pipe would be waited for without end, so the kind is looked at before it is opened.
        let about = fs::metadata(&path).map_err(unreadable)?;
        if !about.is_file() {
            return Err(("mismatched", "it is no regular file".to_owned()));
        }
        if about.len() != file.size {
            return Err(("mismatched", format!("it has {} bytes, not {}", about.len(), file.size)));
        }
        let read = self.digest(File::open(&path).map_err(unreadable)?).map_err(unreadable)?;
        match read {
            (size, _, _) if size != file.size => {
                Err(("mismatched", format!("{size} bytes were read, not {}", file.size)))
            }
            (_, read, _) if read != blake3 => Err(("mismatched", format!("it is {read}, not {blake3}"))),
            (_, _, read) if read != sha256 => {
                Err(("mismatched", format!("its SHA-256 is {}, not {}", read.to_hex(), sha256.to_hex())))
            }
            _ => Ok(()),
        }
    }

    fn digest(&mut self, mut file: File) -> io::Result<(u64, ContentAddress, Sha256Digest)> {
        let (mut blake3, mut sha256, mut size) = (blake3::Hasher::new(), Sha256::new(), 0);
        let mut buffer = vec![0; 1 << 20];
        loop {
            let count = match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            blake3.update(&buffer[..count]);
            sha256.update(&buffer[..count]);
            size += count as u64;
            self.progress.bytes += count as u64;
            (self.on_progress)(self.progress);
        }
        Ok((size, ContentAddress(*blake3.finalize().as_bytes()), Sha256Digest(sha256.finalize().into())))
    }

    /// Names the files that the manifest does not; returns how many.
    fn extras(&mut self) -> Result<u64, CliError> {
        let manifest = fs::canonicalize(&self.request.manifest).ok();
        let mut folders = vec![PathBuf::new()];
        let mut extra = 0;
        while let Some(folder) = folders.pop() {
            let path = self.request.dir.join(&folder);
            let unreadable = |error| CliError::Unreadable(path.clone(), error);
            for entry in fs::read_dir(&path).map_err(unreadable)? {
                let entry = entry.map_err(unreadable)?;
                let place = folder.join(entry.file_name());
                // A link to a folder is not followed: it may lead round in circles.
                if entry.file_type().map_err(unreadable)?.is_dir() {
                    // The package's own documents are not in its manifest.
                    if place != Path::new(RESERVED) {
                        folders.push(place);
                    }
                    continue;
                }
                let is_manifest = manifest.is_some() && fs::canonicalize(entry.path()).ok() == manifest;
                if self.named.contains(&place) || is_manifest {
                    continue;
                }
                extra += 1;
                let (shown, problem) = (place.to_string_lossy(), "the manifest does not name it".to_owned());
                if self.request.strict {
                    self.wrong("extra", &shown, problem);
                } else {
                    self.tell("extra", &shown, problem);
                }
            }
        }
        Ok(extra)
    }
}

/// The digests that the manifest gives, which must agree with each other.
fn digests(file: &ManifestFile) -> Result<(ContentAddress, Sha256Digest), Wrong> {
    let blake3: Option<ContentAddress> = file.content_address.parse().ok();
    let blake3 = blake3.filter(|blake3| file.digest_algorithm == "blake3" && blake3.to_hex() == file.digest_primary);
    blake3
        .zip(Sha256Digest::from_hex(&file.digest_sha256).ok())
        .ok_or_else(|| ("inconsistent", "its digests in the manifest are no digests, or disagree".to_owned()))
}

/// Where a file lies within the folder; nothing for a folder marker.
fn local(relative_path: &str) -> Result<Option<PathBuf>, Wrong> {
    let (path, marker) =
        relative_path.strip_suffix('/').map_or((relative_path, relative_path.is_empty()), |path| (path, true));
    let mut place = PathBuf::new();
    // An empty path is the marker of the package's own folder.
    for segment in path.split('/').filter(|_| !relative_path.is_empty()) {
        if matches!(segment, "" | "." | "..") || segment.contains('\0') {
            return Err(("unsafe_path", "it is not opened: it may lead out of the folder".to_owned()));
        }
        place.push(segment);
    }
    Ok(if marker { None } else { Some(place) })
}

#[cfg(test)]
#[path = "verify_offline_tests.rs"]
mod tests;
