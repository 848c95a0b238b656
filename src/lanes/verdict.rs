//! What an outcome of a send means: pure, so that every case can be read and tested here.

use entity::{Timestamp, lane_entry};

use super::backoff;
use crate::messages::errors::{Lesson, stops, unreadable_token};
use crate::upstream::change::ReportedError;
use crate::upstream::meta::client::{Accepted, CallError, Class, GraphError, PAIR_LIMIT, WINDOW_CLOSED};

/// What became of a send.
#[derive(Debug)]
pub(super) enum Outcome {
    /// WhatsApp took it.
    Accepted(Accepted),
    /// It failed, or nobody knows.
    Failed(CallError),
    /// It never left: the window closed before its turn came.
    Late {
        /// When the window closed; none: WhatsApp said that there is none.
        closed_at: Option<Timestamp>,
    },
    /// It never left: the token cannot be read.
    NoToken,
}

/// What to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is WhatsApp's now.
    Accepted(Accepted),
    /// Nothing happened: back to its place in the queue.
    Again {
        /// Seconds until then.
        after: i64,
        /// Whether the whole lane pauses a moment too.
        slows_lane: bool,
    },
    /// Nothing happened, and nothing will for this client until somebody does something: back, and the lane stops.
    Pause {
        /// For people: what WhatsApp says, and what to do.
        reason: String,
    },
    /// Final.
    Failed {
        /// As shown with the message.
        error: ReportedError,
        /// What it says of messages to come.
        lesson: Option<Lesson>,
    },
    /// It left, or not.
    Unknown {
        /// For the log.
        reason: String,
    },
}

impl Verdict {
    /// Reads an outcome.
    pub(super) fn of(entry: &lane_entry::Model, outcome: Outcome) -> Self {
        match outcome {
            Outcome::Accepted(accepted) => Verdict::Accepted(accepted),
            Outcome::Late { closed_at } => Verdict::Failed { error: late(closed_at), lesson: None },
            Outcome::NoToken => Verdict::Pause { reason: unreadable_token() },
            Outcome::Failed(CallError::NotConnected(_)) => {
                Verdict::Again { after: backoff::of_message(entry.attempts), slows_lane: true }
            }
            Outcome::Failed(CallError::Unclear(reason)) => Verdict::Unknown { reason },
            Outcome::Failed(CallError::Refused(error)) => Self::of_refusal(entry, error),
        }
    }

    fn of_refusal(entry: &lane_entry::Model, error: GraphError) -> Self {
        if let Some(reason) = stops(&error) {
            return Verdict::Pause { reason };
        }
        match error.class() {
            Class::Retry | Class::SlowDown if entry.attempts < backoff::MOST_REFUSALS => Verdict::Again {
                after: backoff::of_refusal(error.code, entry.attempts),
                slows_lane: error.class() == Class::SlowDown && error.code != PAIR_LIMIT,
            },
            Class::Token
            | Class::Account
            | Class::Retry
            | Class::SlowDown
            | Class::Window
            | Class::Recipient
            | Class::Request
            | Class::Media
            | Class::Template
            | Class::Sync
            | Class::Other => {
                let lesson = Lesson::of(error.code);
                let error = ReportedError { code: error.code, title: error.message, details: error.details };
                Verdict::Failed { error, lesson }
            }
        }
    }
}

/// Says what WhatsApp would have said.
fn late(closed_at: Option<Timestamp>) -> ReportedError {
    let when = match closed_at {
        Some(at) => {
            format!("the customer service window closed at {}", crate::clock::to_datetime(at).to_rfc3339())
        }
        None => "there is no open customer service window".to_owned(),
    };
    ReportedError {
        code: WINDOW_CLOSED,
        title: "Re-engagement message".to_owned(),
        details: Some(format!("WINDOW_CLOSED: {when}, before the message's turn came; nothing was sent")),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use entity::{ClientId, ConversationId, LaneEntryId, LaneEntryKind, MessageId, PartnerId};
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    fn entry(attempts: i32) -> lane_entry::Model {
        lane_entry::Model {
            id: LaneEntryId(Uuid::nil()),
            kind: LaneEntryKind::Message,
            message_id: MessageId(Uuid::nil()),
            client_id: ClientId(Uuid::nil()),
            partner_id: PartnerId(Uuid::nil()),
            conversation_id: ConversationId(Uuid::nil()),
            urgent: false,
            due_at: Timestamp(0),
            sending: true,
            fence: 1,
            attempts,
            not_before: Timestamp(0),
            request: json!({}),
            media_id: None,
        }
    }

    fn refused(code: i64, attempts: i32) -> Verdict {
        let error = GraphError { code, subcode: None, message: "m".into(), details: None, status: 400 };
        Verdict::of(&entry(attempts), Outcome::Failed(CallError::Refused(error)))
    }

    #[test]
    fn only_what_cannot_have_happened_is_tried_again() {
        let not_connected = Outcome::Failed(CallError::NotConnected(anyhow::anyhow!("refused")));
        assert_eq!(Verdict::of(&entry(3), not_connected), Verdict::Again { after: 8, slows_lane: true });
        let unclear = Outcome::Failed(CallError::Unclear("time-out".into()));
        assert_eq!(Verdict::of(&entry(0), unclear), Verdict::Unknown { reason: "time-out".into() });
        assert_eq!(refused(131_016, 1), Verdict::Again { after: 2, slows_lane: false });
        assert_eq!(refused(131_016, 60), refused(131_016, 61));
        assert!(matches!(refused(131_016, 60), Verdict::Failed { lesson: None, .. }));
    }

    #[test]
    fn limits_slow_the_lane_but_that_of_a_recipient_only_them() {
        assert_eq!(refused(130_429, 0), Verdict::Again { after: 1, slows_lane: true });
        assert_eq!(refused(131_056, 2), Verdict::Again { after: 16, slows_lane: false });
    }

    #[test]
    fn token_and_account_stop_the_lane_and_the_rest_is_final() {
        assert!(matches!(refused(190, 0), Verdict::Pause { .. }));
        assert!(matches!(refused(131_042, 0), Verdict::Pause { .. }));
        assert!(matches!(Verdict::of(&entry(0), Outcome::NoToken), Verdict::Pause { .. }));
        for (code, taught) in [
            (131_047, Some(Lesson::WindowClosed)),
            (131_050, Some(Lesson::MarketingStopped)),
            (132_001, Some(Lesson::TemplatesChanged)),
            (132_015, Some(Lesson::TemplatesChanged)),
            (131_026, None),
            (100, None),
            (131_053, None),
            (4711, None),
        ] {
            let Verdict::Failed { lesson, .. } = refused(code, 0) else { panic!("{code} is final") };
            assert_eq!(lesson, taught, "{code}");
        }
        let Verdict::Failed { error, .. } = Verdict::of(&entry(0), Outcome::Late { closed_at: None }) else {
            panic!("final");
        };
        assert_eq!(error.code, 131_047);
        assert!(error.details.unwrap().starts_with("WINDOW_CLOSED"));
    }
}
