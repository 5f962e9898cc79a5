//! Which of a setting's values holds, and which are refused.

use clap::{Args, Command, FromArgMatches};

use super::{ConfigError, Database, LogFormat, SettingArgs, Settings};

fn flags(given: &[&str]) -> SettingArgs {
    let command = SettingArgs::augment_args(Command::new("test"));
    let matches = command.try_get_matches_from([&["test"], given].concat()).unwrap();
    SettingArgs::from_arg_matches(&matches).unwrap()
}

fn refusal(args: SettingArgs) -> String {
    Settings::resolve(args).unwrap_err().to_string()
}

#[test]
fn a_flag_holds_over_the_file_and_the_file_over_the_default() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.toml");
    std::fs::write(&file, "region = \"eu-north-1\"\ns3_listen = \"127.0.0.1:1\"\nlog_format = \"json\"\n").unwrap();
    let settings =
        Settings::resolve(flags(&["--config", file.to_str().unwrap(), "--s3-listen", "127.0.0.1:2"])).unwrap();
    assert_eq!(settings.s3_listen.port(), 2);
    assert_eq!(settings.region, "eu-north-1");
    assert_eq!(settings.log_format, LogFormat::Json);
    assert_eq!(settings.admin_listen.to_string(), "127.0.0.1:9001");
    assert_eq!(settings.storage_local_root, std::path::Path::new("data/objects"));
}

#[test]
fn every_setting_has_a_flag_a_variable_and_a_key_of_one_name() {
    let command = SettingArgs::augment_args(Command::new("test"));
    for argument in command.get_arguments().filter(|argument| argument.get_id() != "help") {
        let name = argument.get_id().as_str();
        assert_eq!(argument.get_long(), Some(name.replace('_', "-").as_str()));
        assert_eq!(argument.get_env().unwrap().to_str().unwrap(), format!("ARTIFACTSTORE_{}", name.to_uppercase()));
        assert!(argument.is_global_set(), "{name}");
        let unknown = toml::from_str::<SettingArgs>("no_such_key = 1").unwrap_err().to_string();
        assert!(name == "config" || unknown.contains(&format!("`{name}`")), "{name}: {unknown}");
    }
}

#[test]
fn an_unknown_key_is_refused_by_name_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.toml");
    std::fs::write(&file, "region = \"x\"\nadmin_tokn = \"hush-hush\"\n").unwrap();
    let refused = refusal(flags(&["--config", file.to_str().unwrap()]));
    assert!(refused.contains("line 2") && refused.contains("admin_tokn"), "{refused}");
    assert!(!refused.contains("hush") && !refused.contains('\n'), "{refused}");
    assert!(matches!(
        Settings::resolve(flags(&["--config", "/no/such/file"])).unwrap_err(),
        ConfigError::FileUnreadable { .. }
    ));
}

#[test]
fn what_this_version_cannot_do_is_refused_in_one_line() {
    for (given, words) in [
        (["--storage", "s3"], "storage_s3_endpoint"),
        (["--storage", "tape"], "no kind of storage"),
        (["--database-url", "sqlite://a?mode=ro&key=hush"], "without parameters"),
        (["--database-url", "mysql://u:hush@h/d"], "sqlite://<path>"),
        (["--root-access-key", "KEY"], "belong together"),
        (["--admin-token", "short"], "8 to 256"),
        (["--log-level", "loud"], "none of off"),
        (["--buffer-budget-bytes", "1"], "at least"),
        (["--lifecycle-day-seconds", "0"], "1 to 86400"),
        (["--lifecycle-day-seconds", "86401"], "1 to 86400"),
        (["--lifecycle-interval-seconds", "99999999"], "up to"),
    ] {
        let refused = refusal(flags(&given));
        assert!(refused.contains(words) && !refused.contains("hush") && !refused.contains('\n'), "{refused}");
    }
    assert!(Settings::resolve(flags(&["--log-level", "info,sqlx=warn"])).is_ok());
}

