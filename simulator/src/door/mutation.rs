//! What can be done in the world.

use super::types::{
    ChangeContactInput, ChangeTemplateInput, ChooseInput, CompleteSignupInput, CreatePhoneInput,
    DisconnectInput, EditInput, LinkInput, MessageRef, PhoneMessage, PhoneNode, PhoneRef, ReactInput,
    RefuseInput, ReviewTemplatesInput, SeesInput, SetAppInput, SetMarketingInput, SetPricesInput,
    SetProfileInput, Signup, SignupError, TroubleInput, WriteInput, engine, instant,
};
use crate::create::create_phone;
use crate::number::Number;
use crate::world::connection::SignupOutcome;
use crate::world::message::{Device, MadeBy};
use crate::world::past::Plan;
use crate::world::{Ledger, Planned, Prices, Refusal, Review, Trouble, World};
use async_graphql::{Context, ID, Object, Result};
use chrono::{DateTime, Utc};
use std::time::Duration;

/// How many devices can be linked at once.
const MOST_LINKED: usize = 4;
/// The most of anything that a phone is made with.
const MOST: i32 = 5_000_000;

/// What can be done in the world.
pub(crate) struct Mutation;

async fn with_phone(
    ctx: &Context<'_>,
    number: Number,
    change: impl FnOnce(&mut World, &mut Ledger) -> Result<(), Refusal>,
) -> Result<PhoneNode> {
    engine(ctx)?
        .change(|world, ledger| {
            world.phone(number)?;
            change(world, ledger)
        })
        .await??;
    Ok(PhoneNode(number))
}

async fn with_message(
    ctx: &Context<'_>,
    number: Number,
    change: impl FnOnce(&mut World, &mut Ledger) -> Result<u32, Refusal>,
) -> Result<PhoneMessage> {
    let message = engine(ctx)?
        .change(|world, ledger| {
            let sequence = change(world, ledger)?;
            let phone = world.phone(number)?;
            let message = phone.messages.get(sequence as usize);
            message
                .map(|message| PhoneMessage::of(phone, message))
                .ok_or_else(|| Refusal::new("the message is gone; take another one"))
        })
        .await??;
    Ok(message)
}

/// What can be done in the world.
#[Object]
impl Mutation {
    /// Makes a phone with a past: contacts and messages spread over `days`, made from `seed`.
    async fn create_phone(&self, ctx: &Context<'_>, input: CreatePhoneInput) -> Result<PhoneNode> {
        let amount = |name: &str, value: i32, least: i32| {
            if (least..=MOST).contains(&value) {
                Ok(value as usize)
            } else {
                Err(Refusal(format!("{name} must be from {least} to {MOST}, not {value}")))
            }
        };
        let plan = Plan {
            number: input.phone_number.0,
            display_name: input.display_name,
            app: input.app,
            app_version: input.app_version,
            contacts: amount("contacts", input.contacts, 0)?,
            messages: amount("messages", input.messages, 0)?,
            groups: amount("groups", input.groups, 0)?,
            days: amount("days", input.days, 1)? as i64,
            seed: input.seed as u64,
        };
        Ok(PhoneNode(create_phone(engine(ctx)?, plan).await?))
    }

    /// What the client does in Embedded Signup; answers what the browser would get, or Meta's error code.
    async fn complete_signup(&self, ctx: &Context<'_>, input: CompleteSignupInput) -> Result<Signup> {
        let number = input.phone_number.0;
        let outcome = engine(ctx)?
            .change(|world, ledger| world.complete_signup(ledger, number, input.share_history))
            .await??;
        Ok(match outcome {
            SignupOutcome::Done { code, waba_id, phone_number_id, event } => Signup {
                code: Some(code),
                waba_id: Some(ID(waba_id)),
                phone_number_id: phone_number_id.map(ID),
                event: Some(event.to_owned()),
                error: None,
            },
            SignupOutcome::Failed { code, message } => Signup {
                error: Some(SignupError { code: code.to_owned(), message: message.to_owned() }),
                ..Signup::default()
            },
        })
    }

    /// The business writes on its phone or a linked device.
    async fn write_from_app(&self, ctx: &Context<'_>, input: WriteInput) -> Result<PhoneMessage> {
        let number = input.phone_number.0;
        with_message(ctx, number, |w, l| w.write(l, number, MadeBy::App, input.into())).await
    }

    /// A customer writes.
    async fn write_as_customer(&self, ctx: &Context<'_>, input: WriteInput) -> Result<PhoneMessage> {
        let number = input.phone_number.0;
        with_message(ctx, number, |w, l| w.write(l, number, MadeBy::Customer, input.into())).await
    }

