//! What the door's answers and inputs are made of.

use crate::engine::Engine;
use crate::number::Number;
use crate::world::chats::Writing;
use crate::world::choices::Choice;
use crate::world::media::WrittenFile;
use crate::world::message::{Device, MadeBy, Message};
use crate::world::people::Person;
use crate::world::phone::{AppKind, Phone};
use crate::world::templates::{Change, Template};
use crate::world::{self, PriceRules, Refusal, ReviewOutcome, Trouble};
use async_graphql::{
    Context, ID, InputObject, InputValueError, InputValueResult, Json, Object, Scalar, ScalarType,
    SimpleObject, Value,
};
use chrono::{DateTime, Utc};
use std::sync::Arc;

/// A phone number in E.164 with its plus, as `+4915120000001`. Input may carry spaces, dashes, dots and brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PhoneNumber(pub(crate) Number);

#[Scalar(name = "PhoneNumber")]
impl ScalarType for PhoneNumber {
    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::String(text) = &value else { return Err(InputValueError::expected_type(value)) };
        Number::parse(text).map(Self).ok_or_else(|| {
            InputValueError::custom(format!("{text:?} is no phone number; write it as +4915120000001"))
        })
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

/// The engine behind the door.
pub(crate) fn engine<'c>(ctx: &Context<'c>) -> async_graphql::Result<&'c Arc<Engine>> {
    ctx.data::<Arc<Engine>>()
}

pub(crate) fn instant(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap_or_default()
}

/// A business number with its phone.
pub(crate) struct PhoneNode(pub(crate) Number);

impl PhoneNode {
    fn look<T>(&self, ctx: &Context<'_>, look: impl FnOnce(&Phone) -> T) -> async_graphql::Result<T> {
        Ok(engine(ctx)?.read(|world| world.phone(self.0).map(look))?)
    }
}

/// A business number with its phone.
#[Object(name = "Phone")]
impl PhoneNode {
    /// The number.
    async fn phone_number(&self) -> PhoneNumber {
        PhoneNumber(self.0)
    }

    /// WhatsApp's id of the number, as webhooks and calls name it; the same before and after a signup.
    async fn phone_number_id(&self, ctx: &Context<'_>) -> async_graphql::Result<ID> {
        self.look(ctx, |phone| ID(phone.card.number_id.clone()))
    }

    /// WhatsApp's id of the account that holds the number.
    async fn waba_id(&self, ctx: &Context<'_>) -> async_graphql::Result<ID> {
        self.look(ctx, |phone| ID(phone.card.waba_id.clone()))
    }

    /// The name that customers see.
    async fn display_name(&self, ctx: &Context<'_>) -> async_graphql::Result<String> {
        self.look(ctx, |phone| phone.card.display_name.clone())
    }

