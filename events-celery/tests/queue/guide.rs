//! What the guide allows users of Redis, read from its page so that the two cannot drift apart.

const PAGE: &str = include_str!("../../../docs/guide/celery.md");

/// The commands of the page for this user, for `redis-cli`: the first makes it, the others add to it.
pub(crate) fn commands(user: &str) -> Vec<Vec<&'static str>> {
    let start = format!("ACL SETUSER {user} ");
    let lines = PAGE.lines().filter(|line| line.starts_with(&start));
    lines.map(|line| line.split(' ').collect()).collect()
}

/// What a command allows of Redis' own.
pub(crate) fn allowed<S: AsRef<str>>(command: &[S]) -> Vec<&str> {
    command.iter().filter_map(|word| word.as_ref().strip_prefix('+')).collect()
}
