//! Ids: UUIDv7 inside, monotonic in order of making; outside a readable prefix and 32 hexadecimal digits, opaque.

use entity::{
    ApiKeyId, BlobId, ClientId, ContactId, ConversationId, InboundId, LaneEntryId, MediaId, MessageId,
    OnboardingId, PartnerId, TemplateId, WebhookDeliveryId, WebhookEndpointId, WebhookReplayId,
};
use uuid::Uuid;
use uuid::fmt::Simple;

/// An id with a place in the API.
pub trait PublicId: Sized + Copy {
    /// Such as `msg`.
    const PREFIX: &'static str;

    /// From the bare id.
    fn from_uuid(id: Uuid) -> Self;

    /// The bare id.
    fn uuid(self) -> Uuid;

    /// A new one, greater than all made before in this process.
    fn generate() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the one place that makes ids")]
        Self::from_uuid(Uuid::now_v7())
    }

    /// As callers see it.
    fn public(self) -> String {
        let digits = &mut [0; Simple::LENGTH];
        [Self::PREFIX, "_", self.uuid().simple().encode_lower(digits)].concat()
    }

    /// From what a caller gave; none if it is not an id of this kind.
    fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(Self::PREFIX)?.strip_prefix('_')?;
        (digits.len() == 32).then(|| Uuid::try_parse(digits).ok().map(Self::from_uuid)).flatten()
    }
}

macro_rules! public_id {
    ($($id:ident = $prefix:literal),+ $(,)?) => {
        $(impl PublicId for $id {
            const PREFIX: &'static str = $prefix;

            fn from_uuid(id: Uuid) -> Self {
                Self(id)
            }

            fn uuid(self) -> Uuid {
                self.0
            }
        })+
    };
}

public_id!(
    PartnerId = "prt",
    ApiKeyId = "key",
    ClientId = "cli",
    OnboardingId = "onb",
    ContactId = "con",
    ConversationId = "cnv",
    MessageId = "msg",
    TemplateId = "tpl",
    InboundId = "inb",
    LaneEntryId = "lan",
    MediaId = "med",
    BlobId = "blb",
    WebhookEndpointId = "whe",
    WebhookDeliveryId = "whd",
    WebhookReplayId = "whr",
);

/// An entry of a partner's stream, as callers see it: `evt_`, the partner's 32 hexadecimal digits, the position's 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EventId {
    /// Whose stream.
    pub partner: PartnerId,
    /// Its place there.
    pub position: i64,
}

impl EventId {
    /// What its text begins with.
    pub const PREFIX: &'static str = "evt";

    /// As callers see it.
    pub fn public(self) -> String {
        format!("{}_{}{:016x}", Self::PREFIX, self.partner.0.simple(), self.position)
    }

    /// From what a caller gave; none if it is not the id of an event.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(Self::PREFIX)?.strip_prefix('_')?;
        if digits.len() != 48 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let (partner, position) = digits.split_at_checked(32)?;
        Some(Self {
            partner: PartnerId(Uuid::try_parse(partner).ok()?),
            position: i64::from_str_radix(position, 16).ok().filter(|position| *position > 0)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_id_comes_back_whole() {
        let id = EventId { partner: PartnerId(Uuid::from_u128(7)), position: 4096 };
        let text = id.public();
        assert_eq!(text, "evt_000000000000000000000000000000070000000000001000");
        assert_eq!(EventId::parse(&text), Some(id));
    }

    #[test]
    fn what_is_not_an_event_id_is_none() {
        let zeros = "0".repeat(48);
        let ends = "f".repeat(48);
        for text in
            ["", "evt_", "evt_1", &format!("evt_{zeros}"), &format!("evt_{ends}"), &format!("msg_{zeros}")]
        {
            assert_eq!(EventId::parse(text), None, "{text}");
        }
        assert_eq!(EventId::parse(&format!("evt_{}é", "0".repeat(46))), None);
    }
}
