//! What travels beside tasks: kombu's envelope, with a body in base64.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};
use uuid::Uuid;

pub(super) type Fields = Map<String, Value>;

/// What is in an envelope.
#[derive(Debug, PartialEq)]
pub(super) struct Contents {
    pub(super) headers: Fields,
    pub(super) body: Value,
}

/// Puts a body into an envelope for this exchange and routing key.
pub(super) fn wrap(body: &Value, headers: &Value, exchange: &str, routing_key: &str) -> String {
    json!({
        "body": BASE64_STANDARD.encode(body.to_string()),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": headers,
        "properties": {
            "delivery_mode": 1,
            "delivery_info": {"exchange": exchange, "routing_key": routing_key},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": Uuid::now_v7().to_string(),
        },
    })
    .to_string()
}

/// Takes a body out of its envelope.
///
/// # Errors
/// It is none, with the reason.
pub(super) fn unwrap(text: &[u8]) -> Result<Contents, String> {
    let envelope: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let body = envelope["body"].as_str().ok_or("it has no `body` that is a text")?;
    let bytes = match envelope["properties"]["body_encoding"].as_str() {
        Some("base64") => BASE64_STANDARD.decode(body).map_err(|error| error.to_string())?,
        _ => body.as_bytes().to_vec(),
    };
    let body = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    let headers = envelope["headers"].as_object().cloned().unwrap_or_default();
    Ok(Contents { headers, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_wrapped_comes_out_again() {
        let body = json!({"rust@host": {"ok": "pong"}});
        let text = wrap(&body, &json!({"clock": 3}), "reply.celery.pidbox", "oid");
        let contents = unwrap(text.as_bytes()).unwrap();
        assert_eq!(contents.body, body);
        assert_eq!(contents.headers["clock"], 3);
    }

    #[test]
    fn what_is_no_envelope_is_refused_and_no_panic() {
        for text in [
            "",
            "[]",
            "{}",
            "null",
            r#"{"body":1}"#,
            r#"{"body":"!","properties":{"body_encoding":"base64"}}"#,
            r#"{"body":"e30","properties":{"body_encoding":"base64"}}"#,
            r#"{"body":"not json","headers":[]}"#,
        ] {
            assert!(unwrap(text.as_bytes()).is_err(), "{text}");
        }
        assert!(unwrap(&[0xff, 0xfe]).is_err());
    }
}
