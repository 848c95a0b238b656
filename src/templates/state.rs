//! What is known of a template, and how it changes: the later word of each value holds, of one instant the greater one.

use entity::{ClientId, PartnerId, TemplateId, Timestamp, template};

use super::{DELETED, PENDING_DELETION};
use crate::ids::PublicId;
use crate::upstream::meta::client::Template;

/// Of whom and of which account a row is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner<'a> {
    pub(crate) partner: PartnerId,
    pub(crate) client: ClientId,
    pub(crate) waba_id: &'a str,
}

/// A template of which nothing is known but what it is called.
pub(crate) fn blank(
    owner: Owner<'_>,
    upstream_id: &str,
    name: &str,
    language: &str,
    now: Timestamp,
) -> template::Model {
    let never = Timestamp(0);
    template::Model {
        id: TemplateId::generate(),
        partner_id: owner.partner,
        client_id: owner.client,
        waba_id: owner.waba_id.to_owned(),
        upstream_id: upstream_id.to_owned(),
        name: name.to_owned(),
        language: language.to_owned(),
        status: String::new(),
        status_at: never,
        reason: None,
        category: String::new(),
        category_at: never,
        next_category: None,
        next_category_at: None,
        quality: None,
        quality_at: never,
        parameter_format: None,
        components: None,
        created_at: now,
        changed_at: now,
    }
}

/// It has this status since then. Says whether anything changed. What is gone is not about to go: of DELETED and
/// PENDING_DELETION the former holds, whichever came first.
pub(crate) fn set_status(
    row: &mut template::Model,
    status: &str,
    reason: Option<String>,
    at: Timestamp,
) -> bool {
    let final_word = match (row.status.as_str(), status) {
        (DELETED, PENDING_DELETION) => return false,
        (PENDING_DELETION, DELETED) => true,
        _ => false,
    };
    if !final_word && (at, status) <= (row.status_at, row.status.as_str()) {
        // The same word once more may say why.
        let says_why =
            status == row.status && at == row.status_at && reason.is_some() && row.reason != reason;
        if says_why {
            row.reason = Ord::max(reason, row.reason.take());
        }
        return says_why;
    }
    let same = row.status == status;
    let changed = !same || (reason.is_some() && row.reason != reason);
    if !same || reason.is_some() {
        row.reason = reason;
    }
    status.clone_into(&mut row.status);
    row.status_at = row.status_at.max(at);
    changed
}

/// It has this category since then. Says whether it is another one.
pub(crate) fn set_category(row: &mut template::Model, category: &str, at: Timestamp) -> bool {
    if (at, category) <= (row.category_at, row.category.as_str()) {
        return false;
    }
    row.category_at = at;
    if row.category == category {
        return false;
    }
    category.clone_into(&mut row.category);
    row.next_category = None;
    row.next_category_at = None;
    true
}

/// It will have another category. Says whether that is news.
pub(crate) fn set_next_category(
    row: &mut template::Model,
    category: &str,
    from: Option<Timestamp>,
    at: Timestamp,
) -> bool {
    let told = (Some(category.to_owned()), from);
    let holds = (row.next_category.clone(), row.next_category_at);
    if at < row.category_at || row.category == category || told <= holds {
        return false;
    }
    (row.next_category, row.next_category_at) = told;
    true
}

/// It is liked so much since then. Says whether that is news.
pub(crate) fn set_quality(row: &mut template::Model, quality: &str, at: Timestamp) -> bool {
    if (at, Some(quality)) <= (row.quality_at, row.quality.as_deref()) {
        return false;
    }
    row.quality_at = at;
    let changed = row.quality.as_deref() != Some(quality);
    row.quality = Some(quality.to_owned());
    changed
}

