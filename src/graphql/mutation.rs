use async_graphql::{Context, Object};

use super::error::Result;
use super::mutations::client::{self, ClientInput, ClientPayload, SyncPayload, UpdateProfileInput};
use super::mutations::message::{
    self, MarkAsReadInput, MessageInput, MessagePayload, SendMessageInput, SendMessagePayload,
};
use super::mutations::onboarding::{
    self, CompleteOnboardingInput, CompleteOnboardingPayload, CreateOnboardingInput, CreateOnboardingPayload,
    RevokeOnboardingInput, RevokeOnboardingPayload,
};
use super::mutations::template::{self, CreateTemplateInput, TemplateInput, TemplatePayload};
use super::mutations::webhook::{
    self, CreateWebhookEndpointInput, ReplayWebhooksInput, ReplayWebhooksPayload, UpdateWebhookEndpointInput,
    WebhookEndpointInput, WebhookEndpointPayload,
};

/// Where changing begins.
pub struct Mutation;

/// What can be changed. What a rule refuses is told in `userErrors`; what the credential may not do is an error
/// (FORBIDDEN).
#[Object]
impl Mutation {
    /// Makes a link by which a client connects its number, and the place for the client. Needs the scope ADMIN.
    async fn create_onboarding(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What the onboarding shall be.")] input: CreateOnboardingInput,
    ) -> Result<CreateOnboardingPayload> {
        onboarding::create(ctx, input).await
    }

    /// Calls a link back that is not finished. Needs the scope ADMIN.
    async fn revoke_onboarding(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which onboarding.")] input: RevokeOnboardingInput,
    ) -> Result<RevokeOnboardingPayload> {
        onboarding::revoke(ctx, input).await
    }

    /// Takes what the browser got from Embedded Signup: for partners who run it on a page of their own. Needs the scope
    /// ADMIN.
    async fn complete_onboarding(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What the browser got.")] input: CompleteOnboardingInput,
    ) -> Result<CompleteOnboardingPayload> {
        onboarding::complete(ctx, input).await
    }

    /// Asks for the six months of chats: once for each connection, within 24 hours of it. Needs the scope ADMIN.
    async fn request_history_sync(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which client.")] input: ClientInput,
    ) -> Result<SyncPayload> {
        client::request_sync(ctx, input, entity::SyncKind::History).await
    }

    /// Asks for the phone book: once for each connection, within 24 hours of it. Needs the scope ADMIN.
    async fn request_contact_sync(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which client.")] input: ClientInput,
    ) -> Result<SyncPayload> {
        client::request_sync(ctx, input, entity::SyncKind::Contacts).await
    }

    /// A person says that the app was opened on the phone: the estimate begins anew. Needs the scope ADMIN.
    async fn confirm_app_visit(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which client.")] input: ClientInput,
    ) -> Result<ClientPayload> {
        client::confirm_app_visit(ctx, input).await
    }

    /// Changes the profile that customers see, of a client that is API_ONLY. MANAGED_IN_APP in COEXISTENCE, where only the
    /// client can, in the app. Needs the scope ADMIN.
    async fn update_profile(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The client and its new profile.")] input: UpdateProfileInput,
    ) -> Result<ClientPayload> {
        client::update_profile(ctx, input).await
    }

    /// Lets a paused client send again, once the cause is gone (`pauseReason`). What waited goes on in its order; if the
    /// cause is still there, the first send pauses it again. INVALID when it is not paused. Needs the scope ADMIN.
    async fn resume_client(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which client.")] input: ClientInput,
    ) -> Result<ClientPayload> {
        client::resume(ctx, input).await
    }

    /// Ends a connection: nothing more is sent or received, what waits becomes CANCELED, WhatsApp's permission is dropped;
    /// contacts and messages stay. The app on the phone goes on showing the connection until the client ends it there.
    /// `createOnboarding(clientId: …)` connects the same client again. Needs the scope ADMIN.
    async fn disconnect_client(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which client.")] input: ClientInput,
    ) -> Result<ClientPayload> {
        client::disconnect(ctx, input).await
    }

