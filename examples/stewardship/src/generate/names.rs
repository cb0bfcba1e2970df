//! What things are called in a plausible organisation.

const FIRST: [&str; 20] = [
    "ada", "amara", "bruno", "chen", "dalia", "edsger", "fatima", "grace", "hiro", "ines", "jonas",
    "katalin", "leila", "mateo", "nadia", "olga", "priya", "ravi", "sofia", "tomas",
];
const LAST: [&str; 20] = [
    "abe", "bauer", "costa", "diallo", "evans", "fischer", "garcia", "haddad", "ivanova", "jensen",
    "kim", "lopez", "moreau", "novak", "okafor", "patel", "rossi", "sato", "tanaka", "weber",
];
const DOMAINS: [&str; 15] = [
    "billing",
    "claims",
    "customers",
    "fraud",
    "hr",
    "inventory",
    "ledger",
    "logistics",
    "marketing",
    "orders",
    "payments",
    "pricing",
    "procurement",
    "risk",
    "sales",
];
const KINDS: [&str; 6] = ["api", "core", "crm", "erp", "lake", "warehouse"];
const REGIONS: [&str; 4] = ["apac", "emea", "latam", "na"];
const TECHNOLOGIES: [&str; 8] =
    ["bigquery", "db2", "kafka", "mysql", "oracle", "postgres", "redshift", "snowflake"];
const STAGES: [&str; 3] = ["prod", "reporting", "staging"];
const CHECKS: [&str; 6] = ["completeness", "drift", "freshness", "schema", "uniqueness", "volume"];

/// What monitors do.
pub(super) const OPERATION_TYPES: [&str; 9] = [
    "classify",
    "confirm",
    "monitor_execution",
    "monitor_execution",
    "monitor_execution",
    "mute",
    "promote",
    "review",
    "unmute",
];

/// Numbers beyond the combinations get a suffix.
fn numbered(name: String, round: usize) -> String {
    if round == 0 { name } else { format!("{name}-{}", round + 1) }
}

pub(super) fn user(number: usize) -> String {
    let (first, last) = (number % FIRST.len(), number / FIRST.len());
    // Shifted, so that namesakes do not come in blocks.
    let name = format!("{}.{}", FIRST[first], LAST[(last + first) % LAST.len()]);
    numbered(name, last / LAST.len())
}

pub(super) fn system(number: usize) -> String {
    let (domain, rest) = (number % DOMAINS.len(), number / DOMAINS.len());
    let (kind, rest) = (rest % KINDS.len(), rest / KINDS.len());
    let (region, round) = (rest % REGIONS.len(), rest / REGIONS.len());
    numbered(format!("{}-{}-{}", DOMAINS[domain], KINDS[kind], REGIONS[region]), round)
}

pub(super) fn connection(number: usize) -> String {
    let (technology, rest) = (number % TECHNOLOGIES.len(), number / TECHNOLOGIES.len());
    let (stage, round) = (rest % STAGES.len(), rest / STAGES.len());
    format!("{}-{}-{:02}", TECHNOLOGIES[technology], STAGES[stage], round + 1)
}

pub(super) fn monitor(number: usize) -> String {
    let (check, rest) = (number % CHECKS.len(), number / CHECKS.len());
    format!("{}.{}.{number:04}", CHECKS[check], DOMAINS[rest % DOMAINS.len()])
}
