//! What concerns the account or the number itself, and every field without chats.

use super::names::Contacts;
use super::node::{Map, object};
use super::{Entry, Reader};
use crate::upstream::change::{
    Account, AccountEvent, AccountSeen, ChangeKind, IgnoreReason, Notice, Party, PreferenceSeen, Restriction,
    TemplateNews, TemplateSeen,
};

/// Fields that are known and have no effect of their own.
const NOTICES: [&str; 19] = [
    "account_alerts",
    "account_review_update",
    "account_settings_update",
    "automatic_events",
    "business_capability_update",
    "business_status_update",
    "business_username_update",
    "business_username_updates",
    "calls",
    "flows",
    "messaging_handovers",
    "partner_solutions",
    "payment_configuration_update",
    "phone_number_quality_update",
    "phone_number_settings",
    "security",
    "standby",
    "template_correct_category_detection",
    "tracking_events",
];

/// Fields that tell of a template. What they say is read by what stands in them: Meta's own samples confuse the names.
const TEMPLATES: [&str; 4] = [
    "message_template_components_update",
    "message_template_quality_update",
    "message_template_status_update",
    "template_category_update",
];

/// Events of `account_update` that are known and have no effect of their own.
const EVENTS: [&str; 10] = [
    "ACCOUNT_VIOLATION",
    "AD_ACCOUNT_LINKED",
    "AUTH_INTL_PRICE_ELIGIBILITY_UPDATE",
    "BUSINESS_PRIMARY_LOCATION_COUNTRY_UPDATE",
    "MM_LITE_TERMS_SIGNED",
    "PARTNER_APP_INSTALLED",
    "PARTNER_APP_UNINSTALLED",
    "PARTNER_CLIENT_CERTIFICATION_STATUS_UPDATE",
    "VERIFIED_ACCOUNT",
    "VOLUME_BASED_PRICING_TIER_UPDATE",
];

/// What a notice does not keep: people's words, and what is known of the change anyway.
const NOT_KEPT: [&str; 8] = [
    "messaging_product",
    "metadata",
    "contacts",
    "messages",
    "message_echoes",
    "history",
    "state_sync",
    "field",
];

impl Reader {
    pub(super) fn about_the_account(
        &mut self,
        entry: &Entry,
        account: &Account,
        field: &str,
        value: &Map<'_>,
    ) {
        let event = match field {
            "account_update" => {
                let word = value.word("event").unwrap_or_default().to_ascii_uppercase();
                if EVENTS.contains(&word.as_str()) {
                    return self.notice(entry, account, format!("account_update.{word}"), value);
                }
                self.account_event(&word, value)
            }
            "account_offboarded" => Some(AccountEvent::Offboarded),
            "account_reconnected" => Some(AccountEvent::Reconnected),
            "phone_number_name_update" => match value.id("decision") {
                Some(decision) => Some(AccountEvent::DisplayName {
                    decision,
                    name: value.string("requested_verified_name"),
                }),
                None => return self.unknown("phone_number_name_update.decision", "missing"),
            },
            "user_preferences" => return self.preferences(account, value),
            _ if TEMPLATES.contains(&field) => return self.template(entry, account, field, value),
            _ if field.starts_with("group_") => return self.ignore(account, None, IgnoreReason::Group),
            _ if NOTICES.contains(&field) => return self.notice(entry, account, field.to_owned(), value),
            _ => return self.unknown("changes.field", field),
        };
        match event {
            Some(event) => self.push(account, ChangeKind::Account(AccountSeen { event, at: entry.at })),
            None => self.unknown("account_update.event", &value.word("event").unwrap_or_default()),
        }
    }

    fn account_event(&mut self, word: &str, value: &Map<'_>) -> Option<AccountEvent> {
        Some(match word {
            "PARTNER_ADDED" => AccountEvent::PartnerAdded,
            "PARTNER_REMOVED" => {
                let told = |key| value.map("disconnection_info").and_then(|info| info.id(key));
                AccountEvent::PartnerRemoved { reason: told("reason"), initiated_by: told("initiated_by") }
            }
            "ACCOUNT_OFFBOARDED" => AccountEvent::Offboarded,
            "ACCOUNT_RECONNECTED" => AccountEvent::Reconnected,
            "ACCOUNT_DELETED" => AccountEvent::Deleted,
            "ACCOUNT_RESTRICTION" => AccountEvent::Restricted { restrictions: self.restrictions(value) },
            "DISABLED_UPDATE" => {
                let state = value.map("ban_info").and_then(|ban| ban.id("waba_ban_state"))?;
                AccountEvent::Ban { state }
            }
            _ => return None,
        })
    }

