//! What the pages say besides examples is checked here, as far as a program can.

use std::fs;
use std::path::{Path, PathBuf};

use events_core::Events;
use events_sqlx::SqliteQueue;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("docs/ is in the workspace")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files of this extension below a folder.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn pages() -> Vec<PathBuf> {
    let mut pages = files(&root().join("docs"), "md");
    pages.extend(files(&root().join("examples"), "md"));
    pages.extend(
        ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"]
            .map(|page| root().join(page)),
    );
    pages
}

/// The library's sources, as one text.
fn sources() -> String {
    ["events-celery", "events-core", "events-runtime", "events-sqlx"]
        .iter()
        .flat_map(|package| files(&root().join(package).join("src"), "rs"))
        .map(|path| read(&path))
        .collect()
}

/// The string literals of a call, from behind its opening parenthesis to the closing one.
fn literals(call: &str) -> Vec<String> {
    let (mut depth, mut found, mut characters) = (1, Vec::new(), call.chars().peekable());
    while let Some(character) = characters.next() {
        match character {
            '(' => depth += 1,
            ')' if depth == 1 => break,
            ')' => depth -= 1,
            '"' => {
                let mut text = String::new();
                while let Some(character) = characters.next() {
                    match character {
                        '"' => break,
                        '\\' if characters.next_if_eq(&'\n').is_some() => {
                            while characters.next_if(|next| next.is_whitespace()).is_some() {}
                        }
                        '\\' => text.extend(characters.next()),
                        other => text.push(other),
                    }
                }
                found.push(text);
            }
            _ => {}
        }
    }
    found
}

/// The texts of all warnings and errors that the library logs.
fn warnings(sources: &str) -> Vec<String> {
    let calls =
        ["tracing::warn!(", "tracing::error!(", "log_error(", "line!(warn,", "line!(error,"];
    // How rustfmt breaks the lines of a call must not matter.
    let sources = sources.split("line!(").map(str::trim_start).collect::<Vec<_>>().join("line!(");
    calls
        .iter()
        .flat_map(|call| sources.split(call).skip(1).flat_map(literals).collect::<Vec<_>>())
        .filter(|text| text.contains(' ') && !text.contains('{'))
        .collect()
}

#[test]
fn every_warning_is_explained_in_operations() {
    let page = read(&root().join("docs/guide/operations.md"));
    let warnings = warnings(&sources());
    assert!(warnings.len() > 25, "only {} warnings were found", warnings.len());
    let missing: Vec<_> =
        warnings.iter().filter(|warning| !page.contains(warning.as_str())).collect();
    assert!(missing.is_empty(), "explain these in docs/guide/operations.md: {missing:#?}");
}

#[test]
fn every_explained_warning_exists() {
    let page = read(&root().join("docs/guide/operations.md"));
    let lines = page.split("## Log lines").nth(1).and_then(|rest| rest.split("\n## ").next());
    let warnings = warnings(&sources());
    let rows = lines.expect("the section is there").lines().filter(|line| line.starts_with("| `"));
    for row in rows {
        let text = row.split(" | ").next().expect("a first column").trim_matches(['|', '`', ' ']);
        assert!(warnings.iter().any(|warning| warning == text), "nothing logs: {text}");
    }
}

#[tokio::test]
async fn sql_of_the_pages_runs_on_the_queues_tables() {
    let events = Events::builder().build().expect("nothing is wired wrongly");
    let folder = tempfile::tempdir().expect("a folder");
    let queue = SqliteQueue::open(folder.path().join("app.db"), &events).await.expect("it opens");
    let mut statements = 0;
    for page in files(&root().join("docs/guide"), "md") {
        for block in read(&page).split("```sql\n").skip(1) {
            let sql = block.split("```").next().expect("a block");
            let run =
                sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(queue.pool()).await;
            run.unwrap_or_else(|error| panic!("{}: {error}\n{sql}", page.display()));
            statements += 1;
        }
    }
    assert!(statements > 2, "the pages have SQL");
}

/// The anchor that a heading gets.
fn anchor(heading: &str) -> String {
    heading
        .trim_start_matches('#')
        .trim()
        .to_lowercase()
        .replace(' ', "-")
        .chars()
        .filter(|character| character.is_alphanumeric() || "-_".contains(*character))
        .collect()
}

#[test]
fn no_page_ends_a_program_at_ctrl_c_alone() {
    for page in pages() {
        let waits = read(&page).contains("ctrl_c");
        assert!(!waits, "{}: supervisors send SIGTERM; use shutdown_signal()", page.display());
    }
}

#[test]
fn links_of_the_pages_lead_somewhere() {
    for page in pages() {
        let text = read(&page);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.starts_with("http") || target.contains(char::is_whitespace) {
                continue;
            }
            let (path, heading) = target.split_once('#').unwrap_or((target, ""));
            let file = match path {
                "" => page.clone(),
                path => page.parent().expect("a folder").join(path),
            };
            assert!(file.exists(), "{} links to {target}, which is not there", page.display());
            let found = heading.is_empty()
                || read(&file).lines().any(|line| line.starts_with('#') && anchor(line) == heading);
            assert!(found, "{} links to {target}, which has no such heading", page.display());
        }
    }
}

#[test]
fn every_promise_of_the_readme_names_tests_that_exist() {
    let readme = read(&root().join("README.md"));
    let table = readme.split("## What is promised").nth(1).expect("the section is there");
    let promises: Vec<_> = table
        .lines()
        .skip_while(|line| !line.starts_with("|---"))
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .collect();
    assert!(promises.len() > 10, "the table has {} promises", promises.len());
    let tests: String = ["tests", "events-testing/src/contract", "events-sqlx/tests"]
        .iter()
        .flat_map(|folder| files(&root().join(folder), "rs"))
        .map(|path| read(&path))
        .collect();
    for promise in promises {
        let column = promise.rsplit(" | ").next().expect("a last column");
        let names: Vec<_> = column.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "nothing shows: {promise}");
        for name in names {
            let exists =
                ["()", "<"].iter().any(|after| tests.contains(&format!("fn {name}{after}")));
            assert!(exists, "no test is called {name}");
        }
    }
}
