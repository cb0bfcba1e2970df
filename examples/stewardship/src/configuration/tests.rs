use std::fs;

use tempfile::TempDir;

use super::*;

const TOKEN: (&str, &str) = ("STEWARDSHIP_TOKEN", "0123456789abcdef");

/// A database of the kind that the program is built for.
const DATABASE: &str =
    if cfg!(feature = "postgres") { "postgres://user@host/name" } else { "app.db" };

fn load(
    purpose: Purpose,
    flags: Flags,
    variables: &[(&str, &str)],
) -> Result<Configuration, ConfigurationError> {
    let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
    Configuration::load(purpose, flags, variables)
}

fn serve(variables: &[(&str, &str)]) -> Result<Configuration, ConfigurationError> {
    let given = [&[TOKEN, ("STEWARDSHIP_DATABASE", DATABASE)], variables].concat();
    load(Purpose::Serve, Flags::default(), &given)
}

/// A file of this text, and the flag that names it.
fn file(text: &str) -> (TempDir, Flags) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("stewardship.toml");
    fs::write(&path, text).unwrap();
    (directory, Flags { config: Some(path), ..Flags::default() })
}

/// That there is one mistake, in which all of these are said.
#[track_caller]
fn assert_told(loaded: Result<Configuration, ConfigurationError>, said: &[&str]) {
    let error = loaded.expect_err("it is a mistake");
    let [mistake] = error.mistakes() else { panic!("{error}") };
    let text = mistake.to_string();
    for said in said {
        assert!(text.contains(said), "`{said}` is not said: {text}");
    }
}

#[test]
fn what_is_not_configured_has_a_default() {
    let configuration = serve(&[]).unwrap();
    assert_eq!(configuration.listen.to_string(), "127.0.0.1:8080");
    assert!(configuration.worker);
    let every = |name: &str| configuration.events.reconcilers[name].every.unwrap();
    assert_eq!(every("steward_inheritance"), Duration::from_mins(15));
    assert_eq!(every("aggregate_statistics"), Duration::from_mins(15));
    assert_eq!(configuration.events.max_retries, settings::settings().max_retries);
    assert_eq!(configuration.log, Log { filter: LOG_FILTER.into(), format: LogFormat::Text });
}

#[test]
fn a_flag_wins_over_a_variable_and_a_variable_over_the_file() {
    let text = "listen = '127.0.0.1:1'\nworker = false\nshutdown_grace = '3s'
        token = 'the-token-of-the-file'\n[events]\nlease = '7s'\nmax_retries = 3";
    let (_directory, flags) = file(text);
    let flags = Flags { listen: Some("127.0.0.1:3".into()), ..flags };
    let variables = [
        ("STEWARDSHIP_DATABASE", DATABASE),
        ("STEWARDSHIP_LISTEN", "127.0.0.1:2"),
        ("STEWARDSHIP_WORKER", "true"),
        ("STEWARDSHIP_EVENTS__MAX_RETRIES", "5"),
    ];
    let configuration = load(Purpose::Serve, flags, &variables).unwrap();
    assert_eq!(configuration.listen.to_string(), "127.0.0.1:3");
    assert!(configuration.worker);
    assert_eq!(configuration.shutdown_grace, Duration::from_secs(3));
    assert_eq!(configuration.events.lease, Duration::from_secs(7));
    assert_eq!(configuration.events.max_retries, 5);
    assert!(configuration.tokens.scopes("the-token-of-the-file").is_some());
}

#[test]
fn sweeps_come_every_1_to_1440_minutes() {
    for (key, reconciler) in [
        ("inheritance_sweep_minutes", "steward_inheritance"),
        ("statistics_sweep_minutes", "aggregate_statistics"),
    ] {
        let variable = format!("STEWARDSHIP_{}", key.to_uppercase());
        for minutes in [1, 1440] {
            let configuration = serve(&[(&variable, &minutes.to_string())]).unwrap();
            let every = configuration.events.reconcilers[reconciler].every;
            assert_eq!(every, Some(Duration::from_mins(minutes)));
        }
        for refused in ["0", "1441", "-1", "15m", "1.5"] {
            assert_told(serve(&[(&variable, refused)]), &[key, &variable, "write 1 to 1440"]);
        }
    }
}