#[test]
fn a_database_is_a_file_or_a_server() {
    let database = |url: &str| Settings::resolve(flags(&["--database-url", url])).unwrap().database;
    assert_eq!(database("sqlite:///srv/registry.db"), Database::Sqlite("/srv/registry.db".into()));
    assert_eq!(database("sqlite:registry.db"), Database::Sqlite("registry.db".into()));
    for url in ["postgres://u:hush@h/d", "postgresql:///d?host=/run/postgresql"] {
        assert_eq!(database(url), Database::Postgres(url.into()));
    }
    let usual = Settings::resolve(flags(&["--data-dir", "/srv/data"])).unwrap().database;
    assert_eq!(usual, Database::Sqlite("/srv/data/registry.db".into()));
}

#[test]
fn secrets_are_not_shown() {
    let given = ["--admin-token", "hush-hush-hush", "--database-url", "postgres://u:hush@h/d"];
    let settings = Settings::resolve(flags(&given)).unwrap();
    assert!(!format!("{settings:?}").contains("hush"));
    assert!(!format!("{:?}", flags(&given)).contains("hush"));
}

fn bucket(more: &[&str]) -> Vec<String> {
    let given = ["--storage", "s3", "--storage-s3-endpoint", "http://127.0.0.1:7480/", "--storage-s3-bucket", "bytes"];
    let keys = ["--storage-s3-access-key", "AK", "--storage-s3-secret-key", "hush-hush"];
    let all = [&given[..], &keys, more].concat();
    all.into_iter().map(str::to_owned).collect()
}

fn settle(given: &[String]) -> Result<Settings, ConfigError> {
    Settings::resolve(flags(&given.iter().map(String::as_str).collect::<Vec<_>>()))
}

#[test]
fn s3_storage_has_defaults_and_keeps_its_secret_to_itself() {
    let settings = settle(&bucket(&["--storage-s3-prefix", "/a/b"])).unwrap();
    assert!(!format!("{settings:?}").contains("hush"));
    let s3 = settings.storage_s3.unwrap();
    assert_eq!((&*s3.endpoint, &*s3.prefix, &*s3.region), ("http://127.0.0.1:7480", "a/b/", "us-east-1"));
    assert_eq!((s3.concurrency, s3.timeout.as_secs(), s3.secret_key.expose()), (64, 30, "hush-hush"));
}

#[test]
fn the_secret_key_of_s3_storage_may_be_in_a_file_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, "from-the-file\n").unwrap();
    let mut given = bucket(&["--storage-s3-secret-key-file", file.to_str().unwrap()]);
    assert!(settle(&given).unwrap_err().to_string().contains("set one of them"));
    let at = given.iter().position(|flag| flag == "--storage-s3-secret-key").unwrap();
    given.drain(at..at + 2);
    assert_eq!(settle(&given).unwrap().storage_s3.unwrap().secret_key.expose(), "from-the-file");
    std::fs::remove_file(&file).unwrap();
    assert!(settle(&given).unwrap_err().to_string().contains("cannot be read"));
}

#[test]
fn what_s3_storage_cannot_be_is_refused_by_name() {
    for (flag, value, words) in [
        ("--storage-s3-endpoint", "ftp://store", "http://host:port"),
        ("--storage-s3-endpoint", "http://user:hush@store", "no user"),
        ("--storage-s3-endpoint", "store:7480", "http://host:port"),
        ("--storage-s3-endpoint", "http://store/path", "without a path"),
        ("--storage-s3-bucket", "a/b", "storage_s3_bucket"),
        ("--storage-s3-prefix", "a/../b", "storage_s3_prefix"),
        ("--storage-s3-concurrency", "0", "1 to 4096"),
        ("--storage-s3-timeout-seconds", "0", "1 to 3600"),
    ] {
        let mut given = bucket(&[]);
        if let Some(at) = given.iter().position(|known| known == flag) {
            given.drain(at..at + 2);
        }
        given.extend([flag.to_owned(), value.to_owned()]);
        let refused = settle(&given).unwrap_err().to_string();
        assert!(refused.contains(words) && !refused.contains("hush") && !refused.contains('\n'), "{refused}");
    }
}
