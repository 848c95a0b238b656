//! How a call can fail. What matters is whether something may have happened: only then is a send not repeated.

use serde_json::Value;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No connection was made: nothing can have happened.
    #[error("WhatsApp cannot be reached")]
    NotConnected(#[source] anyhow::Error),
    /// Meta's own error body: it understood, and did not do it.
    #[error("{0}")]
    Refused(GraphError),
    /// A time-out, a reset, a bare 5xx, nonsense: it happened, or it did not.
    #[error("it is not known whether WhatsApp did it: {0}")]
    Unclear(String),
}

impl CallError {
    /// Whether the same call may be made again: nothing happened, and next time it can be otherwise.
    pub fn is_retryable(&self) -> bool {
        match self {
            CallError::NotConnected(_) => true,
            CallError::Refused(error) => error.is_retryable(),
            CallError::Unclear(_) => false,
        }
    }

    /// Meta's error, if it answered with one.
    pub fn refusal(&self) -> Option<&GraphError> {
        match self {
            CallError::Refused(error) => Some(error),
            CallError::NotConnected(_) | CallError::Unclear(_) => None,
        }
    }
}

/// An error body of the Graph API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphError {
    /// What to decide by.
    pub code: i64,
    /// Finer, where given.
    pub subcode: Option<i64>,
    /// The title.
    pub message: String,
    /// `error_data.details`, the part worth reading.
    pub details: Option<String>,
    /// The HTTP status; decides nothing.
    pub status: u16,
}

impl std::fmt::Display for GraphError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WhatsApp answers {}: {}", self.code, self.message)?;
        match &self.details {
            Some(details) => write!(f, " ({details})"),
            None => Ok(()),
        }
    }
}

/// What an error asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The token is no good: stop this number, reconnect.
    Token,
    /// The account or number is locked, unpaid or gone: stop, tell the business.
    Account,
    /// Nothing happened; try again later.
    Retry,
    /// Nothing happened; try again later, and slower.
    SlowDown,
    /// More than 24 hours since the customer's last message.
    Window,
    /// This person cannot be reached, now or ever.
    Recipient,
    /// What was sent makes no sense to WhatsApp.
    Request,
    /// The file cannot be fetched or used.
    Media,
    /// The template is missing, unapproved, paused, or does not fit.
    Template,
    /// An import was asked for already, too late, or is declined.
    Sync,
    /// Anything else: not known to be passing, so it is final.
    Other,
}

/// More messages to one recipient than WhatsApp allows.
pub const PAIR_LIMIT: i64 = 131_056;
/// More than 24 hours since the customer's last message.
pub const WINDOW_CLOSED: i64 = 131_047;
/// The person stopped marketing messages.
pub const MARKETING_STOPPED: i64 = 131_050;
/// The import was asked for already: for the asker, a success.
pub const SYNC_ALREADY_REQUESTED: i64 = 2_593_107;
/// More than 24 hours since the connection.
pub const SYNC_DEADLINE_PASSED: i64 = 2_593_108;
/// The client does not share its history.
pub const SYNC_DECLINED: i64 = 2_593_109;

impl Class {
    /// The one table of Meta's codes.
    pub fn of(code: i64, subcode: Option<i64>) -> Self {
        if subcode.is_some_and(|subcode| (SYNC_ALREADY_REQUESTED..=SYNC_DECLINED).contains(&subcode)) {
            return Class::Sync;
        }
        match code {
            // Unknown number or one that this token does not reach. As a send's answer that is not about the message.
            100 if subcode == Some(33) => Class::Account,
            0 | 3 | 10 | 190 | 200..=299 | 131_005 => Class::Token,
            33 | 368 | 130_497 | 131_031 | 131_042 | 133_010 => Class::Account,
            1 | 2 | 131_000 | 131_016 | 131_057 | 133_004 => Class::Retry,
            4 | 80_007 | 130_429 | PAIR_LIMIT | 131_048 => Class::SlowDown,
            WINDOW_CLOSED => Class::Window,
            130_472 | 131_021 | 131_026 | 131_030 | 131_049 | MARKETING_STOPPED | 131_062 => Class::Recipient,
            100 | 131_008 | 131_009 | 131_051 | 135_000 => Class::Request,
            131_052 | 131_053 => Class::Media,
            132_000..=132_099 => Class::Template,
            SYNC_ALREADY_REQUESTED..=SYNC_DECLINED => Class::Sync,
            _ => Class::Other,
        }
    }
}

