//! Joining the API and leaving it: Embedded Signup, disconnection, a new phone.

use super::phone::{AppKind, Phone};
use super::{Code, Ledger, Refusal, World, real_ms};
use crate::number::Number;
use crate::store::Kind;
use crate::webhooks::bodies;
use crate::webhooks::queue::{Notice, Reach};

/// The oldest Business app that can be connected.
const OLDEST_APP: [u32; 3] = [2, 24, 17];

/// What the browser gets at the end of a signup.
pub(crate) enum SignupOutcome {
    Done {
        code: String,
        waba_id: String,
        /// Told by the plain finish only.
        phone_number_id: Option<String>,
        event: &'static str,
    },
    Failed {
        code: &'static str,
        message: &'static str,
    },
}

/// Whether an app of this version is too old.
fn is_too_old(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.trim().parse::<u32>().unwrap_or(0));
    let found: [u32; 3] = std::array::from_fn(|_| parts.next().unwrap_or(0));
    found < OLDEST_APP
}

fn signup_error(phone: &Phone) -> Option<(&'static str, &'static str)> {
    let card = &phone.card;
    match card.app {
        AppKind::Regular => Some((
            "2655095",
            "This number is not registered with the WhatsApp Business app. Move it there first.",
        )),
        AppKind::Business if is_too_old(&card.app_version) => Some((
            "4563015",
            "This version of the WhatsApp Business app is too old. Update it and try again.",
        )),
        AppKind::Business if card.connected => Some((
            "2655093",
            "This WhatsApp Business account is already connected. Disconnect it in the app first.",
        )),
        _ => None,
    }
}

impl World {
    /// Does what the client does in Embedded Signup.
    pub(crate) fn complete_signup(
        &mut self,
        ledger: &mut Ledger,
        number: Number,
        share_history: bool,
    ) -> Result<SignupOutcome, Refusal> {
        let phone = self.phone_mut(number)?;
        if let Some((code, message)) = signup_error(phone) {
            return Ok(SignupOutcome::Failed { code, message });
        }
        let with_app = phone.card.app != AppKind::ApiOnly;
        let card = &mut phone.card;
        card.connected = true;
        card.shares_history = with_app.then_some(share_history);
        card.signed_up_at = Some(ledger.now_ms);
        card.contacts_asked = false;
        card.history_asked = false;
        card.opened = false;
        card.subscribed = false;
        card.override_url = None;
        card.linked.clear();
        let waba_id = card.waba_id.clone();
        let owner = number.digits();
        for person in phone.people.values_mut().filter(|p| p.wrote_at.is_some()) {
            person.wrote_at = None;
            ledger.put(Kind::Person, &owner, person.number.digits(), person);
        }
        let code = format!("AQ{}", hex::encode(rand::random::<[u8; 24]>()));
        let kept = Code { phone: number, made_ms: real_ms() };
        ledger.put(Kind::Code, "", &code, &kept);
        self.codes.insert(code.clone(), kept);
        self.account_update(ledger, number, Reach::App, |phone| bodies::partner_added(&phone.card));
        self.keep_card(ledger, number);
        let event = if with_app { "FINISH_WHATSAPP_BUSINESS_APP_ONBOARDING" } else { "FINISH" };
        let phone_number_id =
            (!with_app).then(|| self.phone(number).map(|phone| phone.card.number_id.clone()));
        Ok(SignupOutcome::Done { code, waba_id, phone_number_id: phone_number_id.transpose()?, event })
    }

    /// The end of the connection, whoever wanted it.
    pub(crate) fn disconnect(
        &mut self,
        ledger: &mut Ledger,
        number: Number,
        reason: &str,
        initiated_by: &str,
    ) -> Result<(), Refusal> {
        if !self.phone(number)?.card.connected {
            return Err(Refusal(format!("the phone {number} is not connected; complete a signup first")));
        }
        self.account_update(ledger, number, Reach::Account, |phone| {
            bodies::partner_removed(&phone.card, reason, initiated_by)
        });
        let card = &mut self.phone_mut(number)?.card;
        card.connected = false;
        card.shares_history = None;
        card.subscribed = false;
        card.override_url = None;
        let gone: Vec<String> =
            self.tokens.iter().filter(|(_, t)| t.phone == number).map(|(text, _)| text.clone()).collect();
        for token in gone {
            self.tokens.remove(&token);
            ledger.erase(Kind::Token, "", token);
        }
        let gone: Vec<String> =
            self.codes.iter().filter(|(_, c)| c.phone == number).map(|(text, _)| text.clone()).collect();
        for code in gone {
            self.codes.remove(&code);
            ledger.erase(Kind::Code, "", code);
        }
        self.keep_card(ledger, number);
        Ok(())
    }