    /// `user_preferences[]`: who wants marketing messages, and who does not.
    fn preferences(&mut self, account: &Account, value: &Map<'_>) {
        let contacts = Contacts::of(value, None);
        let items = self.objects("user_preferences", value.list("user_preferences"));
        for map in &items {
            if let Some(category) = map.word("category").filter(|category| category != "marketing_messages") {
                self.unknown("user_preferences.category", &category);
                continue;
            }
            let word = map.word("value").unwrap_or_default();
            let stopped = match word.to_ascii_lowercase().as_str() {
                "stop" => true,
                "resume" | "signup" => false,
                _ => {
                    self.unknown("user_preferences.value", &word);
                    continue;
                }
            };
            let mut customer = Party::at(map, "wa_id", "user_id", "parent_user_id");
            let alone = items.len() == 1 && customer.is_nobody();
            contacts.complete(&mut customer, alone);
            if customer.is_nobody() {
                self.unknown("user_preferences", "nobody");
                continue;
            }
            let at = self.timestamp(map, "user_preferences", "timestamp");
            self.push(account, ChangeKind::Preference(PreferenceSeen { customer, stopped, at }));
        }
    }

    fn template(&mut self, entry: &Entry, account: &Account, field: &str, value: &Map<'_>) {
        let Some(upstream_id) = value.id("message_template_id") else {
            return self.unknown(&format!("{field}.message_template_id"), "missing");
        };
        let news = if let Some(quality) = value.id("new_quality_score") {
            TemplateNews::Quality(quality)
        } else if let Some(category) = value.id("correct_category") {
            let from = self.timestamp(value, field, "category_update_timestamp");
            TemplateNews::NextCategory { category, from }
        } else if let Some(category) = value.id("new_category") {
            TemplateNews::Category(category)
        } else if let Some(event) = value.id("event") {
            let status = match event.as_str() {
                "REINSTATED" | "UNPAUSED" => Some("APPROVED".to_owned()),
                // It can be sent as before.
                "FLAGGED" | "LOCKED" => None,
                _ => Some(event.clone()),
            };
            let mut reason = template_reason(value);
            if status.is_none() && reason.is_none() {
                reason = Some(event);
            }
            TemplateNews::Status { status, category: value.id("message_template_category"), reason }
        } else if field == "message_template_components_update" {
            TemplateNews::Components
        } else {
            return self.unknown(field, "no news");
        };
        let seen = TemplateSeen {
            upstream_id,
            name: value.id("message_template_name"),
            language: value.id("message_template_language"),
            news,
            at: entry.at,
        };
        self.push(account, ChangeKind::Template(seen));
    }

    fn restrictions(&mut self, value: &Map<'_>) -> Vec<Restriction> {
        let mut restrictions = Vec::new();
        for restriction in value.list("restriction_info") {
            match object(restriction).map(|map| (map.id("restriction_type"), map)) {
                Ok((Some(kind), map)) => {
                    let until = self.timestamp(&map, "account_update.restriction_info", "expiration");
                    restrictions.push(Restriction { kind, until });
                }
                Ok((None, _)) => self.unknown("account_update.restriction_info", "incomplete"),
                Err(shape) => self.unknown("account_update.restriction_info", shape),
            }
        }
        restrictions
    }

    fn notice(&mut self, entry: &Entry, account: &Account, topic: String, value: &Map<'_>) {
        let detail = value.to_value(&NOT_KEPT);
        self.push(account, ChangeKind::Notice(Notice { topic, at: entry.at, detail }));
    }
}

/// Why a template has its status: Meta's word, and what it says to people.
fn template_reason(value: &Map<'_>) -> Option<String> {
    /// Longest that is kept, characters.
    const LONGEST: usize = 1000;
    let word = value.id("reason").filter(|word| word != "NONE");
    let told = |map: &str, key: &str| value.map(map).and_then(|map| map.string(key));
    let parts = [
        word,
        told("rejection_info", "reason"),
        told("rejection_info", "recommendation"),
        told("other_info", "title"),
        told("other_info", "description"),
        told("disable_info", "disable_date"),
    ];
    let reason = parts.into_iter().flatten().collect::<Vec<_>>().join(": ");
    (!reason.is_empty()).then(|| reason.chars().take(LONGEST).collect())
}