    /// The words under the name.
    async fn about(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<String>> {
        self.look(ctx, |phone| phone.card.about.clone())
    }

    /// Which WhatsApp the number lives in.
    async fn app(&self, ctx: &Context<'_>) -> async_graphql::Result<AppKind> {
        self.look(ctx, |phone| phone.card.app)
    }

    /// The version of that app.
    async fn app_version(&self, ctx: &Context<'_>) -> async_graphql::Result<String> {
        self.look(ctx, |phone| phone.card.app_version.clone())
    }

    /// Whether a signup has connected the number to the API.
    async fn connected(&self, ctx: &Context<'_>) -> async_graphql::Result<bool> {
        self.look(ctx, |phone| phone.card.connected)
    }

    /// What the client chose at the signup; null while there is none.
    async fn shares_history(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<bool>> {
        self.look(ctx, |phone| phone.card.shares_history)
    }

    /// Whether chats can have disappearing messages: not while connected. Groups always can.
    async fn disappearing_messages(&self, ctx: &Context<'_>) -> async_graphql::Result<bool> {
        self.look(ctx, |phone| !phone.card.connected)
    }

    /// Whether chats can have view-once messages: not while connected. Groups always can.
    async fn view_once(&self, ctx: &Context<'_>) -> async_graphql::Result<bool> {
        self.look(ctx, |phone| !phone.card.connected)
    }

    /// The devices beside the phone. A completed signup unlinks them all.
    async fn linked_devices(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<Device>> {
        self.look(ctx, |phone| phone.card.linked.clone())
    }

    /// The phone book.
    async fn contacts(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<PhoneContact>> {
        self.look(ctx, |phone| phone.people.values().filter_map(PhoneContact::of).collect())
    }

    /// The templates of its account.
    async fn templates(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<PhoneTemplate>> {
        self.look(ctx, |phone| phone.templates.iter().map(PhoneTemplate::of).collect())
    }

    /// All that the phone's screen shows, groups and messages from the API included, newest first. With `with`, the
    /// chat with that person alone.
    async fn messages(
        &self,
        ctx: &Context<'_>,
        with: Option<PhoneNumber>,
        #[graphql(default_with = "Some(50)")] first: Option<i32>,
    ) -> async_graphql::Result<Vec<PhoneMessage>> {
        let first = usize::try_from(first.unwrap_or(50)).unwrap_or(0);
        self.look(ctx, |phone| match with {
            Some(with) => phone
                .chat(with.0)
                .iter()
                .rev()
                .take(first)
                .filter_map(|place| phone.messages.get(*place as usize))
                .map(|message| PhoneMessage::of(phone, message))
                .collect(),
            None => phone.messages.iter().rev().take(first).map(|m| PhoneMessage::of(phone, m)).collect(),
        })
    }
}

/// A template of the account.
#[derive(SimpleObject)]
pub(crate) struct PhoneTemplate {
    /// WhatsApp's id of it.
    id: ID,
    /// Its name.
    name: String,
    /// Its language.
    language: String,
    /// Meta's word.
    status: String,
    /// Meta's word.
    category: String,
    /// Meta's word.
    quality: String,
}

impl PhoneTemplate {
    fn of(template: &Template) -> Self {
        let Template { id, name, language, status, category, quality, .. } = template.clone();
        Self { id: ID(id), name, language, status, category, quality }
    }
}

/// An entry of the phone book.
#[derive(SimpleObject)]
pub(crate) struct PhoneContact {
    /// Whose it is.
    phone_number: PhoneNumber,
    /// The name given to them.
    full_name: String,
}

impl PhoneContact {
    fn of(person: &Person) -> Option<Self> {
        Some(Self { phone_number: PhoneNumber(person.number), full_name: person.full_name.clone()? })
    }
}

/// A message of a chat. Reactions, edits and deletions are none.
#[derive(SimpleObject)]
pub(crate) struct PhoneMessage {
    /// Its WhatsApp id.
    id: ID,
    /// Who wrote it.
    from: PhoneNumber,
    /// Whom it was written to; in a group, somebody of it.
    to: PhoneNumber,
    /// The text, the caption, the filled-in template.
    text: String,
    /// When, in simulated time.
    at: DateTime<Utc>,
    /// sent, delivered, read or played; of customers: received, or read once the API has marked it.
    status: String,
    /// Who made it.
    made_by: MadeBy,
    /// The group's name, if it is in one.
    group: Option<String>,
    /// What it was written on.
    device: Device,
    /// The kind of file that it carries.
    media: Option<String>,
    /// Meta's name of what it is: `text`, `image`, `interactive` …
    #[graphql(name = "type")]
    kind: String,
    /// Of the API's messages that are more than text: what was sent, as on the wire. Of a choice: what was chosen.
    content: Option<Json<serde_json::Value>>,
    /// What the customer can choose from: buttons, rows of a list, quick replies of a template.
    choices: Vec<PhoneChoice>,
    /// It was taken back.
    deleted: bool,
    /// Its words were changed.
    edited: bool,
    /// The id of the message that it answers.
    reply_to: Option<ID>,
}

impl PhoneMessage {
    pub(crate) fn of(phone: &Phone, message: &Message) -> Self {
        let (mine, theirs) = (PhoneNumber(phone.card.number), PhoneNumber(message.with));
        let incoming = message.made_by == MadeBy::Customer;
        Self {
            id: ID(phone.id_of(message)),
            from: if incoming { theirs } else { mine },
            to: if incoming { mine } else { theirs },
            text: message.text.clone(),
            at: instant(message.at),
            status: message.status.name().to_owned(),
            made_by: message.made_by,
            group: message.group.clone(),
            device: message.device,
            media: message.is_media().then(|| message.kind.clone()),
            kind: message.kind.clone(),
            content: message.content.clone().map(Json),
            choices: message.choices.iter().map(PhoneChoice::of).collect(),
            deleted: message.deleted,
            edited: message.edited,
            reply_to: message
                .reply_to
                .and_then(|token| phone.by_token(token))
                .map(|answered| ID(phone.id_of(answered))),
        }
    }
}

/// A button, a row of a list or a quick reply.
#[derive(SimpleObject)]
pub(crate) struct PhoneChoice {
    /// What comes back with it; of a quick reply its payload.
    id: String,
    /// What the customer sees.
    title: String,
    /// The second line of a row.
    description: Option<String>,
}

impl PhoneChoice {
    fn of(choice: &Choice) -> Self {
        let Choice { of: _, id, title, description } = choice.clone();
        Self { id, title, description }
    }
}

/// What the browser gets at the end of Embedded Signup.
#[derive(SimpleObject, Default)]
pub(crate) struct Signup {
    /// Good for one exchange within 30 seconds.
    pub(crate) code: Option<String>,
    /// The WhatsApp Business Account.
    pub(crate) waba_id: Option<ID>,
    /// The number; only of one that lives on the API alone.
    pub(crate) phone_number_id: Option<ID>,
    /// How the flow ended.
    pub(crate) event: Option<String>,
    /// Why it did not end well.
    pub(crate) error: Option<SignupError>,
}

/// An error of the flow.
#[derive(SimpleObject)]
pub(crate) struct SignupError {
    /// Meta's code.
    pub(crate) code: String,
    /// What the client reads.
    pub(crate) message: String,
}

/// A send of the service.
#[derive(SimpleObject)]
pub(crate) struct Arrival {
    /// Milliseconds since 1970, real time.
    at: f64,
    /// The recipient.
    to: String,
    /// Meta's name of what it is.
    #[graphql(name = "type")]
    kind: String,
    /// The text or caption.
    text: Option<String>,
    /// What came as `biz_opaque_callback_data`.
    callback_data: Option<String>,
    /// False when it was refused.
    accepted: bool,
}

impl From<&world::Arrival> for Arrival {
    fn from(arrival: &world::Arrival) -> Self {
        Self {
            at: arrival.at as f64,
            to: arrival.to.clone(),
            kind: arrival.kind.clone(),
            text: arrival.text.clone(),
            callback_data: arrival.callback_data.clone(),
            accepted: arrival.accepted,
        }
    }
}

/// A call to one of Meta's endpoints.
#[derive(SimpleObject)]
pub(crate) struct GraphCall {
    /// Milliseconds since 1970, real time.
    pub(crate) at: f64,
    /// The HTTP method.
    pub(crate) method: String,
    /// The path, with its version and without its query.
    pub(crate) path: String,
    /// The HTTP status of the answer.
    pub(crate) status: i32,
}

/// What the service must know of the app that it signs in with.
#[derive(SimpleObject)]
pub(crate) struct Development {
    /// The app's id.
    pub(crate) app_id: String,
    /// Signs webhooks and guards the exchange of codes.
    pub(crate) app_secret: String,
    /// What a callback may be verified with.
    pub(crate) verify_token: String,
    /// The configuration of Embedded Signup.
    pub(crate) config_id: String,
    /// The version of the Graph API.
    pub(crate) graph_version: String,
}

/// A phone to be made.
#[derive(InputObject)]
pub(crate) struct CreatePhoneInput {
    /// Its number.
    pub(crate) phone_number: PhoneNumber,
    /// The name that customers see.
    pub(crate) display_name: String,
    /// Which WhatsApp it has.
    #[graphql(default_with = "AppKind::Business")]
    pub(crate) app: AppKind,
    /// The version of that app.
    #[graphql(default_with = "\"2.25.30\".to_owned()")]
    pub(crate) app_version: String,
    /// Entries of its phone book.
    #[graphql(default = 20)]
    pub(crate) contacts: i32,
    /// Messages in chats with one person.
    #[graphql(default = 200)]
    pub(crate) messages: i32,
    /// Groups, each with a few messages more.
    #[graphql(default = 1)]
    pub(crate) groups: i32,
    /// How far its past reaches back. Only the last 180 days are ever shared.
    #[graphql(default = 180)]
    pub(crate) days: i32,
    /// The same seed makes the same past.
    #[graphql(default = 1)]
    pub(crate) seed: i32,
}

/// One phone.
#[derive(InputObject)]
pub(crate) struct PhoneRef {
    /// Its number.
    pub(crate) phone_number: PhoneNumber,
}

/// One message.
#[derive(InputObject)]
pub(crate) struct MessageRef {
    /// The phone that has it.
    pub(crate) phone_number: PhoneNumber,
    /// Any of its WhatsApp ids.
    pub(crate) message_id: ID,
}

/// Other words for a message.
#[derive(InputObject)]
pub(crate) struct EditInput {
    /// The phone that has it.
    pub(crate) phone_number: PhoneNumber,
    /// Any of its WhatsApp ids.
    pub(crate) message_id: ID,
    /// The new words.
    pub(crate) text: String,
}

/// A choice that a customer makes.
#[derive(InputObject)]
pub(crate) struct ChooseInput {
    /// The phone that has the message.
    pub(crate) phone_number: PhoneNumber,
    /// Any WhatsApp id of the message with the choices.
    pub(crate) message_id: ID,
    /// What is chosen: its id (of a template's quick reply its payload), or the words on it.
    pub(crate) choice: String,
    /// Their number is not shown, only their user id.
    #[graphql(default = false)]
    pub(crate) hidden_number: bool,
}

/// A reaction.
#[derive(InputObject)]
pub(crate) struct ReactInput {
    /// The phone that has the message.
    pub(crate) phone_number: PhoneNumber,
    /// Any of its WhatsApp ids.
    pub(crate) message_id: ID,
    /// The emoji; without one the reaction is taken away.
    pub(crate) emoji: Option<String>,
    /// Who reacts.
    #[graphql(default_with = "MadeBy::Customer")]
    pub(crate) by: MadeBy,
}

/// Another app or version.
#[derive(InputObject)]
pub(crate) struct SetAppInput {
    /// The phone.
    pub(crate) phone_number: PhoneNumber,
    /// The app, if it changes.
    pub(crate) app: Option<AppKind>,
    /// The version, if it changes.
    pub(crate) app_version: Option<String>,
}

/// Another profile.
#[derive(InputObject)]
pub(crate) struct SetProfileInput {
    /// The phone.
    pub(crate) phone_number: PhoneNumber,
    /// The name that customers see, if it changes.
    pub(crate) display_name: Option<String>,
    /// The words under the name, if they change.
    pub(crate) about: Option<String>,
}

/// A device to be linked.
#[derive(InputObject)]
pub(crate) struct LinkInput {
    /// The phone.
    pub(crate) phone_number: PhoneNumber,
    /// The device.
    pub(crate) device: Device,
}

/// What the client does in Embedded Signup.
#[derive(InputObject)]
pub(crate) struct CompleteSignupInput {
    /// The number that they connect.
    pub(crate) phone_number: PhoneNumber,
    /// Whether they share their chats.
    #[graphql(default = true)]
    pub(crate) share_history: bool,
}

/// A file to be written.
#[derive(InputObject)]
pub(crate) struct FileInput {
    /// What its writer says that it is.
    mime_type: Option<String>,
    /// The name of a document.
    filename: Option<String>,
    /// What stands in it.
    text: Option<String>,
    /// How large it is at least.
    #[graphql(validator(minimum = 0, maximum = 209_715_200))]
    size_bytes: Option<i32>,
}

/// A file that WhatsApp holds.
#[derive(SimpleObject)]
pub(crate) struct File {
    /// Its type, as its sender said.
    pub(crate) mime_type: String,
    /// SHA-256 of its bytes, hexadecimal.
    pub(crate) sha256: String,
    /// How large it is.
    pub(crate) size_bytes: usize,
}

/// A message to be written.
#[derive(InputObject)]
pub(crate) struct WriteInput {
    /// The business's phone.
    pub(crate) phone_number: PhoneNumber,
    /// The customer, who is made if nobody knows them.
    pub(crate) with: PhoneNumber,
    /// The words; of media, the caption.
    pub(crate) text: String,
    /// A group's name; made if there is none.
    pub(crate) group: Option<String>,
    /// image, video, audio, document or sticker.
    pub(crate) media: Option<String>,
    /// What file it is; made up where nothing is said.
    pub(crate) file: Option<FileInput>,
    /// The message that this one answers.
    pub(crate) reply_to: Option<ID>,
    /// The customer's number stays hidden: webhooks show their user id alone.
    pub(crate) hidden_number: Option<bool>,
    /// What it is written on.
    #[graphql(default_with = "Device::Phone")]
    pub(crate) device: Device,
}

impl From<WriteInput> for Writing {
    fn from(input: WriteInput) -> Self {
        Self {
            with: input.with.0,
            text: input.text,
            group: input.group,
            media: input.media,
            file: input.file.map(|file| WrittenFile {
                mime: file.mime_type,
                name: file.filename,
                text: file.text,
                size: file.size_bytes.and_then(|size| usize::try_from(size).ok()),
            }),
            reply_to: input.reply_to.map(|id| id.0),
            hidden: input.hidden_number.unwrap_or(false),
            device: input.device,
        }
    }
}

/// What a customer does with a message that they got.
#[derive(InputObject)]
pub(crate) struct SeesInput {
    /// The business's phone.
    pub(crate) phone_number: PhoneNumber,
    /// Any of the message's WhatsApp ids.
    pub(crate) message_id: ID,
    /// delivered, read or played.
    pub(crate) status: String,
}

/// The end of a connection.
#[derive(InputObject)]
pub(crate) struct DisconnectInput {
    /// The phone.
    pub(crate) phone_number: PhoneNumber,
    /// The reason, as Meta names it.
    #[graphql(default = "ACCOUNT_DISCONNECTED")]
    pub(crate) reason: String,
    /// USER or SYSTEM.
    #[graphql(default = "USER")]
    pub(crate) initiated_by: String,
}

/// Calls that are to be refused.
#[derive(InputObject)]
pub(crate) struct RefuseInput {
    /// The last piece of their path.
    #[graphql(default = "messages")]
    pub(crate) path: String,
    /// Only sends to this number. Null: all.
    pub(crate) to: Option<PhoneNumber>,
    /// Meta's code, such as 131056.
    pub(crate) code: i32,
    /// How many.
    #[graphql(default = 1)]
    pub(crate) times: i32,
}

/// A change of the phone book.
#[derive(InputObject)]
pub(crate) struct ChangeContactInput {
    /// The phone.
    pub(crate) phone_number: PhoneNumber,
    /// Whose entry.
    pub(crate) contact: PhoneNumber,
    /// The name; without one the entry is removed.
    pub(crate) full_name: Option<String>,
}

/// How reviews of new templates end.
#[derive(InputObject)]
pub(crate) struct ReviewTemplatesInput {
    /// How.
    pub(crate) outcome: ReviewOutcome,
    /// REJECTED: Meta's word for why, such as `INVALID_FORMAT`.
    pub(crate) reason: Option<String>,
}

/// What becomes of a template; what is left out stays as it is.
#[derive(InputObject)]
pub(crate) struct ChangeTemplateInput {
    /// The phone whose account has it.
    pub(crate) phone_number: PhoneNumber,
    /// Its name.
    pub(crate) name: String,
    /// Its language.
    pub(crate) language: String,
    /// APPROVED, REJECTED, PAUSED, DISABLED, DELETED …
    pub(crate) status: Option<String>,
    /// Meta's word for why it has that status.
    pub(crate) reason: Option<String>,
    /// MARKETING, UTILITY or AUTHENTICATION.
    pub(crate) category: Option<String>,
    /// The category that it will have tomorrow; only announced.
    pub(crate) upcoming_category: Option<String>,
    /// GREEN, YELLOW or RED.
    pub(crate) quality: Option<String>,
    /// Other words.
    pub(crate) body: Option<String>,
}

impl From<ChangeTemplateInput> for Change {
    fn from(input: ChangeTemplateInput) -> Self {
        let ChangeTemplateInput { status, reason, category, upcoming_category, quality, body, .. } = input;
        Self { status, reason, category, upcoming_category, quality, body }
    }
}

/// What a customer says of marketing messages.
#[derive(InputObject)]
pub(crate) struct SetMarketingInput {
    /// The business's phone.
    pub(crate) phone_number: PhoneNumber,
    /// The customer, who is made if nobody knows them.
    pub(crate) customer: PhoneNumber,
    /// Whether they want them.
    pub(crate) wanted: bool,
}

/// What messages cost.
#[derive(InputObject)]
pub(crate) struct SetPricesInput {
    /// Whose rules hold.
    #[graphql(default_with = "PriceRules::ByClock")]
    pub(crate) rules: PriceRules,
    /// Free-form messages a month that cost nothing, since October 2026.
    #[graphql(default = 1_000)]
    pub(crate) free_services: i32,
    /// Whether statuses say `billable`, which Meta means to leave out some day.
    #[graphql(default = true)]
    pub(crate) tells_billable: bool,
}

/// What goes wrong from now on; what is left out goes right.
#[derive(InputObject)]
pub(crate) struct TroubleInput {
    /// How often a webhook is posted twice.
    duplicate_webhooks: Option<f64>,
    /// The webhooks of a phone overtake each other.
    shuffle_webhooks: Option<bool>,
    /// How long webhooks are held back.
    delay_webhooks_ms: Option<i32>,
    /// How often a webhook lacks what Meta does not promise: contacts, numbers where a user id is there, and more.
    drop_optional_fields: Option<f64>,
    /// How often a webhook has something that nobody knows.
    unknown_fields: Option<f64>,
    /// How often a send fails with a bare 500.
    send_fails: Option<f64>,
    /// How often a send is refused with 130429.
    send_rate_limited: Option<f64>,
    /// How often a send is accepted and not answered for 40 seconds.
    send_times_out_after_accepting: Option<f64>,
    /// How long every call to Meta takes.
    graph_slow_ms: Option<i32>,
    /// How often a webhook calls a message by its second id.
    second_ids: Option<f64>,
    /// How often an echo of an API message comes before the answer to its send.
    echo_before_answer: Option<f64>,
    /// Statuses of app messages; on by default.
    app_statuses: Option<bool>,
    /// One message in six seconds to one recipient; off by default.
    pair_limit: Option<bool>,
    /// How often a call for a file, or with one, fails with 131016.
    media_fails: Option<f64>,
}

impl TryFrom<TroubleInput> for Trouble {
    type Error = Refusal;

    fn try_from(input: TroubleInput) -> Result<Self, Refusal> {
        let probability = |name: &str, value: Option<f64>| match value.unwrap_or(0.0) {
            value if (0.0..=1.0).contains(&value) => Ok(value),
            value => Err(Refusal(format!("{name} is a probability from 0 to 1, not {value}"))),
        };
        let length = |name: &str, value: Option<i32>| {
            u32::try_from(value.unwrap_or(0)).map_err(|_| Refusal(format!("{name} cannot be negative")))
        };
        Ok(Self {
            duplicate_webhooks: probability("duplicateWebhooks", input.duplicate_webhooks)?,
            shuffle_webhooks: input.shuffle_webhooks.unwrap_or(false),
            delay_webhooks_ms: i64::from(length("delayWebhooksMs", input.delay_webhooks_ms)?),
            drop_optional_fields: probability("dropOptionalFields", input.drop_optional_fields)?,
            unknown_fields: probability("unknownFields", input.unknown_fields)?,
            send_fails: probability("sendFails", input.send_fails)?,
            send_rate_limited: probability("sendRateLimited", input.send_rate_limited)?,
            send_times_out_after_accepting: probability(
                "sendTimesOutAfterAccepting",
                input.send_times_out_after_accepting,
            )?,
            graph_slow_ms: u64::from(length("graphSlowMs", input.graph_slow_ms)?),
            second_ids: probability("secondIds", input.second_ids)?,
            echo_before_answer: probability("echoBeforeAnswer", input.echo_before_answer)?,
            app_statuses: input.app_statuses.unwrap_or(true),
            pair_limit: input.pair_limit.unwrap_or(false),
            media_fails: probability("mediaFails", input.media_fails)?,
        })
    }
}
