//! What the documentation says of the gateway is what the sources say.

use std::collections::{BTreeMap, BTreeSet};

use artifactstore_tests::command::workspace;

fn read(path: &str) -> String {
    std::fs::read_to_string(workspace().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The S3 operations that the gateway answers by doing something: those of its dispatch table that are not answered with
/// the absence of a configuration.
fn implemented() -> BTreeSet<String> {
    let table = read("gateway/src/s3/mod.rs");
    let (_, table) = table.rsplit_once("operations! {").expect("the dispatch table");
    let entries = table.split(';').filter(|entry| entry.contains("=>") && !entry.contains("absent::"));
    entries.filter_map(|entry| Some(entry.split_once("Input")?.0.rsplit([' ', '\n']).next()?.to_owned())).collect()
}

/// The rows of the compatibility page: the operation, and what stands beside it.
fn documented() -> Vec<(String, String)> {
    let page = read("docs/s3-compatibility.md");
    let rows = page.lines().filter_map(|line| {
        let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
        Some((cells.next()?.trim_matches('`').to_owned(), cells.next()?.to_owned()))
    });
    rows.filter(|(name, _)| name.starts_with(char::is_uppercase) && name.chars().all(char::is_alphanumeric)).collect()
}

#[test]
fn the_compatibility_page_says_yes_to_exactly_what_is_implemented() {
    let rows = documented();
    let yes = |said: &str| said.trim_matches('*').to_lowercase().starts_with("yes");
    let promised: BTreeSet<String> = rows.iter().filter(|(_, said)| yes(said)).map(|(name, _)| name.clone()).collect();
    let real = implemented();
    assert!(real.len() >= 20, "the dispatch table was not read: {real:?}");
    let missing: Vec<_> = real.difference(&promised).collect();
    let invented: Vec<_> = promised.difference(&real).collect();
    assert!(missing.is_empty() && invented.is_empty(), "without a yes: {missing:?}; with one too many: {invented:?}");
}

#[test]
fn every_setting_is_in_the_operators_page() {
    let page = read("docs/operator.md");
    let sources = read("gateway/src/config/args.rs");
    let names: BTreeSet<&str> = sources.split('"').filter(|text| text.starts_with("ARTIFACTSTORE_")).collect();
    assert!(names.len() > 5, "the settings were not found in the sources");
    let missing: Vec<_> = names.iter().filter(|name| !page.contains(**name)).collect();
    assert!(missing.is_empty(), "docs/operator.md does not name {missing:?}");
}

#[test]
fn every_link_within_the_documentation_leads_somewhere() {
    let mut broken = Vec::new();
    let mut pages = vec![workspace().join("README.md")];
    let mut folders = vec![workspace().join("docs"), workspace().join("examples")];
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(&folder).unwrap().flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "md") {
                pages.push(path);
            }
        }
    }
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            let elsewhere = target.is_empty() || target.contains("://") || target.starts_with("mailto:");
            if !elsewhere && !page.parent().unwrap().join(target).exists() {
                broken.push(format!("{} -> {link}", page.display()));
            }
        }
    }
    assert_eq!(broken, Vec::<String>::new());
}

/// The client whose suite it is, as the compatibility page calls it. That of the AWS SDK for Rust is a program.
const SUITES: [(&str, &str); 10] = [
    ("aws_suite.py", "aws CLI"),
    ("aws2_suite.py", "aws CLI of Debian 12"),
    ("boto3_suite.py", "boto3"),
    ("boto3_short_suite.py", "boto3"),
    ("node_suite.cjs", "`@aws-sdk/client-s3`"),
    ("rust_sdk", "`aws-sdk-s3` (Rust)"),
    ("rclone_suite.py", "rclone"),
    ("s3cmd_suite.py", "s3cmd"),
    ("s5cmd_suite.py", "s5cmd"),
    ("restic_suite.py", "restic of Debian 12"),
];

#[test]
fn the_compatibility_page_names_every_client_and_each_is_tried_over_both_wires_and_behind_nginx() {
    let (page, tests) = (read("docs/s3-compatibility.md"), read("tests/it/clients.rs"));
    let mut scripts: Vec<String> = std::fs::read_dir(workspace().join("tests/clients"))
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.contains("_suite."))
        .collect();
    scripts.push("rust_sdk".to_owned());
    let mut tried: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for script in scripts {
        let client = SUITES.iter().find(|(name, _)| *name == script).map(|(_, client)| *client);
        let client = client.unwrap_or_else(|| panic!("{script} is not in the table of suites"));
        tried.entry(client).or_default();
        let own = tests.lines().filter(|line| line.contains(&script));
        for wire in ["HTTP", "TLS", "BUFFERED", "UNBUFFERED"] {
            let ends = [format!(" {wire};"), format!("({wire}).await;")];
            if own.clone().any(|line| ends.iter().any(|end| line.ends_with(end))) {
                tried.entry(client).or_default().insert(wire);
            }
        }
    }
    for (client, wires) in tried {
        let rows = page.lines().filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'));
        let row = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>()).find(|row| row[0] == client);
        let row = row.unwrap_or_else(|| panic!("docs/s3-compatibility.md does not name {client}"));
        assert!(wires.contains("HTTP") && wires.contains("TLS"), "{client} is tried over {wires:?} only");
        let buffers = match (wires.contains("BUFFERED"), wires.contains("UNBUFFERED")) {
            (true, true) => "on and off",
            (true, false) => "on",
            (false, true) => "off",
            (false, false) => panic!("{client} is not tried behind nginx"),
        };
        assert_eq!(row.last(), Some(&buffers), "what docs/s3-compatibility.md says of {client} behind nginx");
    }
}