    /// delivered, read, played, for a message that the customer got from the app or the API.
    async fn customer_sees(&self, ctx: &Context<'_>, input: SeesInput) -> Result<PhoneMessage> {
        let number = input.phone_number.0;
        with_message(ctx, number, |w, l| w.see(l, number, &input.message_id, &input.status)).await
    }

    /// Whoever wrote a message changes its words.
    async fn edit(&self, ctx: &Context<'_>, input: EditInput) -> Result<PhoneMessage> {
        let number = input.phone_number.0;
        with_message(ctx, number, |w, l| w.edit(l, number, &input.message_id, input.text)).await
    }

    /// Whoever wrote a message takes it back for everyone.
    async fn delete(&self, ctx: &Context<'_>, input: MessageRef) -> Result<PhoneMessage> {
        let number = input.phone_number.0;
        with_message(ctx, number, |w, l| w.delete(l, number, &input.message_id)).await
    }

    /// A customer presses a button of a message, chooses a row of its list or taps a quick reply of its template.
    async fn choose(&self, ctx: &Context<'_>, input: ChooseInput) -> Result<PhoneMessage> {
        let number = input.phone_number.0;
        let hidden = input.hidden_number;
        with_message(ctx, number, |w, l| w.choose(l, number, &input.message_id, &input.choice, hidden)).await
    }

    /// The customer or the app puts an emoji on a message, or takes it away.
    async fn react(&self, ctx: &Context<'_>, input: ReactInput) -> Result<PhoneMessage> {
        let number = input.phone_number.0;
        let emoji = input.emoji.filter(|emoji| !emoji.is_empty());
        with_message(ctx, number, |w, l| w.react(l, number, &input.message_id, emoji, input.by)).await
    }

    /// Adds, renames or, without a name, removes an entry of the phone book.
    async fn change_contact(&self, ctx: &Context<'_>, input: ChangeContactInput) -> Result<PhoneNode> {
        let number = input.phone_number.0;
        with_phone(ctx, number, |w, l| w.change_contact(l, number, input.contact.0, input.full_name)).await
    }

    /// The connection ends, for a reason as Meta names it.
    async fn disconnect(&self, ctx: &Context<'_>, input: DisconnectInput) -> Result<PhoneNode> {
        let number = input.phone_number.0;
        with_phone(ctx, number, |w, l| w.disconnect(l, number, &input.reason, &input.initiated_by)).await
    }

    /// The client moves to a new phone: offboarded, then reconnected.
    async fn change_phone(&self, ctx: &Context<'_>, input: PhoneRef) -> Result<PhoneNode> {
        let number = input.phone_number.0;
        with_phone(ctx, number, |w, l| w.change_phone(l, number)).await
    }

    /// Moves the number to another app or version; after that the same link succeeds.
    async fn set_app(&self, ctx: &Context<'_>, input: SetAppInput) -> Result<PhoneNode> {
        let number = input.phone_number.0;
        with_phone(ctx, number, |w, l| w.set_app(l, number, input.app, input.app_version)).await
    }

    /// The client changes name or about text in the app.
    async fn set_profile(&self, ctx: &Context<'_>, input: SetProfileInput) -> Result<PhoneNode> {
        let number = input.phone_number.0;
        with_phone(ctx, number, |w, l| w.set_profile(l, number, input.display_name, input.about)).await
    }

    /// Links a device to the phone; four at most.
    async fn link(&self, ctx: &Context<'_>, input: LinkInput) -> Result<PhoneNode> {
        let number = input.phone_number.0;
        with_phone(ctx, number, |world, ledger| {
            let linked = &mut world.phone_mut(number)?.card.linked;
            if input.device == Device::Phone {
                return Err(Refusal::new(
                    "a phone is not linked to itself; link WEB, MAC, WINDOWS or WEAROS",
                ));
            }
            if !linked.contains(&input.device) {
                if linked.len() == MOST_LINKED {
                    return Err(Refusal::new("four devices are linked already; no more fit"));
                }
                linked.push(input.device);
            }
            world.keep_card(ledger, number);
            Ok(())
        })
        .await
    }

    /// A visit to the app. Until the first one after a signup, one chunk of history comes every 2 seconds.
    async fn open_app(&self, ctx: &Context<'_>, input: PhoneRef) -> Result<PhoneNode> {
        let number = input.phone_number.0;
        with_phone(ctx, number, |world, ledger| {
            let phone = world.phone_mut(number)?;
            phone.card.opened = true;
            ledger.wake.push(phone.wake.clone());
            world.keep_card(ledger, number);
            Ok(())
        })
        .await
    }