#[test]
fn the_cadence_is_not_set_past_its_bounds() {
    let variable = "STEWARDSHIP_EVENTS__RECONCILERS__STEWARD_INHERITANCE__EVERY";
    assert_told(serve(&[(variable, "1s")]), &[variable, "set `inheritance_sweep_minutes`"]);
}

#[test]
fn every_mistake_names_its_key_where_it_stands_and_what_to_write() {
    for (key, given, write) in [
        ("listen", "localhost", "127.0.0.1:8080"),
        ("worker", "perhaps", "write true or false"),
        ("shutdown_grace", "20", "a duration, such as"),
        ("statistics_stale_after", "soon", "a duration, such as"),
        ("log.format", "xml", "write \"text\" or \"json\""),
        ("log.filter", "info,=,", "what RUST_LOG takes"),
        ("token", "too short", "openssl rand -hex 32"),
        ("token", "not ascii, but with ö", "openssl rand -hex 32"),
        ("tokens", "0123456789abcdef", "scopes"),
        ("tokens", "[]", "scopes"),
        ("tokens", "[{ scopes = ['monitor:read'] }]", "`token` or `token_file`"),
        ("tokens", "[{ token = '0123456789abcdef' }]", "monitor_steward:update"),
        ("tokens", "[{ token = '0123456789abcdef', scopes = ['all'] }]", "its scope 1 is none"),
        (
            "tokens",
            "[{ token_file = '/no/such', scopes = ['monitor:read'] }]",
            "entry 1: its `token_file`",
        ),
        ("events.max_retries", "some", "u32"),
        ("events.lease", "1", "write it like \"30s\""),
        ("events.lease", "1ms", "give at least 100 ms"),
        ("events.no_such_key", "1", "no_such_key"),
        ("no_such_key", "1", "there is no such key"),
    ] {
        let variable = format!("STEWARDSHIP_{}", key.to_uppercase().replace('.', "__"));
        assert_told(serve(&[(&variable, given)]), &[&format!("`{key}`"), &variable, write]);
    }
}

#[test]
fn mistakes_in_the_file_name_the_file() {
    let (directory, flags) = file("inheritance_sweep_minutes = 0\n[events]\nlease = 3");
    let given = [TOKEN, ("STEWARDSHIP_DATABASE", DATABASE)];
    let error = load(Purpose::Serve, flags, &given).unwrap_err();
    let path = directory.path().join("stewardship.toml").display().to_string();
    let texts: Vec<_> = error.mistakes().iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 2, "all at once: {error}");
    assert!(texts.iter().all(|text| text.contains(&path)), "{error}");
    assert!(texts[0].starts_with("`inheritance_sweep_minutes`"), "{error}");
    assert!(texts[1].starts_with("`events.lease`"), "{error}");
}

#[test]
fn a_file_that_cannot_be_read_is_told_without_a_token_in_it() {
    let missing = Flags { config: Some("/no/such.toml".into()), ..Flags::default() };
    assert_told(load(Purpose::Serve, missing, &[]), &["/no/such.toml", "--config"]);
    let (_directory, flags) = file("listen = '127.0.0.1:1'\ntoken = 'a secret of mine");
    let error = load(Purpose::Serve, flags, &[]).unwrap_err().to_string();
    assert!(error.contains("stewardship.toml") && error.contains("in line 2"), "{error}");
    assert!(!error.contains("secret"), "{error}");
}

