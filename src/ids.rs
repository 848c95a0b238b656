//! Ids: UUIDv7 inside, monotonic in order of making; outside a readable prefix and 32 hexadecimal digits, opaque.

use entity::{
    ApiKeyId, ClientId, ContactId, ConversationId, InboundId, LaneEntryId, MessageId, OnboardingId, PartnerId,
};
use uuid::Uuid;

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
        format!("{}_{}", Self::PREFIX, self.uuid().simple())
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
    InboundId = "inb",
    LaneEntryId = "lan",
);
