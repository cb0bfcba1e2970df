//! Messages to be bent.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use events_core::{EventId, Task, TaskId, Timestamp};
use serde_json::{Value, json};

/// What Celery 5.7 sent for `apply_async(args=[{…}, "0192f0c1-…"], queue="fides")`.
pub(crate) const CAPTURED: &str = r#"{"body": "W1t7Im5hbWUiOiAicGluZyIsICJjb3VudCI6IDMsICJhdCI6ICIyMDI2LTAxLTAyVDAzOjA0OjA1WiJ9LCAiMDE5MmYwYzEtN2E1ZS03YzNhLTlkNGUtM2YxYjJhNmM1ZDRlIl0sIHt9LCB7ImNhbGxiYWNrcyI6IG51bGwsICJlcnJiYWNrcyI6IG51bGwsICJjaGFpbiI6IG51bGwsICJjaG9yZCI6IG51bGx9XQ==", "content-encoding": "utf-8", "content-type": "application/json", "headers": {"lang": "py", "task": "events.my_app.events.PingEvent.my_app.subscribers.ping_handler", "id": "930cc354-1f60-4956-bae5-ffffb26986be", "shadow": null, "eta": null, "expires": null, "group": null, "group_index": null, "retries": 0, "timelimit": [null, null], "root_id": "930cc354-1f60-4956-bae5-ffffb26986be", "parent_id": null, "argsrepr": "[{'name': 'ping', 'count': 3, 'at': '2026-01-02T03:04:05Z'}, '0192f0c1-7a5e-7c3a-9d4e-3f1b2a6c5d4e']", "kwargsrepr": "{}", "origin": "gen14844@vm", "ignore_result": false, "replaced_task_nesting": 0, "stamped_headers": null, "stamps": {}}, "properties": {"correlation_id": "930cc354-1f60-4956-bae5-ffffb26986be", "reply_to": "a153e0b2-58c6-3a9b-b474-eee244d1f40f", "delivery_mode": 2, "delivery_info": {"exchange": "", "routing_key": "fides"}, "priority": 0, "body_encoding": "base64", "delivery_tag": "3ac9c12d-8168-4d02-a866-f48adad00016"}}"#;

/// The same with a body of three elements in base64.
pub(crate) fn with_body(body: &str) -> Value {
    let mut message: Value = serde_json::from_str(CAPTURED).unwrap();
    message["body"] = BASE64_STANDARD.encode(body).into();
    message
}

/// The same with one header more.
pub(crate) fn with_header(name: &str, value: Value) -> String {
    let mut message: Value = serde_json::from_str(CAPTURED).unwrap();
    message["headers"][name] = value;
    message.to_string()
}

/// A message of `task_protocol = 1`.
pub(crate) fn version_1(fields: &Value) -> Value {
    let mut body = json!({
        "task": "old.task", "id": "930cc354-1f60-4956-bae5-ffffb26986be", "args": [], "kwargs": {},
        "retries": 0, "eta": null, "expires": null, "utc": true, "callbacks": null,
        "errbacks": null, "timelimit": [null, null], "taskset": null, "chord": null,
    });
    for (name, value) in fields.as_object().unwrap() {
        body[name] = value.clone();
    }
    let mut message = with_body(&body.to_string());
    message["headers"] = json!({});
    message
}

pub(crate) fn task(payload: &str) -> Task {
    Task {
        id: TaskId::from_bytes([7; 16]),
        event_id: EventId::from_bytes([8; 16]),
        event: "shop.order_placed".into(),
        name: "events.shop.OrderPlaced.shop.mail".into(),
        queue: "mail".into(),
        priority: 0,
        payload: payload.into(),
        headers: events_core::task::Headers::new(),
        published_at: Timestamp::from_micros(1_767_355_200_000_000),
        due_at: Timestamp::from_micros(1_767_355_200_000_000),
        debounce: None,
    }
}
