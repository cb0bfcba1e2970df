//! Panics while claimed messages are looked at: nothing is held for ever, and the worker goes on.

use crate::broken_log::panic_at;
use crate::world::{Fleet, message, numbers};

#[tokio::test]
async fn message_at_which_a_look_panics_is_a_dead_letter_and_those_around_it_run() {
    let fleet = Fleet::start().await;
    let unknown = message("nobody.knows", "[[],{},{}]").to_string();
    let (first, last) = (fleet.order(1).to_string(), fleet.order(2).to_string());
    fleet.push(&[first.as_bytes(), unknown.as_bytes(), last.as_bytes()]).await;
    let _guard = panic_at("message put back for others");
    assert_eq!(fleet.take().await, [1, 2]);
    assert_eq!(fleet.places().await, (0, 0, 0));
    let letters = fleet.dead_letters().await;
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    let error = &letter.attempts.last().expect("it says why").error;
    for part in ["panicked", "the log is broken", "report"] {
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(*letter.payload, *unknown);
}

#[tokio::test]
async fn claim_that_panics_gives_back_what_it_took() {
    let fleet = Fleet::start().await;
    let unknown = message("nobody.knows", "[[],{},{}]").to_string();
    let (first, second) = (fleet.order(1).to_string(), fleet.order(2).to_string());
    // It looks again for what it puts aside, and panics then.
    fleet.push(&[unknown.as_bytes(), unknown.as_bytes(), first.as_bytes()]).await;
    fleet.push(&[second.as_bytes(), b"not JSON"]).await;
    let guard = panic_at("a message that is not JSON was found");
    fleet.claim(3).await.unwrap_err();
    drop(guard);
    assert_eq!(fleet.places().await, (0, 4, 4));
    let leases = fleet.claim(10).await.unwrap();
    assert_eq!(numbers(&leases), [1, 2]);
    assert_eq!(fleet.dead_letters().await.len(), 1);
}
