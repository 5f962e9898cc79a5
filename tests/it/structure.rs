//! The shape of the house, read from its sources: what may know what, what comes in pairs, what must not be left behind.

use std::path::{Path, PathBuf};

use artifactstore_tests::command::workspace;

/// The files under a folder with one of these endings, build output and hidden folders left out.
fn files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())).flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if path.is_dir() && !name.starts_with('.') && !matches!(name.as_str(), "target" | "data") {
            found.extend(files(&path, endings));
        } else if path.is_file() && endings.iter().any(|ending| name.ends_with(ending)) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The lines of a file that are code: what stands behind `//` is not.
fn code(path: &Path) -> Vec<(usize, String)> {
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
    lines.map(|(number, line)| (number + 1, line.to_owned())).collect()
}

fn shown(path: &Path) -> String {
    path.strip_prefix(workspace()).unwrap_or(path).display().to_string()
}

/// Whether a line holds a word that is no part of a longer one.
fn names(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        !line[..at].chars().next_back().is_some_and(part) && !line[at + word.len()..].chars().next().is_some_and(part)
    })
}

/// Every place under a folder where a word is named, outside the files that may.
fn trespasses(folder: &str, words: &[&str], allowed: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for path in files(&workspace().join(folder), &[".rs"]) {
        if allowed.contains(&shown(&path).as_str()) {
            continue;
        }
        for (number, line) in code(&path) {
            let hits = words.iter().filter(|word| names(&line, word));
            found.extend(hits.map(|word| format!("{}:{number} names {word}", shown(&path))));
        }
    }
    found
}

#[test]
fn arrows_point_down_only() {
    let upward = [
        trespasses("backends/src", &["artifactstore_registry", "artifactstore_gateway", "sqlx", "s3s", "axum"], &[]),
        trespasses("registry/src", &["artifactstore_gateway", "s3s", "axum", "hyper"], &[]),
    ];
    assert_eq!(upward.concat(), Vec::<String>::new());
}

#[test]
fn nothing_leans_on_what_measures_it() {
    let folders = ["backends", "registry", "gateway", "tests/src", "examples"];
    let sources: Vec<String> =
        folders.iter().flat_map(|folder| trespasses(folder, &["artifactstore_bench"], &[])).collect();
    assert_eq!(sources, Vec::<String>::new());
    let declared: Vec<String> = files(&workspace(), &["Cargo.toml"])
        .iter()
        .filter(|path| !shown(path).starts_with("bench/"))
        .filter(|path| std::fs::read_to_string(path).unwrap().contains("artifactstore-bench"))
        .map(|path| shown(path))
        .collect();
    assert_eq!(declared, Vec::<String>::new());
}

#[test]
fn only_the_backends_over_it_name_opendal() {
    let operator = [
        "backends/src/operator.rs",
        "backends/src/bucket/mod.rs",
        "backends/src/bucket/fault.rs",
        "backends/src/bucket/transport.rs",
    ];
    let found = [
        trespasses("backends/src", &["opendal"], &operator),
        trespasses("registry/src", &["opendal"], &[]),
        trespasses("gateway/src", &["opendal"], &[]),
    ];
    assert_eq!(found.concat(), Vec::<String>::new());
}

#[test]
fn one_place_composes_the_program_of_its_concrete_parts() {
    let compose = ["gateway/src/compose.rs", "gateway/src/compose/storage.rs"];
    let concrete = ["SqliteStore", "PostgresStore", "OperatorBackend", "BucketBackend"];
    let found = trespasses("gateway/src", &concrete, &compose);
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn migrations_come_in_pairs() {
    let names = |dialect: &str| -> Vec<String> {
        let found = files(&workspace().join("migrations").join(dialect), &[".sql"]);
        found.iter().filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect()
    };
    let (sqlite, postgres) = (names("sqlite"), names("postgres"));
    assert!(!sqlite.is_empty());
    assert_eq!(sqlite, postgres);
}

#[test]
fn nothing_unfinished_is_marked_in_the_tree() {
    // Put together here, so that this file is not its own finding.
    let markers = [["TO", "DO"], ["FIX", "ME"], ["X", "XX"]].map(|parts| parts.concat());
    let mut found = Vec::new();
    for path in files(&workspace(), &[".rs", ".md", ".toml", ".py", ".sql", ".sh", "Makefile", "run", "setup"]) {
        let text = std::fs::read_to_string(&path).unwrap();
        for (number, line) in text.lines().enumerate() {
            let hits = markers.iter().filter(|marker| names(line, marker));
            found.extend(hits.map(|marker| format!("{}:{} {marker}", shown(&path), number + 1)));
        }
    }
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn no_source_file_has_outgrown_its_reader() {
    let long: Vec<String> = files(&workspace(), &[".rs", ".py"])
        .iter()
        .map(|path| (std::fs::read_to_string(path).unwrap().lines().count(), shown(path)))
        .filter(|(lines, _)| *lines > 600)
        .map(|(lines, path)| format!("{path}: {lines} lines"))
        .collect();
    assert_eq!(long, Vec::<String>::new());
}

#[test]
fn every_source_file_says_what_it_is() {
    let silent: Vec<String> = files(&workspace(), &[".rs"])
        .iter()
        .filter(|path| !std::fs::read_to_string(path).unwrap().starts_with("//!"))
        .map(|path| shown(path))
        .collect();
    assert_eq!(silent, Vec::<String>::new());
}
