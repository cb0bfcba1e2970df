//! What is written as a line is read back as the same change.

use stewardship::change_log::{Change, parse};
use stewardship::generate::Plan;

#[test]
fn every_generated_line_is_read_as_what_it_was_made_of() {
    let plan = Plan { lines: 3_000, ..Plan::default() };
    let mut transactions = 0;
    for change in plan.changes().unwrap() {
        assert_eq!(parse(change.to_line().as_bytes()), Ok(change.clone()));
        transactions += u32::from(matches!(change, Change::Many(_)));
    }
    assert!(transactions > 0);
}
