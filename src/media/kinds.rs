//! What WhatsApp takes as which kind of message, and what a file really is. Source: Meta's tables of supported media.

use crate::messages::content::MediaKind;

/// So many first bytes are enough to tell what a file is.
pub const HEAD: usize = 8 << 10;
/// The largest file of all.
pub const LARGEST: u64 = 100 << 20;

const DOC: &str = "application/msword";
const XLS: &str = "application/vnd.ms-excel";
const PPT: &str = "application/vnd.ms-powerpoint";
/// What the older Office formats begin with; the bytes that tell them apart may be anywhere.
const OLE: &[u8] = &[0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1];

/// The formats of a kind.
fn formats(kind: MediaKind) -> &'static [&'static str] {
    match kind {
        MediaKind::Image => &["image/jpeg", "image/png"],
        MediaKind::Video => &["video/mp4", "video/3gpp"],
        MediaKind::Audio => &["audio/aac", "audio/amr", "audio/mpeg", "audio/mp4", "audio/ogg"],
        MediaKind::Sticker => &["image/webp"],
        MediaKind::Document => &[
            "text/plain",
            "application/pdf",
            DOC,
            XLS,
            PPT,
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        ],
    }
}

/// Other names of formats.
fn usual_name(mime: &str) -> &str {
    match mime {
        "image/jpg" | "image/pjpeg" => "image/jpeg",
        "audio/mp3" | "audio/x-mp3" => "audio/mpeg",
        "audio/m4a" | "audio/x-m4a" => "audio/mp4",
        "audio/opus" | "application/ogg" => "audio/ogg",
        "audio/x-aac" | "audio/aacp" => "audio/aac",
        "video/3gp" | "audio/3gpp" => "video/3gpp",
        "video/x-m4v" => "video/mp4",
        other => other,
    }
}

