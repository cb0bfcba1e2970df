//! What may be given as `--database`, and how it ends otherwise.

use crate::harness::{OTHER_KIND, REMEDY, run};

#[test]
fn a_database_of_the_other_kind_is_refused_with_the_remedy() {
    for command in ["replay", "reconcile", "replay-worker"] {
        let ended = run(&[command, "--database", OTHER_KIND]);
        assert_eq!(ended.code, Some(64), "{ended:?}");
        assert!(ended.stderr.contains(REMEDY), "{ended:?}");
    }
}

#[cfg(not(feature = "postgres"))]
mod sqlite {
    use std::fs;

    use crate::harness::{Workspace, run, stewardship};

    const USER: &str = r#"{"op":"create_user","user_id":"u"}"#;

    #[test]
    fn a_file_that_is_no_database_is_told() {
        let workspace = Workspace::with_log("");
        fs::write(workspace.path("app.db"), "no database ".repeat(1000)).unwrap();
        let ended = workspace.replay();
        assert_eq!(ended.code, Some(70), "{ended:?}");
        assert!(ended.stderr.contains("app.db"), "{ended:?}");
    }

    #[test]
    fn reconciling_makes_no_database() {
        let workspace = Workspace::with_log("");
        let path = workspace.path("app.db");
        let name = path.display();
        for location in
            [name.to_string(), format!("sqlite://{name}"), format!("sqlite:{name}?mode=rwc")]
        {
            let ended = run(&["reconcile", "--database", &location]);
            assert_eq!(ended.code, Some(70), "{ended:?}");
            assert!(ended.stderr.contains("there is no database"), "{ended:?}");
        }
        assert!(!path.exists());
    }

    #[test]
    fn a_url_is_the_file_that_it_names() {
        let workspace = Workspace::with_lines(&[USER]);
        workspace.replay().assert_converged(0);
        let name = workspace.path("app.db").display().to_string();
        let escaped = name.replace("app.db", "app%2Edb");
        for location in [
            format!("sqlite://{name}"),
            format!("sqlite:{name}"),
            format!("sqlite:{name}?mode=rwc"),
            format!("sqlite:{escaped}"),
        ] {
            let ended = run(&["reconcile", "--database", &location]);
            assert_eq!(ended.code, Some(0), "{location}: {ended:?}");
        }
    }

    #[test]
    fn a_temporary_database_is_removed() {
        let workspace = Workspace::with_lines(&[USER]);
        let scratch = tempfile::tempdir().unwrap();
        let log = workspace.path("log.jsonl");
        let mut command = stewardship(&["replay", log.to_str().unwrap()]);
        let ended = command.env("TMPDIR", scratch.path()).output().unwrap();
        assert!(ended.status.success(), "{ended:?}");
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use crate::harness::{Workspace, run};

    #[test]
    fn a_database_must_be_given() {
        let ended = run(&["replay"]);
        assert_eq!(ended.code, Some(64), "{ended:?}");
        assert!(ended.stderr.contains("--database <URL>"), "{ended:?}");
    }

    #[test]
    fn a_database_that_does_not_exist_is_told() {
        let workspace = Workspace::with_log("");
        let url = workspace.database.location() + "_is_missing";
        let ended = run(&["replay", "--database", &url]);
        assert_eq!(ended.code, Some(70), "{ended:?}");
        assert!(ended.stderr.contains("_is_missing\" does not exist"), "{ended:?}");
    }

    #[test]
    fn a_value_that_the_database_does_not_take_is_a_refused_line() {
        let nul = r#"{"op":"create_user","user_id":"a\u0000b"}"#;
        let numbers: Vec<_> = (0..9_000).map(|n| (n * 7919 % 65_521).to_string()).collect();
        let long = numbers.concat(); // too long for an index, also when it is compressed
        let long = format!(r#"{{"op":"create_user","user_id":"{long}"}}"#);
        let workspace =
            Workspace::with_lines(&[nul, &long, r#"{"op":"create_user","user_id":"u"}"#]);
        let ended = workspace.replay();
        ended.assert_converged(2);
        assert_eq!(ended.number("lines refused"), 2);
        assert!(ended.stderr.contains("the database does not take a value"), "{ended:?}");
        assert_eq!(workspace.rows("SELECT id FROM users"), ["u"]);
    }
}
