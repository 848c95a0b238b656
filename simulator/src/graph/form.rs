//! Bodies and addresses that are not JSON.

use serde_json::{Map, Value};

/// The pairs of a query or a form.
pub(crate) fn pairs(text: &[u8]) -> Map<String, Value> {
    url::form_urlencoded::parse(text)
        .map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())))
        .collect()
}

/// One part of a multipart body.
pub(crate) struct Part<'b> {
    pub(crate) name: String,
    pub(crate) mime: Option<String>,
    pub(crate) body: &'b [u8],
}

/// The parts of a multipart body, or nothing if it is none.
pub(crate) fn parts<'b>(content_type: &str, body: &'b [u8]) -> Option<Vec<Part<'b>>> {
    let boundary = content_type.split(';').map(str::trim).find_map(|p| p.strip_prefix("boundary="))?;
    let line = format!("--{}", boundary.trim_matches('"'));
    let mut parts = Vec::new();
    let mut rest = body.get(find(body, line.as_bytes())? + line.len()..)?;
    while let Some(after) = rest.strip_prefix(b"\r\n") {
        let head_ends = find(after, b"\r\n\r\n")?;
        let head = std::str::from_utf8(after.get(..head_ends)?).ok()?;
        let content = after.get(head_ends + 4..)?;
        let end = find(content, format!("\r\n{line}").as_bytes())?;
        parts.push(part(head, content.get(..end)?));
        rest = content.get(end + 2 + line.len()..)?;
    }
    Some(parts)
}

fn part<'b>(head: &str, body: &'b [u8]) -> Part<'b> {
    let mut part = Part { name: String::new(), mime: None, body };
    for line in head.lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        if name.eq_ignore_ascii_case("content-disposition") {
            let given = value.split(';').map(str::trim).find_map(|p| p.strip_prefix("name="));
            part.name = given.unwrap_or_default().trim_matches('"').to_owned();
        } else if name.eq_ignore_ascii_case("content-type") {
            part.mime = Some(value.trim().to_owned());
        }
    }
    part
}

fn find(body: &[u8], what: &[u8]) -> Option<usize> {
    let first = *what.first()?;
    let mut from = 0;
    loop {
        let next = from + body.get(from..)?.iter().position(|byte| *byte == first)?;
        if body.get(next..)?.starts_with(what) {
            return Some(next);
        }
        from = next + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::parts;

    #[test]
    fn a_multipart_body_is_taken_apart() {
        let body = b"--b1\r\nContent-Disposition: form-data; name=\"messaging_product\"\r\n\r\nwhatsapp\r\n--b1\r\n\
            Content-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\n\
            \x00--b\r\n1\r\n--b1--\r\n";
        let parts = parts("multipart/form-data; boundary=b1", body).unwrap();
        let found: Vec<_> = parts.iter().map(|p| (p.name.as_str(), p.mime.as_deref(), p.body)).collect();
        assert_eq!(
            found,
            [
                ("messaging_product", None, b"whatsapp".as_slice()),
                ("file", Some("image/png"), b"\x00--b\r\n1".as_slice())
            ]
        );
    }
}