/// `type/subtype` of a declared type, in small letters and under its usual name; none if it is not one.
pub fn essence(declared: &str) -> Option<String> {
    let mime = declared.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let (kind, sub) = mime.split_once('/')?;
    let is_token = |part: &str| {
        (1..=100).contains(&part.len())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    (is_token(kind) && is_token(sub)).then(|| usual_name(&mime).to_owned())
}

/// The kind that a format is sent as, if nothing else is asked for.
pub fn kind_of(mime: &str) -> Option<MediaKind> {
    [MediaKind::Image, MediaKind::Video, MediaKind::Audio, MediaKind::Sticker, MediaKind::Document]
        .into_iter()
        .find(|kind| formats(*kind).contains(&mime))
}

/// Whether WhatsApp takes a format as this kind. Images, videos and sounds can be sent as documents too.
pub fn takes(kind: MediaKind, mime: &str) -> bool {
    formats(kind).contains(&mime)
        || (kind == MediaKind::Document && kind_of(mime).is_some_and(|own| own != MediaKind::Sticker))
}

/// The most bytes of a kind.
pub fn largest(kind: MediaKind) -> u64 {
    match kind {
        MediaKind::Image => 5 << 20,
        MediaKind::Video | MediaKind::Audio => 16 << 20,
        MediaKind::Document => LARGEST,
        // An animated one; WhatsApp's limit of still ones is 100 KB.
        MediaKind::Sticker => 500 << 10,
    }
}

/// The formats of a kind, for people.
pub fn words(kind: MediaKind) -> String {
    formats(kind).join(", ")
}

/// What the first bytes say that a file is, given what it is declared as: that, if it can be; else what it looks like; none
/// if nothing is known of such bytes.
pub fn sniff(head: &[u8], declared: Option<&str>) -> Option<String> {
    let declared = declared.filter(|declared| could_be(head, declared));
    declared.map(str::to_owned).or_else(|| looks_like(head))
}

/// Whether bytes can be what they are declared as, where several formats begin alike.
fn could_be(head: &[u8], declared: &str) -> bool {
    match declared {
        DOC | XLS | PPT => head.starts_with(OLE),
        // An MP4 is a box of anything: the brand does not tell sound from pictures, nor 3GP from MP4.
        "audio/mp4" | "video/mp4" | "video/3gpp" => head.get(4..8) == Some(b"ftyp"),
        _ => false,
    }
}

fn looks_like(head: &[u8]) -> Option<String> {
    if let Some(found) = infer::get(head) {
        return Some(usual_name(found.mime_type()).to_owned());
    }
    // Sound without a header of its own: an MPEG frame of layer 2 or 3, or an ADTS frame.
    if let [0xff, second, ..] = head {
        if second & 0xf6 == 0xf0 {
            return Some("audio/aac".to_owned());
        }
        if second & 0xe0 == 0xe0 && second & 0x06 != 0 {
            return Some("audio/mpeg".to_owned());
        }
    }
    is_text(head).then(|| "text/plain".to_owned())
}

/// Words, as far as one can see: no control characters but those that stand in texts.
fn is_text(head: &[u8]) -> bool {
    let valid = match std::str::from_utf8(head) {
        Ok(_) => true,
        // The last character may be cut in two; other encodings than UTF-8 are single bytes.
        Err(_) => !head.contains(&0),
    };
    valid && !head.iter().any(|byte| *byte < 0x20 && !b"\t\n\r\x0c\x1b".contains(byte))
}

/// Whether a browser may show a file where it stands. Everything else is handed over as a download: what can carry scripts
/// (HTML, SVG, XML, PDF) must never run under our name.
pub fn shows(mime: &str) -> bool {
    matches!(mime, "image/jpeg" | "image/png" | "image/webp" | "image/gif" | "video/mp4" | "video/3gpp")
        || matches!(mime, "audio/aac" | "audio/amr" | "audio/mpeg" | "audio/mp4" | "audio/ogg")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
    const MP4: &[u8] = b"\0\0\0\x18ftypmp42\0\0\0\0";

    #[test]
    fn first_bytes_tell_what_a_file_is() {
        for (head, declared, found) in [
            (PNG, Some("image/png"), Some("image/png")),
            (PNG, Some("image/jpeg"), Some("image/png")),
            (b"\xff\xd8\xff\xe0\0\x10JFIF", None, Some("image/jpeg")),
            (b"RIFF\0\0\0\0WEBPVP8 ", None, Some("image/webp")),
            (MP4, Some("video/mp4"), Some("video/mp4")),
            (MP4, Some("audio/mp4"), Some("audio/mp4")),
            (b"OggS\0\x02\0\0", Some("audio/ogg"), Some("audio/ogg")),
            (b"ID3\x04\0\0\0\0\0\0", None, Some("audio/mpeg")),
            (b"\xff\xfb\x90\x64\0\0", None, Some("audio/mpeg")),
            (b"\xff\xf1\x50\x80\0\0", None, Some("audio/aac")),
            (b"#!AMR\n\x3c\x91\x17\x16\xbe\x66", None, Some("audio/amr")),
            (b"%PDF-1.7\n", Some("application/pdf"), Some("application/pdf")),
            (OLE, Some(XLS), Some(XLS)),
            ("Größe: 5\n".as_bytes(), Some("text/plain"), Some("text/plain")),
            (b"Gr\xf6\xdfe: 5\r\n", None, Some("text/plain")),
            (b"<!DOCTYPE html><script>", Some("text/plain"), Some("text/html")),
            (b"\x00\x01\x02\x03", Some("image/png"), None),
            (
                b"MZ\x90\x00\x03",
                Some("application/pdf"),
                Some("application/vnd.microsoft.portable-executable"),
            ),
        ] {
            assert_eq!(sniff(head, declared).as_deref(), found, "{head:?}");
        }
    }

    #[test]
    fn a_declared_type_is_read_as_browsers_do() {
        assert_eq!(essence("Audio/OGG; codecs=opus").as_deref(), Some("audio/ogg"));
        assert_eq!(essence("image/jpg").as_deref(), Some("image/jpeg"));
        for none in ["", "image", "image/", "a b/c", "text/html\r\nX: y", "/"] {
            assert_eq!(essence(none), None, "{none}");
        }
    }

    #[test]
    fn nothing_that_can_run_is_shown() {
        for mime in
            ["text/html", "image/svg+xml", "application/pdf", "text/xml", "text/plain", "text/javascript"]
        {
            assert!(!shows(mime), "{mime}");
        }
        assert!(takes(MediaKind::Document, "image/png") && !takes(MediaKind::Image, "application/pdf"));
        assert!(!takes(MediaKind::Document, "text/html"));
    }
}
