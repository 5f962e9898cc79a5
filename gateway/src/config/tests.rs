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
        (["--storage", "s3"], "local folder only"),
        (["--storage", "tape"], "no kind of storage"),
        (["--database-url", "sqlite://a?mode=ro&key=hush"], "without parameters"),
        (["--database-url", "mysql://u:hush@h/d"], "sqlite://<path>"),
        (["--root-access-key", "KEY"], "belong together"),
        (["--admin-token", "short"], "8 to 256"),
        (["--log-level", "loud"], "none of off"),
        (["--buffer-budget-bytes", "1"], "at least"),
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