    /// Which webhook fields the app is subscribed to; all that coexistence needs at first.
    async fn subscribe_fields(&self, ctx: &Context<'_>, fields: Vec<String>) -> Result<Vec<String>> {
        let now = engine(ctx)?
            .change(|world, ledger| {
                world.settings.fields = fields.into_iter().collect();
                world.keep_settings(ledger);
                world.settings.fields.iter().cloned().collect()
            })
            .await?;
        Ok(now)
    }

    /// Moves simulated time forward. Nothing happens by itself on the way: no disconnection for inactivity, no
    /// webhook given up.
    async fn advance_clock(&self, ctx: &Context<'_>, seconds: i32) -> Result<DateTime<Utc>> {
        if seconds < 0 {
            return Err(Refusal::new(
                "time goes forward only; give a number of seconds that is not negative",
            )
            .into());
        }
        let now = engine(ctx)?
            .change(|world, ledger| {
                world.settings.offset_ms = world.settings.offset_ms.saturating_add(i64::from(seconds) * 1000);
                world.keep_settings(ledger);
                world.now_ms()
            })
            .await?;
        Ok(instant(now))
    }

    /// How reviews of templates end that are made from now on. APPROVED at first.
    async fn review_templates(&self, ctx: &Context<'_>, input: ReviewTemplatesInput) -> Result<bool> {
        engine(ctx)?
            .change(|world, ledger| {
                world.settings.review = Review { outcome: input.outcome, reason: input.reason };
                world.keep_settings(ledger);
            })
            .await?;
        Ok(true)
    }

    /// Meta changes a template: status, category, quality, words. A webhook tells of each.
    async fn change_template(&self, ctx: &Context<'_>, input: ChangeTemplateInput) -> Result<PhoneNode> {
        let number = input.phone_number.0;
        let (name, language) = (input.name.clone(), input.language.clone());
        with_phone(ctx, number, |w, l| w.change_template(l, number, (&name, &language), input.into())).await
    }

    /// A customer stops marketing messages of a business, or wants them again.
    async fn set_marketing(&self, ctx: &Context<'_>, input: SetMarketingInput) -> Result<PhoneNode> {
        let number = input.phone_number.0;
        with_phone(ctx, number, |w, l| w.set_marketing(l, number, input.customer.0, input.wanted)).await
    }

    /// What messages cost from now on, and how it is told.
    async fn set_prices(&self, ctx: &Context<'_>, input: SetPricesInput) -> Result<bool> {
        let free_services = u32::try_from(input.free_services)
            .map_err(|_| Refusal::new("freeServices cannot be negative"))?;
        engine(ctx)?
            .change(|world, ledger| {
                world.settings.prices =
                    Prices { rules: input.rules, free_services, tells_billable: input.tells_billable };
                world.keep_settings(ledger);
            })
            .await?;
        Ok(true)
    }

    /// Trouble from now on, as probabilities and delays; `{}` ends it.
    async fn trouble(&self, ctx: &Context<'_>, input: TroubleInput) -> Result<bool> {
        let trouble = Trouble::try_from(input)?;
        engine(ctx)?
            .change(|world, ledger| {
                world.settings.trouble = trouble;
                world.keep_settings(ledger);
            })
            .await?;
        Ok(true)
    }

    /// The next calls of a kind are refused with an error of Meta's; those of earlier wishes come first.
    async fn refuse(&self, ctx: &Context<'_>, input: RefuseInput) -> Result<bool> {
        let amount = |name: &str, value: i32| {
            u32::try_from(value).map_err(|_| Refusal(format!("{name} cannot be negative")))
        };
        let planned = Planned {
            path: input.path,
            to: input.to.map(|to| to.0),
            code: amount("code", input.code)?,
            times: amount("times", input.times)?,
        };
        engine(ctx)?.change(|world, _| world.planned.push(planned)).await?;
        Ok(true)
    }

    /// Waits until every webhook due so far has been answered 200, or the time is over; says how many are left. Chunks
    /// of history that wait for their turn are due.
    async fn settle(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "Some(30)")] timeout_seconds: Option<i32>,
    ) -> Result<i32> {
        let patience = u64::try_from(timeout_seconds.unwrap_or(30)).unwrap_or(0);
        let left = engine(ctx)?.settle(Duration::from_secs(patience)).await;
        Ok(i32::try_from(left).unwrap_or(i32::MAX))
    }
}
