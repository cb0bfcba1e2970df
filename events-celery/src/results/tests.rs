use events_core::Timestamp;
use serde_json::json;

use super::{State, result};
use crate::message::Message;

const NOON: Timestamp = Timestamp::from_micros(1_767_355_200_500_000);

fn message(headers: &str) -> (Message, String) {
    let text = format!(
        r#"{{"body":"W1tdLHt9LG51bGxd","content-type":"application/json","headers":{{"id":"id-1","task":"a.b"{headers}}},"properties":{{"body_encoding":"base64"}}}}"#
    );
    (Message::read(&text).unwrap(), text)
}

#[test]
fn results_have_celerys_form() {
    let (message, text) = message("");
    assert_eq!(
        result(&message, &text, State::Success, NOON),
        json!({
            "status": "SUCCESS",
            "result": null,
            "traceback": null,
            "children": [],
            "date_done": "2026-01-02T12:00:00.500000+00:00",
            "task_id": "id-1",
        })
    );
    let failed = result(&message, &text, State::Failure("no luck"), NOON);
    assert_eq!(failed["status"], "FAILURE");
    assert_eq!(
        failed["result"],
        json!({"exc_type": "HandlerError", "exc_message": ["no luck"], "exc_module": "events"})
    );
    let revoked = result(&message, &text, State::Revoked("expired"), NOON);
    assert_eq!(revoked["result"]["exc_type"], "TaskRevokedError");
    assert_eq!(revoked["result"]["exc_module"], "celery.exceptions");
}

#[test]
fn what_is_tried_again_is_not_done() {
    let (message, text) = message("");
    let again = result(&message, &text, State::Retry("no luck"), NOON);
    assert_eq!((&again["status"], &again["date_done"]), (&json!("RETRY"), &json!(null)));
}

#[test]
fn results_tell_to_which_group_and_parent_they_belong() {
    let (message, text) = message(r#","group":"g","parent_id":"p""#);
    let result = result(&message, &text, State::Success, NOON);
    assert_eq!((&result["group_id"], &result["parent_id"]), (&json!("g"), &json!("p")));
}
