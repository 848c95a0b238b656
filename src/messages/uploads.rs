//! Uploads in what is sent. On Meta's wire a file is a part `{ "type": kind, kind: { "id": … } }`: a message that is a file,
//! what stands above an interactive one, a parameter of a template. Until a message leaves, the id is ours: WhatsApp's may
//! have ended when its turn comes.

use entity::MediaId;
use serde_json::Value;

use super::content::MediaKind;
use crate::ids::PublicId;

/// The upload that a part names.
pub fn of_part(part: &Value) -> Option<(MediaKind, MediaId)> {
    let kind = MediaKind::parse(part.get("type")?.as_str()?)?;
    let id = part.get(kind.word())?.get("id")?.as_str()?;
    Some((kind, MediaId::parse(id)?))
}

/// Names an upload as WhatsApp does, wherever it stands.
pub fn name(request: &mut Value, upload: MediaId, upstream_id: &str) {
    if let Some((kind, id)) = of_part(request)
        && id == upload
    {
        request[kind.word()]["id"] = upstream_id.into();
        return;
    }
    match request {
        Value::Object(fields) => fields.values_mut().for_each(|value| name(value, upload, upstream_id)),
        Value::Array(items) => items.iter_mut().for_each(|value| name(value, upload, upstream_id)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn an_upload_is_named_as_whatsapp_does_wherever_it_stands_and_nothing_else_is() {
        let (id, other) = (MediaId(Uuid::from_u128(1)), MediaId(Uuid::from_u128(2)));
        let (ours, others) = (id.public(), other.public());
        let image = |id: &str| json!({ "type": "image", "image": { "id": id, "caption": ours } });
        let buttons = json!([{ "type": "reply", "reply": { "id": ours, "title": "Yes" } }]);
        let interactive = |id: &str| {
            json!({ "type": "interactive", "interactive": { "type": "button", "header": image(id),
                "body": { "text": ours }, "action": { "buttons": buttons } } })
        };
        let template = |id: &str| {
            json!({ "type": "template", "template": { "name": "offer", "components": [
                { "type": "header", "parameters": [image(id)] },
                { "type": "body", "parameters": [{ "type": "text", "text": ours }] }] } })
        };
        for request in [&image, &interactive, &template] as [&dyn Fn(&str) -> Value; 3] {
            let mut named = request(&ours);
            name(&mut named, id, "4711");
            assert_eq!(named, request("4711"));
            let mut another = request(&others);
            name(&mut another, id, "4711");
            assert_eq!(another, request(&others));
        }
        assert_eq!(of_part(&image(&ours)), Some((MediaKind::Image, id)));
        for none in [
            image("4711"),
            json!({ "type": "image", "image": { "link": ours } }),
            json!({ "type": "text", "text": { "id": ours } }),
            json!([ours]),
        ] {
            assert_eq!(of_part(&none), None, "{none}");
        }
    }
}
