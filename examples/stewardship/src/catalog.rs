//! What is linked in: who publishes what, who listens, and whether that fits.

use std::fmt::Write;

use events_core::Registry;
use events_core::catalog::{Catalog, CatalogEvent};

use crate::settings;

/// The catalog of a registry under this application's settings.
#[must_use]
pub fn of(registry: &Registry) -> Catalog {
    Catalog::of(registry, &settings::settings())
}

/// The catalog as JSON.
///
/// # Panics
/// Never: a catalog is texts and numbers.
#[must_use]
pub fn json(catalog: &Catalog) -> String {
    serde_json::to_string_pretty(catalog).expect("texts and numbers are JSON") + "\n"
}

/// The catalog as tables.
#[must_use]
pub fn text(catalog: &Catalog) -> String {
    let mut out = String::new();
    section(&mut out, "EVENTS", &["event", "fields"], catalog.events.iter().map(fields));
    let publishers = catalog.events.iter().flat_map(|event| {
        event.publishers.iter().map(|publisher| {
            vec![short(event), publisher.function.to_owned(), publisher.location.clone()]
        })
    });
    section(&mut out, "PUBLISHERS", &["event", "function", "declared at"], publishers);
    section(
        &mut out,
        "SUBSCRIBERS",
        &["event", "queue", "retries", "timeout", "transaction", "reconciled by", "task"],
        catalog.events.iter().flat_map(subscribers),
    );
    let reconcilers = catalog
        .reconcilers
        .iter()
        .map(|reconciler| vec![reconciler.name.to_owned(), reconciler.location.clone()]);
    section(&mut out, "RECONCILERS", &["reconciler", "declared at"], reconcilers);
    out.push_str("COVERAGE\n");
    if catalog.findings.is_empty() {
        out.push_str("  no findings: publishers and subscribers match\n");
    }
    for finding in &catalog.findings {
        let grade = if finding.error { "error" } else { "warning" };
        writeln!(out, "  {grade}: {}: {}", finding.kind, finding.text).ok(); // into a String
    }
    out
}

/// The type's name, where the full name stands elsewhere.
fn short(event: &CatalogEvent) -> String {
    event.name.rsplit('.').next().unwrap_or(event.name).to_owned()
}

fn fields(event: &CatalogEvent) -> Vec<String> {
    let fields = event.fields.iter().map(|field| {
        format!("{}: {}{}", field.name, field.kind, if field.optional { " or null" } else { "" })
    });
    vec![event.name.to_owned(), fields.collect::<Vec<_>>().join(", ")]
}

/// What another program decides.
fn nothing() -> String {
    "-".to_owned()
}

fn subscribers(event: &CatalogEvent) -> impl Iterator<Item = Vec<String>> {
    event.subscribers.iter().map(move |subscriber| {
        vec![
            short(event),
            subscriber.queue.clone(),
            subscriber.max_retries.map_or_else(nothing, |retries| retries.to_string()),
            subscriber.timeout_ms.map_or_else(nothing, |time| format!("{} s", time / 1000)),
            match (subscriber.foreign, subscriber.transactional) {
                (true, _) => "foreign",
                (false, true) => "yes",
                (false, false) => "no",
            }
            .to_owned(),
            subscriber.reconciled_by.unwrap_or("-").to_owned(),
            subscriber.task.to_owned(),
        ]
    })
}

/// A table, each column as wide as its widest cell.
fn section(
    out: &mut String,
    title: &str,
    columns: &[&str],
    rows: impl Iterator<Item = Vec<String>>,
) {
    let mut table = vec![columns.iter().map(|column| (*column).to_owned()).collect()];
    table.extend(rows);
    let widths: Vec<usize> = (0..columns.len())
        .map(|column| table.iter().map(|row: &Vec<String>| row[column].len()).max().unwrap_or(0))
        .collect();
    out.push_str(title);
    out.push('\n');
    for row in &table {
        let mut line = String::from(" ");
        for (cell, width) in row.iter().zip(&widths) {
            write!(line, " {cell:width$} ").ok(); // into a String
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out.push('\n');
}
