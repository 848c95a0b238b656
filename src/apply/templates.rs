//! What becomes of templates, as webhooks tell it.

use entity::{ClientId, ClientStatus, EventType, Timestamp};
use serde_json::json;

use super::work::{Row, Work};
use crate::ids::PublicId;
use crate::templates::refresh;
use crate::templates::state::{self, Owner};
use crate::upstream::change::{TemplateNews, TemplateSeen};

/// News of a template of the client's account. Whoever shares the account has a row of its own, and hears it for itself.
pub(super) fn seen(work: &mut Work<'_>, client: ClientId, seen: &TemplateSeen, at: Timestamp) {
    let Some(of) = work.clients.get(&client) else { return };
    // Of an account that somebody was connected with once they hear nothing more: it may be another tenant's by now.
    if !matches!(of.model.status, ClientStatus::Connected | ClientStatus::Paused) {
        return;
    }
    let (partner, waba) = (of.model.partner_id, of.model.waba_id.clone().unwrap_or_default());
    let key = (client, seen.upstream_id.clone());
    if !work.templates.contains_key(&key) {
        read_again(work, client);
        let (TemplateNews::Status { status: Some(_), .. }, Some(name), Some(language)) =
            (&seen.news, &seen.name, &seen.language)
        else {
            return;
        };
        let owner = Owner { partner, client, waba_id: &waba };
        let row = state::blank(owner, &seen.upstream_id, name, language, work.now);
        work.templates.insert(key.clone(), Row::new(row));
    }
    let Some(row) = work.templates.get_mut(&key) else { return };
    let template = &mut row.model;
    let before = template.clone();
    let changed = match &seen.news {
        TemplateNews::Status { status, category, reason } => {
            let changed = match status {
                Some(status) => state::set_status(template, status, reason.clone(), at),
                None if reason.is_some() && at >= template.status_at && template.reason < *reason => {
                    template.reason.clone_from(reason);
                    true
                }
                None => false,
            };
            let category = category.as_ref().is_some_and(|it| state::set_category(template, it, at));
            changed || category
        }
        TemplateNews::Quality(quality) => state::set_quality(template, quality, at),
        TemplateNews::Category(category) => state::set_category(template, category, at),
        TemplateNews::NextCategory { category, from } => {
            state::set_next_category(template, category, *from, at)
        }
        TemplateNews::Components => false,
    };
    if changed {
        template.changed_at = template.changed_at.max(at);
    }
    let (id, status, knows_words) = (template.id, template.status.clone(), template.components.is_some());
    row.dirty |= row.model != before;
    if changed {
        let data = json!({ "status": status });
        work.tell(client, EventType::TemplateChanged, at, Some(id.uuid()), Some(data));
    }
    // Older than what holds, and yet not the same: it came late, or clocks differ.
    let contradicts = match &seen.news {
        TemplateNews::Status { status: Some(told), .. } => *told != status,
        _ => false,
    };
    if !knows_words || contradicts || seen.news == TemplateNews::Components {
        read_again(work, client);
    }
}

/// A message failed for its template: the list is read again soon, however many do.
pub(super) fn doubt(work: &mut Work<'_>, client: ClientId) {
    let Some(row) = work.clients.get_mut(&client) else { return };
    let soon = refresh::soonest(&row.model);
    if row.model.templates_due_at > soon {
        row.model.templates_due_at = soon;
        row.dirty = true;
    }
}

/// The webhook does not say all: the list is read as soon as can be.
fn read_again(work: &mut Work<'_>, client: ClientId) {
    if let Some(row) = work.clients.get_mut(&client)
        && row.model.templates_due_at != Timestamp(0)
    {
        row.model.templates_due_at = Timestamp(0);
        row.dirty = true;
    }
}