#[test]
fn no_mistake_shows_a_token() {
    for (variable, given) in [
        ("STEWARDSHIP_TOKEN", "secret"),
        ("STEWARDSHIP_TOKENS", "secret secret secret"),
        ("STEWARDSHIP_TOKENS", "[{ token = 'secret', scopes = ['monitor:read'] }]"),
        ("STEWARDSHIP_TOKENS", "[{ token = 'secret secret secret' }]"),
        ("STEWARDSHIP_TOKENS", "[{ token_file = '/secret', scopes = ['monitor:read'] }]"),
        ("STEWARDSHIP_TOKENS", "[{ secret = ['monitor:read'] }]"),
        ("STEWARDSHIP_TOKENS", "[{ token = 'monitor:read', scopes = ['secret'] }]"),
        ("STEWARDSHIP_TOKENS", "{ secret = ['monitor:read'] }"),
    ] {
        let error = serve(&[(variable, given)]).unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }
    for text in ["[tokens]\nsecret = ['monitor:read']", "[token]\nsecret = true"] {
        let (_directory, flags) = file(text);
        let error = load(Purpose::Serve, flags, &[("STEWARDSHIP_DATABASE", DATABASE)]);
        assert!(!error.as_ref().unwrap_err().to_string().contains("secret"), "{error:?}");
        assert_told(error, &["stewardship.toml", "it is a table"]);
    }
    let configuration = serve(&[("STEWARDSHIP_TOKEN", "secret-secret-secret")]).unwrap();
    assert!(!format!("{configuration:?}").contains("secret"));
}

#[test]
fn tokens_may_be_in_files_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    fs::write(&path, "0123456789abcdef-of-a-file\n").unwrap();
    let tokens = format!("[{{ token_file = {path:?}, scopes = ['organisation:read'] }}]");
    let tokens = serve(&[("STEWARDSHIP_TOKENS", &tokens)]).unwrap().tokens;
    let scopes = tokens.scopes("0123456789abcdef-of-a-file").unwrap();
    assert!(scopes.contains(crate::serve::authorization::Scope::OrganisationRead));
    assert!(!scopes.contains(crate::serve::authorization::Scope::OrganisationWrite));
}

#[test]
fn a_service_needs_a_token_and_a_worker_does_not() {
    let database = [("STEWARDSHIP_DATABASE", DATABASE)];
    let remedies = ["`token`", "STEWARDSHIP_TOKEN", "openssl rand -hex 32"];
    assert_told(load(Purpose::Serve, Flags::default(), &database), &remedies);
    load(Purpose::Work, Flags::default(), &database).unwrap();
}

#[test]
fn a_worker_is_told_its_database() {
    let told = ["`database`", "STEWARDSHIP_DATABASE"];
    assert_told(load(Purpose::Work, Flags::default(), &[]), &told);
}

#[test]
fn a_database_of_the_other_kind_is_refused() {
    let other = if cfg!(feature = "postgres") { "app.db" } else { "postgres://user@host/name" };
    let loaded = serve(&[("STEWARDSHIP_DATABASE", other)]);
    assert_told(loaded, &["`database`", "STEWARDSHIP_DATABASE", "--features postgres"]);
}

#[test]
fn what_an_orchestrator_sets_for_a_service_of_this_name_is_none_of_ours() {
    let kubernetes = [
        ("STEWARDSHIP_SERVICE_HOST", "10.0.0.1"),
        ("STEWARDSHIP_SERVICE_PORT", "8080"),
        ("STEWARDSHIP_PORT", "tcp://10.0.0.1:8080"),
        ("STEWARDSHIP_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("STEWARDSHIP_SERVICE_PORT_HTTP", "8080"),
        ("STEWARDSHIP_DB_SERVICE_HOST", "10.0.0.2"),
        ("STEWARDSHIP_DB_SERVICE_PORT", "5432"),
        ("STEWARDSHIP_DB_SERVICE_PORT_POSTGRES", "5432"),
        ("STEWARDSHIP_DB_PORT", "tcp://10.0.0.2:5432"),
        ("STEWARDSHIP_DB_PORT_5432_TCP", "tcp://10.0.0.2:5432"),
        ("STEWARDSHIP_DB_PORT_5432_UDP_PROTO", "udp"),
    ];
    serve(&kubernetes).unwrap();
    let ours = "STEWARDSHIP_DB_PORT_OF_MINE";
    assert_told(serve(&[(ours, "5432")]), &[ours, "there is no such key"]);
}

#[test]
fn log_lines_are_those_of_rust_log_unless_configured() {
    let filter = |variables: &[_]| serve(variables).unwrap().log.filter;
    assert_eq!(filter(&[("RUST_LOG", "debug")]), "debug");
    let both = [("RUST_LOG", "debug"), ("STEWARDSHIP_LOG__FILTER", "error")];
    assert_eq!(filter(&both), "error");
}
