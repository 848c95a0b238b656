//! One newtype per table: an id of one kind cannot be passed for another.

use sea_orm::DeriveValueType;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, DeriveValueType,
        )]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl sea_orm::TryFromU64 for $name {
            fn try_from_u64(_: u64) -> Result<Self, sea_orm::DbErr> {
                Err(sea_orm::DbErr::ConvertFromU64(stringify!($name)))
            }
        }
    };
}

id!(/** A tenant. */ PartnerId);
id!(/** An API key. */ ApiKeyId);
id!(/** A business number. */ ClientId);
id!(/** A journey from link to connected number. */ OnboardingId);
id!(/** A person, as one client knows them. */ ContactId);
id!(/** One client with one contact. */ ConversationId);
id!(/** A message. */ MessageId);
id!(/** A template. */ TemplateId);
id!(/** A raw webhook body. */ InboundId);
id!(/** A file of a client. */ MediaId);
id!(/** Bytes in the store of files. */ BlobId);
id!(/** Something that waits to be sent: a message's own id, or one of its own. */ LaneEntryId);
id!(/** A partner's webhook receiver. */ WebhookEndpointId);
id!(/** One event for one webhook receiver. */ WebhookDeliveryId);
id!(/** A part of the stream that a webhook receiver gets once more. */ WebhookReplayId);