    /// Queues a message. It leaves in its turn, never faster than the client's `sendLimit`; what became of it is told by
    /// MESSAGE_STATUS events. Needs the scope SEND.
    async fn send_message(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to send, from whom and to whom.")] input: SendMessageInput,
    ) -> Result<SendMessagePayload> {
        message::send(ctx, input).await
    }

    /// Takes a message back that still waits (QUEUED): it becomes CANCELED and never leaves. With the id of a message that we
    /// reacted to: takes back the reactions that still wait. INVALID once its turn has come. Needs the scope SEND.
    async fn cancel_message(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which message.")] input: MessageInput,
    ) -> Result<MessagePayload> {
        message::cancel(ctx, input).await
    }

    /// Sends what a FAILED or UNKNOWN message said once more, as a new message, which the payload has; the first one stays
    /// as it is. An UNKNOWN one may have reached the customer: they may get it twice. The new message's idempotency key is
    /// made of the first one's id, so that asking twice sends once more once; to try yet again, resend the new one. Window
    /// and limits hold as for `sendMessage`. Needs the scope SEND.
    async fn resend_message(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which message.")] input: MessageInput,
    ) -> Result<MessagePayload> {
        message::resend(ctx, input).await
    }

    /// Marks a customer's message and all before it as read, and may show that an answer is being typed. Needs the scope
    /// SEND.
    async fn mark_as_read(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which message.")] input: MarkAsReadInput,
    ) -> Result<MessagePayload> {
        message::mark_as_read(ctx, input).await
    }

    /// Makes a message template. WhatsApp reviews it, which takes minutes to a day; TEMPLATE_CHANGED tells what came of it.
    /// All that WhatsApp would refuse at once is checked here. Needs the scope ADMIN.
    async fn create_template(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What the template shall be.")] input: CreateTemplateInput,
    ) -> Result<TemplatePayload> {
        template::create(ctx, input).await
    }

    /// Deletes a message template in its language. The name of an approved one cannot be used again for 30 days. Needs
    /// the scope ADMIN.
    async fn delete_template(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which template.")] input: TemplateInput,
    ) -> Result<TemplatePayload> {
        template::delete(ctx, input).await
    }

    /// Makes an endpoint that gets the stream as signed webhooks; see docs/webhooks.md. Needs the scope ADMIN.
    async fn create_webhook_endpoint(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What the endpoint shall be.")] input: CreateWebhookEndpointInput,
    ) -> Result<WebhookEndpointPayload> {
        webhook::create(ctx, input).await
    }

    /// Changes an endpoint, or switches it off and on. Needs the scope ADMIN.
    async fn update_webhook_endpoint(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The endpoint, and what shall change.")] input: UpdateWebhookEndpointInput,
    ) -> Result<WebhookEndpointPayload> {
        webhook::update(ctx, input).await
    }

    /// Ends an endpoint. What waits for it is never sent. Needs the scope ADMIN.
    async fn delete_webhook_endpoint(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which endpoint.")] input: WebhookEndpointInput,
    ) -> Result<WebhookEndpointPayload> {
        webhook::delete(ctx, input).await
    }

    /// Draws a new secret for the signatures of an endpoint; the former one signs too for 24 hours. Needs the scope ADMIN.
    async fn rotate_webhook_secret(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which endpoint.")] input: WebhookEndpointInput,
    ) -> Result<WebhookEndpointPayload> {
        webhook::rotate(ctx, input).await
    }

    /// Puts a TEST event into the stream, which the endpoint gets whatever types it asked for. Needs the scope ADMIN.
    async fn send_test_event(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which endpoint.")] input: WebhookEndpointInput,
    ) -> Result<WebhookEndpointPayload> {
        webhook::send_test(ctx, input).await
    }

    /// Sends a part of the stream to an endpoint once more, beside what happens now: the same `webhook-id`, the present
    /// state of what the events are about, no client's key. Needs the scope ADMIN.
    async fn replay_webhooks(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The endpoint, and which part.")] input: ReplayWebhooksInput,
    ) -> Result<ReplayWebhooksPayload> {
        webhook::replay(ctx, input).await
    }
}
