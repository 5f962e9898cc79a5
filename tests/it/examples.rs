//! The examples for several gateways name what there is, and the programs that they are for understand them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use artifactstore_tests::command::workspace;

fn example(path: &str) -> PathBuf {
    workspace().join("examples/cluster").join(path)
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names of settings in a text.
fn settings(text: &str) -> BTreeSet<String> {
    let of_name = |c: &char| c.is_ascii_uppercase() || c.is_ascii_digit() || *c == '_';
    let word = |rest: &str| -> String { rest.chars().take_while(of_name).collect() };
    text.split("ARTIFACTSTORE_").skip(1).map(|rest| format!("ARTIFACTSTORE_{}", word(rest))).collect()
}

fn known() -> BTreeSet<String> {
    let known = settings(&read(&workspace().join("gateway/src/config/args.rs")));
    assert!(known.len() > 20, "the settings were not found in the sources: {known:?}");
    known
}

#[test]
fn the_examples_name_settings_that_exist_and_those_that_gateways_share() {
    let known = known();
    let shared =
        ["DATABASE_URL", "STORAGE", "STORAGE_S3_ENDPOINT", "STORAGE_S3_BUCKET", "ROOT_ACCESS_KEY", "ROOT_SECRET_KEY"];
    for path in ["compose.yaml", "systemd/gateway.env"] {
        let named = settings(&read(&example(path)));
        for setting in shared {
            assert!(named.contains(&format!("ARTIFACTSTORE_{setting}")), "{path} does not say {setting}");
        }
    }
    for path in
        ["compose.yaml", "run", "systemd/gateway.env", "systemd/gateway-1.env", "systemd/artifactstore@.service"]
    {
        let named = settings(&read(&example(path)));
        // A prefix that a program completes is none.
        let unknown: Vec<_> = named.difference(&known).filter(|name| !name.ends_with('_')).collect();
        assert!(unknown.is_empty(), "{path} names {unknown:?}");
    }
}

#[test]
fn every_line_of_the_compose_file_that_refers_to_something_finds_it() {
    let text = read(&example("compose.yaml"));
    let services: Vec<&str> = text
        .split("\nservices:\n")
        .nth(1)
        .unwrap()
        .split("\nvolumes:\n")
        .next()
        .unwrap()
        .lines()
        .filter_map(|line| line.strip_prefix("  ").filter(|rest| !rest.starts_with([' ', '#']))?.split(':').next())
        .filter(|name| !name.is_empty())
        .collect();
    assert_eq!(services, ["postgres", "ceph", "gateway-1", "gateway-2", "gateway-3", "nginx"]);
    for line in text.lines() {
        if let Some(file) = line.trim().strip_prefix("dockerfile: ") {
            assert!(workspace().join(file).is_file(), "{file}");
            let built = read(&workspace().join(file));
            let copied =
                built.lines().filter_map(|line| line.strip_prefix("COPY ")).filter(|rest| !rest.starts_with("--"));
            for source in copied.filter_map(|rest| rest.split(' ').next()) {
                assert!(workspace().join(source).exists(), "{file} copies {source}");
            }
        }
    }
    // Each variable that the services want is named where the reader looks for it.
    let head = text.split("\nx-gateway:").next().unwrap();
    for variable in text.split("${").skip(1).filter_map(|rest| rest.split([':', '}']).next()) {
        assert!(head.contains(variable), "the head of the file does not say that .env needs {variable}");
    }
    // What is replaced in the configuration of nginx is there.
    let nginx = read(&example("nginx.conf"));
    for replaced in
        text.split("s/").skip(1).filter_map(|rest| rest.split('/').next()).filter(|text| text.contains("127.0.0.1"))
    {
        assert!(nginx.contains(replaced), "nginx.conf has no {replaced:?}");
    }
}

#[test]
fn systemd_takes_the_unit() {
    let folder = tempfile::TempDir::new().unwrap();
    let unit = read(&example("systemd/artifactstore@.service"));
    let here = unit.replace("/usr/local/bin/artifactstore", "/bin/true");
    assert_ne!(unit, here, "the unit starts the program");
    let path = folder.path().join("artifactstore@1.service");
    std::fs::write(&path, here).unwrap();
    let Ok(verified) = Command::new("systemd-analyze").arg("verify").arg(&path).output() else {
        println!("FIGURE skipped: systemd-analyze is not here, and the unit was not checked");
        return;
    };
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    let about: Vec<&str> = said.lines().filter(|line| line.contains("artifactstore@1")).collect();
    assert!(about.is_empty(), "{said}");
}