impl GraphError {
    /// Reads an answer's body; none if it is not Meta's error shape with a code.
    pub fn read(status: u16, body: &Value) -> Option<Self> {
        let error = body.get("error")?;
        let text = |value: Option<&Value>| {
            value.and_then(Value::as_str).filter(|t| !t.is_empty()).map(|t| t.replace('\0', ""))
        };
        let details =
            error.get("error_data").and_then(|data| text(data.get("details")).or_else(|| text(Some(data))));
        Some(Self {
            code: number(error.get("code")?)?,
            subcode: error.get("error_subcode").and_then(number),
            message: text(error.get("message")).or_else(|| text(error.get("title"))).unwrap_or_default(),
            details: details.or_else(|| text(error.get("error_user_msg"))),
            status,
        })
    }

    /// What it asks for.
    pub fn class(&self) -> Class {
        Class::of(self.code, self.subcode)
    }

    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self.class(), Class::Retry | Class::SlowDown)
    }

    /// Whether it is this code, which Meta writes as code or as subcode.
    pub fn is(&self, code: i64) -> bool {
        self.code == code || self.subcode == Some(code)
    }
}

fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_code_has_the_class_of_the_table() {
        let table: [(Class, &[i64]); 11] = [
            (Class::Token, &[0, 190, 3, 10, 200, 250, 299, 131_005]),
            (Class::Account, &[368, 131_031, 130_497, 131_042, 133_010, 33]),
            (Class::Retry, &[1, 2, 131_000, 131_016, 133_004, 131_057]),
            (Class::SlowDown, &[4, 80_007, 130_429, 131_056, 131_048]),
            (Class::Window, &[131_047]),
            (Class::Recipient, &[131_026, 131_021, 131_030, 130_472, 131_049, 131_050, 131_062]),
            (Class::Request, &[100, 131_008, 131_009, 135_000, 131_051]),
            (Class::Media, &[131_052, 131_053]),
            (
                Class::Template,
                &[132_000, 132_001, 132_005, 132_007, 132_012, 132_015, 132_016, 132_068, 132_069],
            ),
            (Class::Sync, &[2_593_107, 2_593_108, 2_593_109]),
            (Class::Other, &[-1, 5, 133_000, 133_016, 131_060, 999_999]),
        ];
        for (class, codes) in table {
            for code in codes {
                assert_eq!(Class::of(*code, None), class, "{code}");
            }
        }
        assert_eq!(Class::of(100, Some(33)), Class::Account);
        assert_eq!(Class::of(100, Some(2_593_107)), Class::Sync);
    }

    #[test]
    fn an_error_body_is_read_in_all_its_shapes() {
        let body = json!({ "error": { "message": "(#130429) Rate limit hit", "type": "OAuthException", "code": 130429,
            "error_data": { "messaging_product": "whatsapp", "details": "Too many" }, "fbtrace_id": "A1b2" } });
        let error = GraphError::read(400, &body).unwrap();
        assert_eq!((error.code, error.details.as_deref()), (130_429, Some("Too many")));
        assert!(error.is_retryable());
        let odd =
            json!({ "error": { "message": "x", "code": "190", "error_subcode": 463, "error_data": "why" } });
        let odd = GraphError::read(401, &odd).unwrap();
        assert_eq!((odd.code, odd.subcode, odd.details.as_deref()), (190, Some(463), Some("why")));
        for none in
            [json!({}), json!({ "error": "no" }), json!({ "error": { "message": "no code" } }), json!(null)]
        {
            assert_eq!(GraphError::read(500, &none), None, "{none}");
        }
    }
}
