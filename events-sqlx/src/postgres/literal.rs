//! Values written into the text of a statement.
//!
//! A commit's tasks and its `COMMIT` travel in one message, which saves a round trip. Only the
//! simple query protocol can do that through sqlx, and it has no parameters. So texts are written
//! as `E'…'` literals, whose escapes do not depend on the server's settings. (PostgreSQL
//! documentation, 4.1.2.2 "String Constants with C-Style Escapes" and 8.15.2 "Array Value Input".)

/// Appends `text` as a literal.
pub(super) fn push_text(sql: &mut String, text: &str) {
    sql.push_str("E'");
    push_escaped(sql, text);
    sql.push('\'');
}

/// Appends texts as an array, `string_to_array(…)`: an expression that the server reads much faster
/// than an array literal, for texts that do not contain the separator.
pub(super) fn push_split<'t>(sql: &mut String, texts: impl Iterator<Item = &'t str>) {
    sql.push_str("string_to_array(E'");
    for (index, text) in texts.enumerate() {
        if index > 0 {
            sql.push(SEPARATOR);
        }
        push_escaped(sql, text);
    }
    sql.push_str("', E'\\x1e')");
}

/// The record separator of ASCII. JSON escapes it.
pub(super) const SEPARATOR: char = '\u{1e}';

fn push_escaped(sql: &mut String, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.find(['\'', '\\', '\0']) {
        let (plain, special) = rest.split_at(at);
        sql.push_str(plain);
        sql.push_str(match special.as_bytes()[0] {
            b'\'' => "''",
            b'\\' => "\\\\",
            // No text of PostgreSQL can hold it; in names, the only texts that are not JSON, it is
            // nobody's intent.
            _ => "\u{fffd}",
        });
        rest = &special[1..];
    }
    sql.push_str(rest);
}

/// Appends an array literal of texts; the cast to its type is the caller's.
pub(super) fn push_array<'t>(sql: &mut String, texts: impl Iterator<Item = &'t str>) {
    sql.push_str("E'{");
    for (index, text) in texts.enumerate() {
        if index > 0 {
            sql.push(',');
        }
        push_element(sql, text);
    }
    sql.push_str("}'");
}

/// Twice escaped: as an element of an array, and that as a literal.
fn push_element(sql: &mut String, text: &str) {
    sql.push('"');
    for character in text.chars() {
        match character {
            '"' => sql.push_str("\\\\\""),
            '\\' => sql.push_str("\\\\\\\\"),
            '\'' => sql.push_str("''"),
            '\0' => sql.push('\u{fffd}'),
            other => sql.push(other),
        }
    }
    sql.push('"');
}

#[cfg(test)]
mod tests {
    use sqlx::postgres::PgPoolOptions;

    use super::*;

    /// Everything that means something to a literal, an array, JSON or the wire.
    const TEXTS: [&str; 12] = [
        "",
        "'",
        "\\",
        "\"",
        "\\'; DROP TABLE x; --",
        "{\"a\":\"b\\\"c\\u0000\"}",
        "NULL",
        "{},{}",
        "$$ $1 ? :a",
        "\n\r\t\u{8}",
        "größer 🦀 \u{2028}",
        "E'x\\\\'",
    ];

    #[tokio::test(flavor = "multi_thread")]
    async fn every_text_arrives_as_it_was_whatever_the_server_makes_of_backslashes() {
        let database = private_postgres::Server::shared().create_database();
        let pool = PgPoolOptions::new().max_connections(1).connect(&database.url()).await.unwrap();
        let pairs = TEXTS.iter().flat_map(|a| TEXTS.iter().map(move |b| format!("{a}{b}")));
        let texts: Vec<String> = pairs.collect();
        for conforming in ["on", "off"] {
            let set = format!("SET standard_conforming_strings = {conforming}");
            sqlx::query(sqlx::AssertSqlSafe(set)).execute(&pool).await.unwrap();
            let mut sql = String::from("SELECT ");
            push_array(&mut sql, texts.iter().map(String::as_str));
            sql.push_str("::text[]");
            let array: Vec<String> =
                sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&pool).await.unwrap();
            assert_eq!(array, texts);
            let mut sql = String::from("SELECT ");
            push_split(&mut sql, texts.iter().map(String::as_str));
            let split: Vec<String> =
                sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&pool).await.unwrap();
            assert_eq!(split, texts);
            for text in &texts {
                let mut sql = String::from("SELECT ");
                push_text(&mut sql, text);
                let read: String =
                    sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&pool).await.unwrap();
                assert_eq!(&read, text);
            }
        }
    }

    #[test]
    fn what_no_text_of_postgresql_can_hold_is_replaced() {
        let mut sql = String::new();
        push_text(&mut sql, "a\0b");
        push_array(&mut sql, ["c\0d"].into_iter());
        assert_eq!(sql, "E'a\u{fffd}b'E'{\"c\u{fffd}d\"}'");
    }
}