/// The account's list says so, asked for then. Says whether anything changed.
pub(crate) fn take_listed(row: &mut template::Model, told: &Template, at: Timestamp) -> bool {
    let mut changed = set_status(row, &told.status, None, at);
    changed |= set_category(row, &told.category, at);
    if let Some(quality) = &told.quality {
        changed |= set_quality(row, quality, at);
    }
    let words = (&row.name, &row.language, &row.parameter_format, row.components.as_ref());
    if words != (&told.name, &told.language, &told.parameter_format, Some(&told.components)) {
        row.name.clone_from(&told.name);
        row.language.clone_from(&told.language);
        row.parameter_format.clone_from(&told.parameter_format);
        row.components = Some(told.components.clone());
        changed = true;
    }
    changed
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn row() -> template::Model {
        let owner = Owner { partner: PartnerId(Uuid::nil()), client: ClientId(Uuid::nil()), waba_id: "1" };
        blank(owner, "7", "offer", "de", Timestamp(0))
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    /// All orders of some words.
    fn orders<T: Clone>(words: &[T]) -> Vec<Vec<T>> {
        if words.is_empty() {
            return vec![Vec::new()];
        }
        let mut all = Vec::new();
        for (place, first) in words.iter().enumerate() {
            let mut rest = words.to_vec();
            rest.remove(place);
            for mut order in orders(&rest) {
                order.insert(0, first.clone());
                all.push(order);
            }
        }
        all
    }

    #[test]
    fn the_status_is_the_same_in_whatever_order_it_is_told() {
        for (words, expected) in [
            (vec![("PENDING", 1), ("APPROVED", 2), ("PAUSED", 3)], "PAUSED"),
            (vec![("PENDING", 2), ("APPROVED", 2)], "PENDING"),
            (vec![("APPROVED", 1), ("DELETED", 2), ("PENDING_DELETION", 3)], "DELETED"),
            (vec![("PENDING_DELETION", 2), ("DELETED", 2)], "DELETED"),
            (vec![("REJECTED", 5), ("APPROVED", 4), ("REJECTED", 5)], "REJECTED"),
        ] {
            for order in orders(&words) {
                let mut row = row();
                for (status, seconds) in &order {
                    set_status(&mut row, status, None, at(*seconds));
                }
                assert_eq!(row.status, expected, "{order:?}");
            }
        }
    }

    #[test]
    fn only_what_is_news_is_a_change() {
        let mut row = row();
        assert!(set_status(&mut row, "REJECTED", Some("SCAM".into()), at(1)));
        assert!(!set_status(&mut row, "REJECTED", None, at(2)), "the same");
        assert_eq!(row.reason.as_deref(), Some("SCAM"), "and for the same reason");
        assert!(set_status(&mut row, "APPROVED", None, at(3)));
        assert_eq!(row.reason, None);
        assert!(set_category(&mut row, "UTILITY", at(1)));
        assert!(set_next_category(&mut row, "MARKETING", Some(at(9)), at(2)));
        assert!(!set_next_category(&mut row, "MARKETING", Some(at(9)), at(2)));
        assert!(!set_category(&mut row, "UTILITY", at(3)));
        assert_eq!(row.next_category.as_deref(), Some("MARKETING"), "it is still to come");
        assert!(set_category(&mut row, "MARKETING", at(9)));
        assert_eq!((row.next_category, row.next_category_at), (None, None));
    }

    #[test]
    fn a_list_that_was_asked_for_earlier_overrides_nothing() {
        let told = Template {
            id: "7".into(),
            name: "offer".into(),
            language: "de".into(),
            status: "PENDING".into(),
            category: "UTILITY".into(),
            parameter_format: None,
            quality: Some("GREEN".into()),
            components: serde_json::json!([]),
        };
        let mut row = row();
        set_status(&mut row, "APPROVED", None, at(5));
        assert!(take_listed(&mut row, &told, at(4)));
        assert_eq!((row.status.as_str(), row.category.as_str()), ("APPROVED", "UTILITY"));
        assert!(!take_listed(&mut row, &told, at(4)), "nothing new");
    }
}