    /// The same number on a new phone: offboarded, and back at once.
    pub(crate) fn change_phone(&mut self, ledger: &mut Ledger, number: Number) -> Result<(), Refusal> {
        let phone = self.phone_mut(number)?;
        if phone.card.app == AppKind::ApiOnly {
            return Err(Refusal(format!("{number} lives on the API alone and has no phone to change")));
        }
        phone.card.linked.clear();
        if phone.card.connected {
            for event in ["ACCOUNT_OFFBOARDED", "ACCOUNT_RECONNECTED"] {
                self.account_update(ledger, number, Reach::Account, |phone| {
                    bodies::account(&phone.card, event)
                });
            }
        }
        self.keep_card(ledger, number);
        Ok(())
    }

    /// Moves the number to another app or version.
    pub(crate) fn set_app(
        &mut self,
        ledger: &mut Ledger,
        number: Number,
        app: Option<AppKind>,
        version: Option<String>,
    ) -> Result<(), Refusal> {
        let card = &self.phone(number)?.card;
        if let Some(app) = app.filter(|app| *app != card.app && card.connected) {
            match app {
                AppKind::Regular => self.disconnect(ledger, number, "BUSINESS_DOWNGRADE", "SYSTEM")?,
                _ => {
                    return Err(Refusal(format!(
                        "the phone {number} is connected; disconnect it before it moves"
                    )));
                }
            }
        }
        let card = &mut self.phone_mut(number)?.card;
        card.app = app.unwrap_or(card.app);
        if let Some(version) = version {
            card.app_version = version;
        }
        self.keep_card(ledger, number);
        Ok(())
    }

    /// Changes name or about text, as the client does in the app.
    pub(crate) fn set_profile(
        &mut self,
        ledger: &mut Ledger,
        number: Number,
        display_name: Option<String>,
        about: Option<String>,
    ) -> Result<(), Refusal> {
        let card = &mut self.phone_mut(number)?.card;
        let renamed = display_name.filter(|name| *name != card.display_name);
        if let Some(about) = about {
            card.about = Some(about);
        }
        if let Some(name) = renamed {
            card.display_name = name;
            let at = stamp(&mut card.account_at, ledger.now());
            let value = bodies::name_update(card);
            let entry = card.waba_id.clone();
            let notice = Notice {
                field: "phone_number_name_update",
                entry,
                time: Some(at),
                value,
                reach: Reach::Account,
            };
            self.tell(ledger, number, notice);
        }
        self.keep_card(ledger, number);
        Ok(())
    }

    fn account_update(
        &mut self,
        ledger: &mut Ledger,
        number: Number,
        reach: Reach,
        body: impl FnOnce(&Phone) -> (String, serde_json::Value),
    ) {
        let Some(phone) = self.phones.get_mut(&number) else { return };
        let at = stamp(&mut phone.card.account_at, ledger.now());
        let (entry, value) = body(phone);
        self.tell(ledger, number, Notice { field: "account_update", entry, time: Some(at), value, reach });
    }
}

/// A stamp in whole seconds that is later than the last one.
pub(crate) fn stamp(last: &mut i64, now: i64) -> i64 {
    *last = now.max(*last + 1);
    *last
}

#[cfg(test)]
mod tests {
    use super::is_too_old;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(is_too_old("2.24.9"));
        assert!(is_too_old("2.23.99.1"));
        assert!(!is_too_old("2.24.17"));
        assert!(!is_too_old("2.24.17.3"));
        assert!(!is_too_old("2.25.1"));
    }
}
