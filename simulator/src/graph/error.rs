//! Meta's errors.

use super::Reply;
use serde_json::{Value, json};

/// An error as the Graph API tells it.
#[derive(Debug)]
pub(crate) struct GraphError {
    status: u16,
    code: u32,
    subcode: Option<u32>,
    kind: &'static str,
    message: String,
    details: Option<String>,
    /// What the API's user may be shown: a title and a message.
    shown: Option<(&'static str, String)>,
}

impl GraphError {
    /// An error of the WhatsApp API, whose message begins with its code.
    pub(crate) fn coded(code: u32, message: &str) -> Self {
        Self {
            status: 400,
            code,
            subcode: None,
            kind: "OAuthException",
            message: format!("(#{code}) {message}"),
            details: None,
            shown: None,
        }
    }

    /// What exactly was wrong.
    pub(crate) fn details(mut self, details: impl Into<String>) -> Self {
        self.details = Some(details.into());
        self
    }

    /// A template that cannot be made so: Meta says why under a subcode, for people.
    pub(crate) fn template(subcode: u32, title: &'static str, message: impl Into<String>) -> Self {
        Self {
            subcode: Some(subcode),
            shown: Some((title, message.into())),
            message: "Invalid parameter".to_owned(),
            ..Self::coded(100, "")
        }
    }

    /// With another HTTP status than 400.
    pub(crate) fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// A parameter is missing or makes no sense.
    pub(crate) fn parameter(details: impl Into<String>) -> Self {
        Self::coded(100, "Invalid parameter").details(details)
    }

    /// No token, or one that is not good any more.
    pub(crate) fn token() -> Self {
        Self {
            status: 401,
            code: 190,
            subcode: None,
            kind: "OAuthException",
            message: "The access token is missing, unknown or no longer valid".to_owned(),
            details: None,
            shown: None,
        }
    }

    /// There is no such object, or it is none of the caller's business.
    pub(crate) fn unknown(method: &str, id: &str) -> Self {
        Self {
            status: 400,
            code: 100,
            subcode: Some(33),
            kind: "GraphMethodException",
            message: format!(
                "Unsupported {} request. There is no object with the id '{id}', or this token may not reach it, or it \
                 does not support this operation",
                method.to_ascii_lowercase()
            ),
            details: None,
            shown: None,
        }
    }

    pub(crate) fn into_reply(self) -> Reply {
        let mut error = json!({
            "message": self.message, "type": self.kind, "code": self.code,
            "fbtrace_id": format!("A{}", hex::encode(rand::random::<[u8; 8]>())),
        });
        if let Some(subcode) = self.subcode {
            error["error_subcode"] = json!(subcode);
        }
        if let Some((title, message)) = self.shown {
            error["is_transient"] = json!(false);
            error["error_user_title"] = json!(title);
            error["error_user_msg"] = json!(message);
        }
        if let Some(details) = self.details {
            error["error_data"] = json!({ "messaging_product": "whatsapp", "details": details });
        }
        let body: Value = json!({ "error": error });
        Reply { status: self.status, ..Reply::json(&body) }
    }
}

impl From<crate::world::Refusal> for GraphError {
    fn from(refusal: crate::world::Refusal) -> Self {
        Self::coded(2, "Service temporarily unavailable").details(refusal.0).status(503)
    }
}
